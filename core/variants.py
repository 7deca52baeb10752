"""Which runs belong together and what they are called: one row a run, groups of like runs, and what sets runs apart.

A *setting* is a technique with all that was chosen for it, and what was changed while it trained; runs of one setting
differ in their seed only. A *variant* is what is compared: a setting, or whatever else the runs are grouped by. A run
that was changed while it trained is never in one variant with runs that were not.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from core.runs import Run

# What may differ between runs of one technique and then names its setting. The seed never does; the device, how often
# is recorded and what is kept do not change what is learned.
SETTINGS: dict[str, str] = {
    "p": "p",
    "schedule": "schedule",
    "epochs": "epochs",
    "lr": "lr",
    "batch_size": "batch",
    "train_size": "training images",
    "weight_decay": "weight decay",
    "precision": "precision",
    "kl_weight": "KL weight",
    "refresh_epochs": "refresh",
    "refresh_growth": "growth",
    "early_stop": "early stop",
    "time_budget": "time budget",
}
# Without dropout there is nothing that these could change.
_OF_NOISE = ("p", "schedule", "kl_weight", "refresh_epochs", "refresh_growth")
_ABSENT = {"p": "default", "train_size": "all", "refresh_epochs": "default", "early_stop": "off", "time_budget": "none"}

GROUPINGS: dict[str, str] = {
    "setting": "Technique and settings",
    "technique": "Technique",
    "p": "p",
    "tag": "Tags",
    "experiment": "Experiment",
    "network": "Network",
}

MOST_CHANGES_TOLD = 3
# Before a variant's name, in the place of the one technique that it lacks.
SEVERAL = "several: "

COLUMNS = [
    "id", "name", "technique", "variant", "setting", "dataset", "network", "seed", "epochs", "status", "created",
    "test_accuracy", "train_seconds", "seconds_per_epoch", "device", "tags", "experiment",
]  # fmt: skip


def table(runs: Sequence[Run], titles: Mapping[str, str] | None = None, by: str = "setting") -> pd.DataFrame:
    """One row a run with ``COLUMNS``, in variants ``by`` one of ``GROUPINGS``.

    ``titles`` maps technique names to what a person reads. ``technique`` is that of all runs of the variant, or a name
    of its own for a variant of several. ``epochs`` counts the epochs really trained, with their fraction; values that a
    run does not have are missing.
    """
    found = _auto_networks(runs)
    settings = _settings_of_all(runs, titles or {}, found)
    rows = pd.DataFrame([_row(run, name, found) for run, name in zip(runs, settings, strict=True)], columns=COLUMNS)
    rows["variant"] = settings if by == "setting" else [_group(run, by, titles or {}, found) for run in runs]
    if by != "setting":
        several = rows.groupby("variant")["technique"].transform("nunique") > 1
        rows["technique"] = rows["technique"].where(~several, [f"{SEVERAL}{variant}" for variant in rows["variant"]])
    return rows


def pooled(rows: pd.DataFrame) -> dict[str, int]:
    """Variant → how many settings it holds, for those that hold more than one."""
    counts = rows.groupby("variant", sort=False)["setting"].nunique()
    return {str(variant): int(count) for variant, count in counts.items() if count > 1}


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


def settings(runs: Sequence[Run]) -> pd.DataFrame:
    """How these runs were trained: a row a setting, a column a run (its id), cells as text.

    An option that was left out counts as its technique's default; a setting that a run does not have is "–".
    """
    found = _auto_networks(runs)
    changes = _told_apart([_changes(run) for run in runs], runs)
    told = {run.id: _told(run, found, what) for run, what in zip(runs, changes, strict=True)}
    order = dict.fromkeys(key for own in told.values() for key in own)
    return pd.DataFrame({run: [own.get(key, "–") for key in order] for run, own in told.items()}, index=list(order))


def differences(runs: Sequence[Run]) -> pd.DataFrame:
    """Those of :func:`settings` that are not the same in all runs."""
    told = settings(runs)
    return told[told.nunique(axis=1) > 1]


def distinctions(runs: Sequence[Run]) -> dict[str, dict[str, str]]:
    """Run → the settings that it was begun with and that are not the same in all of these runs of its technique."""
    found = _auto_networks(runs)
    begun: dict[str, dict[str, dict[str, str]]] = {}
    for run in runs:
        own = {key: value for key, value in _settings(run, found).items() if key != "changed"}
        begun.setdefault(str(run.config.get("technique")), {})[run.id] = own
    apart: dict[str, dict[str, str]] = {}
    for siblings in begun.values():
        keys = _differing(list(siblings.values()))
        apart |= {key: {name: own[name] for name in keys if name in own} for key, own in siblings.items()}
    return apart


def _told(run: Run, found: Mapping[str, str], changes: str) -> dict[str, str]:
    """Setting → value, of the config, of the ``changes`` in training and of the machine that trained."""
    config = _completed(run.config)
    knobs = _defaults(str(config.get("technique"))) | dict(config.pop("knobs", None) or {})
    config |= {"changed in training": changes} if changes else {}
    config |= {"network": network_of(run, found).partition(",")[0]}
    named = {SETTINGS.get(key, key.replace("_", " ")): _shown(value, _ABSENT.get(key)) for key, value in config.items()}
    named |= {key.replace("_", " "): _shown(value) for key, value in knobs.items()}
    machine = {key: run.environment.get(key) for key in ("device_name", "threads", "python", "torch", "commit")}
    machine_named = {f"trained with: {key.replace('_name', '')}": value for key, value in machine.items()}
    return named | {key: _shown(value) for key, value in machine_named.items() if value is not None}


def _auto_networks(runs: Iterable[Run]) -> dict[str, str]:
    """Data set → the network that its newest started run with network "auto" got."""
    found = {}
    for run in sorted(runs, key=lambda run: run.created):
        if run.config.get("network", "auto") == "auto" and run.environment.get("network"):
            found[str(run.config.get("dataset"))] = str(run.environment["network"])
    return found


def _row(run: Run, setting: str, found: Mapping[str, str]) -> dict[str, Any]:
    final = {**run.latest, **run.final}
    seconds = final.get("train_seconds")
    epochs = final.get("epoch", run.config.get("epochs"))
    return {
        "id": run.id,
        "name": run.name,
        "technique": str(run.config.get("technique")),
        "setting": setting,
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
        "tags": ", ".join(run.tags),
        "experiment": run.experiment or "",
    }


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _group(run: Run, by: str, titles: Mapping[str, str], found: Mapping[str, str]) -> str:
    """What a run is compared as, where it is not its setting."""
    return _unchanged_group(run, by, titles, found) + (" (changed)" if run.marks else "")


def _unchanged_group(run: Run, by: str, titles: Mapping[str, str], found: Mapping[str, str]) -> str:
    technique = str(run.config.get("technique"))
    if by == "technique" or (by == "p" and technique == "none"):
        return titles.get(technique, technique)
    if by == "p":
        return f"p {_shown(run.config.get('p'), _ABSENT['p'])}"
    if by == "tag":
        # All of them together, so that no run is in two of the groups that are compared.
        return " + ".join(sorted(run.tags)) or "No tag"
    if by == "experiment":
        return run.experiment or "No experiment"
    return network_of(run, found)


def _settings_of_all(runs: Sequence[Run], titles: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """Each run's technique and, where the technique was trained with several settings, the settings that differ."""
    settings = [_settings(run, found) for run in runs]
    by_technique: dict[str, list[dict[str, str]]] = {}
    for run, own in zip(runs, settings, strict=True):
        by_technique.setdefault(str(run.config.get("technique")), []).append(own)
    differing = {name: _differing(siblings) for name, siblings in by_technique.items()}
    labels = []
    for run, own in zip(runs, settings, strict=True):
        name = str(run.config.get("technique"))
        parts = [f"{key} {own[key]}" for key in differing[name] if key in own]
        labels.append(titles.get(name, name) + (f" ({', '.join(parts)})" if parts else ""))
    return _told_apart(labels, runs)


def _told_apart(labels: Sequence[str], runs: Sequence[Run]) -> list[str]:
    """``labels`` of ``runs``, with a sign added where changes in training that are not the same read the same."""
    signs = [_sign(run) for run in runs]
    found: dict[str, set[str]] = {}
    for label, sign in zip(labels, signs, strict=True):
        found.setdefault(label, set()).add(sign)
    return [f"{label} {sign}" if len(found[label]) > 1 else label for label, sign in zip(labels, signs, strict=True)]


def _sign(run: Run) -> str:
    """Six hexadecimal digits of all that was changed while ``run`` trained, to the step; "" where nothing was."""
    exact = sorted((mark["step"], each["name"], each["after"]) for mark in run.marks for each in mark["changes"])
    return "#" + hashlib.sha256(json.dumps(exact).encode()).hexdigest()[:6] if exact else ""


def _differing(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """What is to be told apart; and a change in training always, as the settings do not tell what was trained then."""
    keys = dict.fromkeys(key for own in settings for key in own)
    return [key for key in keys if key == "changed" or len({own.get(key) for own in settings}) > 1]


def _settings(run: Run, found: Mapping[str, str]) -> dict[str, str]:
    config, technique = _completed(run.config), str(run.config.get("technique"))
    unused = _OF_NOISE if technique == "none" else ()
    named = {
        label: _shown(config[key], _ABSENT.get(key))
        for key, label in SETTINGS.items()
        if key in config and key not in unused
    }
    knobs = _changed_knobs(technique, config.get("knobs") or {})
    named |= {key.replace("_", " "): _shown(value) for key, value in knobs.items()}
    changes = _changes(run)
    return {"network": network_of(run, found)} | named | ({"changed": changes} if changes else {})


def _changes(run: Run) -> str:
    """What was changed while a run trained, and when, in short; "" where nothing was."""
    told = [
        f"{change['name']} {_shown(change['before'])} → {_shown(change['after'])} at epoch {mark['epoch']:.3g}"
        for mark in run.marks
        for change in mark["changes"]
    ]
    if len(told) <= MOST_CHANGES_TOLD:
        return ", ".join(told)
    return f"{len(told)} times, first {told[0]}, last {told[-1]}"


def _completed(config: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` with what may be absent as absent: a run kept before there was such a setting differs by nothing."""
    return {**dict.fromkeys(_ABSENT), **config}


def _changed_knobs(technique: str, knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Those that differ from the technique's defaults: a default that is spelled out changes nothing."""
    defaults = _defaults(technique) if knobs else {}
    return {str(key): value for key, value in knobs.items() if key not in defaults or value != defaults[key]}


def _defaults(technique: str) -> dict[str, Any]:
    from core.dropout import TECHNIQUES  # imports torch, which takes seconds

    known = TECHNIQUES[technique].knobs if technique in TECHNIQUES else ()
    return {knob.name: knob.default for knob in known}


def _shown(value: Any, absent: str | None = None) -> str:
    if value is None:
        return absent or "default"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return "/".join(_shown(part) for part in value)
    return str(value)
