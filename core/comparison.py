"""Runs → tables: one row a run, mean and spread over seeds, curves with bands, time ratios, and what they allow to say.

Accuracies are shares of 1, times are seconds. A *variant* is a technique with its settings; runs of one variant differ
in their seed only. Runs of one variant and one seed repeat each other rather than add evidence, so they are averaged
first, and every count, mean and spread is over distinct seeds. Everything here expects runs of one data set and one
network: ``comparable`` finds them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pandas as pd

from core.significance import holm, p_value

if TYPE_CHECKING:
    from core.runs import Run

# What may differ between runs of one technique and then names its variant. The seed never does; data set and network
# are the same within a comparison; the device and how often is recorded do not change what is learned.
SETTINGS: dict[str, str] = {
    "p": "p",
    "schedule": "schedule",
    "epochs": "epochs",
    "lr": "lr",
    "batch_size": "batch",
    "weight_decay": "weight decay",
    "precision": "precision",
    "kl_weight": "KL weight",
    "refresh_epochs": "refresh",
    "refresh_growth": "growth",
}
FEWEST_SEEDS = 3
LEVEL = 0.05

COLUMNS = [
    "id", "technique", "variant", "dataset", "network", "seed", "epochs", "status", "created",
    "test_accuracy", "train_seconds", "seconds_per_epoch", "device",
]  # fmt: skip


def table(runs: Sequence[Run], titles: Mapping[str, str] | None = None) -> pd.DataFrame:
    """One row a run with ``COLUMNS``; ``titles`` maps technique names to what a person reads.

    ``epochs`` counts the epochs really trained, with their fraction; values that a run does not have are missing.
    """
    labels = _variants(runs, titles or {})
    found = _auto_networks(runs)
    return pd.DataFrame([_row(run, label, found) for run, label in zip(runs, labels, strict=True)], columns=COLUMNS)


def comparable(runs: Iterable[Run]) -> dict[tuple[str, str], list[Run]]:
    """(data set, network) → its runs, newest group first, so that only like is compared with like.

    A run that has yet to find out its "auto" network belongs to what other runs found for the same data set.
    """
    groups: dict[tuple[str, str], list[Run]] = {}
    newest_first = sorted(runs, key=lambda run: run.created, reverse=True)
    found = _auto_networks(newest_first)
    for run in newest_first:
        groups.setdefault((str(run.config.get("dataset")), network_of(run, found)), []).append(run)
    return groups


def network_of(run: Run, found: Mapping[str, str] | None = None) -> str:
    """The run's network with its width, as a person reads it: ``digits`` or ``digits, width 0.5``.

    ``found``: data set → what "auto" is there, for a run that has not started; else it goes by its data set's name.
    """
    name = str(run.config.get("network", "auto"))
    if name == "auto":
        data = str(run.config.get("dataset"))
        name = str(run.environment.get("network") or (found or {}).get(data, data))
    width = float(run.config.get("width", 1.0))
    return name if width == 1.0 else f"{name}, width {width:g}"


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Per variant, best mean first, over its ``n`` distinct seeds with a test accuracy.

    ``accuracy`` ± ``accuracy_sd``; ``seconds`` ± ``seconds_sd`` of training; ``ratio`` ± ``ratio_sd`` of the time an
    epoch takes to that of ``reference``. A sd of one seed is missing.
    """
    grouped = by_seed(rows).groupby("variant", sort=False)
    out = pd.DataFrame(
        {
            "technique": grouped["technique"].first(),
            "n": grouped.size(),
            "accuracy": grouped["test_accuracy"].mean(),
            "accuracy_sd": grouped["test_accuracy"].std(ddof=1),
            "seconds": grouped["train_seconds"].mean(),
            "seconds_sd": grouped["train_seconds"].std(ddof=1),
            "ratio": grouped["seconds_per_epoch"].mean(),
            "ratio_sd": grouped["seconds_per_epoch"].std(ddof=1),
        }
    )
    base = reference(rows)
    unit = math.nan if base is None else float(out["ratio"].to_dict()[base])
    out[["ratio", "ratio_sd"]] /= unit
    return out.sort_values("accuracy", ascending=False, kind="stable").reset_index()


def reference(rows: pd.DataFrame) -> str | None:
    """The variant to which times relate: no dropout if it was trained, else the one whose epochs are fastest."""
    timed = by_seed(rows).dropna(subset=["seconds_per_epoch"])
    if timed.empty:
        return None
    plain = timed[timed["technique"] == "none"]
    if not plain.empty:
        return str(plain["variant"].value_counts().idxmax())
    return str(timed.groupby("variant")["seconds_per_epoch"].mean().idxmin())


def curves(metrics: pd.DataFrame, rows: pd.DataFrame, column: str = "val_accuracy") -> pd.DataFrame:
    """Per variant and whole epoch: ``mean``, ``sd`` over seeds (0 for one seed) and ``n``, the number of seeds.

    ``metrics``: one row a record with ``run``, ``epoch`` (epochs done) and ``column``; records without a value and
    those within an epoch do not count. A variant ends with the last epoch that all its seeds have reached, as the mean
    would jump where one drops out; a seed without any value yet does not count. Of a seed trained several times the
    runs that came furthest count.
    """
    measured = metrics.dropna(subset=[column])
    whole = measured["epoch"].round()
    at_end = (measured["epoch"] - whole).abs() < 1e-6
    # Numbers in the place of names: with a thousand runs, comparing text would take most of the time.
    place = pd.Index(rows["id"]).get_indexer(pd.Index(measured["run"]))
    measured = measured[["epoch", column]].assign(epoch=whole, place=place)[at_end & (place >= 0)]
    measured = measured.astype({"epoch": int}).drop_duplicates(["place", "epoch"], keep="last")
    variants, names = pd.factorize(rows["variant"])
    of_run = pd.DataFrame({"code": variants, "seed": rows["seed"].to_numpy()})
    named = measured.join(of_run, on="place")
    reached = named.groupby("place")["epoch"].transform("max")
    furthest = named[reached == reached.groupby([named["code"], named["seed"]]).transform("max")]
    seeds = furthest.groupby(["code", "epoch", "seed"], sort=False)[column].mean()
    out = seeds.groupby(["code", "epoch"], sort=False).agg(mean="mean", sd="std", n="size").fillna({"sd": 0.0})
    out = out.reset_index()
    out = out[out["n"] == out["code"].map(named.groupby("code")["seed"].nunique())]
    technique = rows.drop_duplicates("variant").set_index("variant")["technique"]
    out.insert(0, "variant", names.to_numpy()[out["code"]])
    out.insert(1, "technique", technique.loc[out["variant"]].to_numpy())
    ordered: pd.DataFrame = out.drop(columns="code").sort_values(["variant", "epoch"], kind="stable")
    return ordered.reset_index(drop=True)


def verdict(rows: pd.DataFrame) -> str:
    """One or two plain sentences on what these runs allow to say about the ranking."""
    stats = summary(rows)
    if stats.empty:
        return "No run here has finished yet: test accuracy is measured at the end."
    best = stats.iloc[0]
    score = f"{100 * best['accuracy']:.1f} %"
    if len(stats) == 1:
        seeds = seeds_of(int(best["n"]))
        return f"{best['variant']} reaches {score} ({seeds}). Train a second technique to compare it with."
    few = [str(row["variant"]) for _, row in stats.iterrows() if row["n"] < FEWEST_SEEDS]
    if few:
        least = int(stats["n"].min())
        whose = "" if len(few) == len(stats) else f" of {listed(few)}"
        do = "does" if least == 1 else "do"
        return (
            f"{best['variant']} has the highest mean, {score}, but {seeds_of(least)}{whose} {do} not allow a ranking: "
            f"a difference can be chance. Train at least {FEWEST_SEEDS} seeds of each."
        )
    return _ranking(rows, stats, score)


def against_best(rows: pd.DataFrame) -> pd.DataFrame:
    """Per other variant: ``difference`` of its mean to the best mean, and ``p_value``, Holm-corrected for all pairs.

    Which variant is best is itself read off the data, so every pair of variants counts as a comparison, not only those
    with the best: otherwise the luckiest of many would pass as better too often. Runs with the same seeds share initial
    weights and data order, so they are compared in pairs (a paired t test over the seeds common to both, where there
    are at least three and their differences vary), others by Welch's t test.
    """
    stats = summary(rows)
    grouped = by_seed(rows).set_index("seed").groupby("variant")["test_accuracy"]
    scores = {str(variant): values for variant, values in grouped}
    best, *others = (str(name) for name in stats["variant"])
    pairs = list(combinations([best, *others], 2))
    values = dict(zip(pairs, holm([p_value(scores[one], scores[other]) for one, other in pairs]), strict=True))
    differences = [float(scores[name].mean() - scores[best].mean()) for name in others]
    return pd.DataFrame(
        {"variant": others, "difference": differences, "p_value": [values[best, name] for name in others]}
    )


def by_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per variant and seed: the mean accuracy and times of its runs with a test accuracy."""
    tested = rows.dropna(subset=["test_accuracy"])
    values = ["test_accuracy", "train_seconds", "seconds_per_epoch"]
    return tested.groupby(["variant", "technique", "seed"], sort=False)[values].mean().reset_index()


def _auto_networks(runs: Iterable[Run]) -> dict[str, str]:
    """Data set → the network that its newest started run with network "auto" got."""
    found = {}
    for run in sorted(runs, key=lambda run: run.created):
        if run.config.get("network", "auto") == "auto" and run.environment.get("network"):
            found[str(run.config.get("dataset"))] = str(run.environment["network"])
    return found


def _ranking(rows: pd.DataFrame, stats: pd.DataFrame, score: str) -> str:
    best = stats.iloc[0]["variant"]
    tests = against_best(rows)
    beaten = list(tests.loc[tests["p_value"] < LEVEL, "variant"])
    equal = list(tests.loc[tests["p_value"] >= LEVEL, "variant"])
    low, high = int(stats["n"].min()), int(stats["n"].max())
    seeds = seeds_of(low) if low == high else f"{low} to {high} seeds"
    if not beaten:
        return (
            f"With {seeds}, no technique differs from {best} (highest mean, {score}) by more than chance allows. "
            "More seeds would show smaller differences."
        )
    first = f"With {seeds}, {best} ({score}) is better than {listed(beaten)} by more than chance allows"
    return first + (f"; against {listed(equal)} these seeds do not decide." if equal else ".")


def _row(run: Run, label: str, found: Mapping[str, str]) -> dict[str, Any]:
    final = {**run.latest, **run.final}
    seconds = final.get("train_seconds")
    epochs = final.get("epoch", run.config.get("epochs"))
    return {
        "id": run.id,
        "technique": str(run.config.get("technique")),
        "variant": label,
        "dataset": str(run.config.get("dataset")),
        "network": network_of(run, found),
        "seed": run.config.get("seed"),
        "epochs": epochs,
        "status": run.status,
        "created": run.created,
        "test_accuracy": _number(final.get("test_accuracy")),
        "train_seconds": _number(seconds),
        "seconds_per_epoch": _number(seconds / epochs if seconds and epochs else None),
        "device": run.environment.get("device_name") or run.environment.get("device"),
    }


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _variants(runs: Sequence[Run], titles: Mapping[str, str]) -> list[str]:
    """Each run's technique and, where the technique was trained with several settings, the settings that differ."""
    settings = [_settings(run.config) for run in runs]
    by_technique: dict[str, list[dict[str, str]]] = {}
    for run, own in zip(runs, settings, strict=True):
        by_technique.setdefault(str(run.config.get("technique")), []).append(own)
    differing = {name: _differing(siblings) for name, siblings in by_technique.items()}
    labels = []
    for run, own in zip(runs, settings, strict=True):
        name = str(run.config.get("technique"))
        parts = [f"{key} {own[key]}" for key in differing[name] if key in own]
        labels.append(titles.get(name, name) + (f" ({', '.join(parts)})" if parts else ""))
    return labels


def _differing(settings: Sequence[Mapping[str, str]]) -> list[str]:
    keys = dict.fromkeys(key for own in settings for key in own)
    return [key for key in keys if len({own.get(key) for own in settings}) > 1]


def _settings(config: Mapping[str, Any]) -> dict[str, str]:
    named = {label: _shown(config[key]) for key, label in SETTINGS.items() if key in config}
    knobs = _changed_knobs(str(config.get("technique")), config.get("knobs") or {})
    return named | {key.replace("_", " "): _shown(value) for key, value in knobs.items()}


def _changed_knobs(technique: str, knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Those that differ from the technique's defaults: a default that is spelled out changes nothing."""
    if not knobs:
        return {}
    from core.dropout import TECHNIQUES  # imports torch, which takes seconds

    known = TECHNIQUES[technique].knobs if technique in TECHNIQUES else ()
    defaults = {knob.name: knob.default for knob in known}
    return {str(key): value for key, value in knobs.items() if key not in defaults or value != defaults[key]}


def _shown(value: Any) -> str:
    if value is None:
        return "default"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return "/".join(_shown(part) for part in value)
    return str(value)


def seeds_of(n: int) -> str:
    return "one seed" if n == 1 else f"{n} seeds"


def listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
