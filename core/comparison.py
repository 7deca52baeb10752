"""Mean and spread over seeds, curves with bands, time ratios, and what the runs allow to say.

Accuracies are shares of 1, times are seconds. What is compared are the variants of ``core.variants.table``. Runs of one
variant and one seed repeat each other rather than add evidence, so they are averaged first, and every count, mean and
spread is over distinct seeds. Everything here expects runs of one data set: ``core.variants.comparable`` finds them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import pandas as pd

from core.significance import holm, p_value

FEWEST_SEEDS = 3
LEVEL = 0.05


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Per variant, best mean first, over its ``n`` distinct seeds with a test accuracy.

    ``accuracy`` ± ``accuracy_sd``; ``seconds`` ± ``seconds_sd`` of training; ``ratio`` ± ``ratio_sd`` of the time an
    epoch takes to that of ``reference``. A sd of one seed is missing.
    """
    seeds = by_seed(rows)
    grouped = seeds.groupby("variant", sort=False)
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
    base = _reference(seeds)
    unit = math.nan if base is None else float(out["ratio"].to_dict()[base])
    out[["ratio", "ratio_sd"]] /= unit
    return out.sort_values("accuracy", ascending=False, kind="stable").reset_index()


def reference(rows: pd.DataFrame) -> str | None:
    """The variant to which times relate: no dropout if it was trained, else the one whose epochs are fastest."""
    return _reference(by_seed(rows))


def _reference(seeds: pd.DataFrame) -> str | None:
    timed = seeds.dropna(subset=["seconds_per_epoch"])
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


def verdict(rows: pd.DataFrame, kind: str = "technique") -> str:
    """One or two plain sentences on what these runs allow to say about the ranking; ``kind``: what a variant is."""
    stats = summary(rows)
    if stats.empty:
        return "No run here has finished yet: test accuracy is measured at the end."
    best = stats.iloc[0]
    score = f"{100 * best['accuracy']:.1f} %"
    if len(stats) == 1:
        seeds = seeds_of(int(best["n"]))
        return f"{best['variant']} reaches {score} ({seeds}). Train a second {kind} to compare it with."
    few = [str(row["variant"]) for _, row in stats.iterrows() if row["n"] < FEWEST_SEEDS]
    if few:
        least = int(stats["n"].min())
        whose = "" if len(few) == len(stats) else f" of {listed(few)}"
        do = "does" if least == 1 else "do"
        first = [str(row["variant"]) for _, row in stats.iterrows() if math.isclose(row["accuracy"], best["accuracy"])]
        have = "has" if len(first) == 1 else "share"
        return (
            f"{listed(first)} {have} the highest mean, {score}, but {seeds_of(least)}{whose} {do} not allow a ranking: "
            f"a difference can be chance. Train at least {FEWEST_SEEDS} seeds of each."
        )
    return _ranking(rows, stats, score, kind)


def against_best(rows: pd.DataFrame) -> pd.DataFrame:
    """Per other variant: ``difference`` of its mean to the best mean, and ``p_value``, Holm-corrected for all pairs.

    Which variant is best is itself read off the data, so every pair of variants counts as a comparison, not only those
    with the best: otherwise the luckiest of many would pass as better too often. Runs with the same seeds share initial
    weights and data order, so they are compared in pairs (a paired t test over the seeds common to both, where there
    are at least three and their differences vary), others by Welch's t test.
    """
    grouped = by_seed(rows).set_index("seed").groupby("variant", sort=False)["test_accuracy"]
    scores = {str(variant): values for variant, values in grouped}
    best, *others = (str(name) for name in grouped.mean().sort_values(ascending=False, kind="stable").index)
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


def _ranking(rows: pd.DataFrame, stats: pd.DataFrame, score: str, kind: str) -> str:
    best = stats.iloc[0]["variant"]
    tests = against_best(rows)
    beaten = list(tests.loc[tests["p_value"] < LEVEL, "variant"])
    equal = list(tests.loc[tests["p_value"] >= LEVEL, "variant"])
    low, high = int(stats["n"].min()), int(stats["n"].max())
    seeds = seeds_of(low) if low == high else f"{low} to {high} seeds"
    if not beaten:
        return (
            f"With {seeds}, no {kind} differs from {best} (highest mean, {score}) by more than chance allows. "
            "More seeds would show smaller differences."
        )
    first = f"With {seeds}, {best} ({score}) is better than {listed(beaten)} by more than chance allows"
    return first + (f"; against {listed(equal)} these seeds do not decide." if equal else ".")


def seeds_of(n: int) -> str:
    return "one seed" if n == 1 else f"{n} seeds"


def listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
