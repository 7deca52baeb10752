"""What came of the runs as one table, a row for each run and epoch: ``checkpoints/paper/<dataset>.csv``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from core.data import DATASETS
from core.errors import DataError, reason_of
from core.report import csv
from core.reproduce.plan import Variant, experiment_of, variant_of, variants
from core.runs import Run, RunStore
from core.runs.weights import write_whole

FOLDER = Path(__file__).resolve().parents[2] / "checkpoints" / "paper"

# What tells one variant of the plan from another, and with the data what was trained.
VARIANT = ("group", "technique", "count", "rescale", "schedule", "refresh_epochs", "refresh_growth")
TRAINED = (
    "dataset", "data", "group", "technique", "p", "count", "rescale", "schedule", "refresh_epochs", "refresh_growth",
)  # fmt: skip
# Seconds since the run began.
TIMES = ("train_seconds", "eval_seconds")
# The test is measured at a run's end, so it stands in the last epoch's row.
TEST = ("test_loss", "test_accuracy")
MEASURES = (
    "loss", "accuracy", "val_loss", "val_accuracy", "train_eval_loss", "dropped", "active_dropped", "dead",
)  # fmt: skip
# The share of dead examples at each dropout position: dead_1, dead_2, …, as many as the network has.
DEAD = "dead_"
MACHINE = ("device_name", "device", "threads", "precision", "python", "torch", "torchvision", "commit")
COLUMNS = (*TRAINED, "seed", "epoch", "epochs", *MEASURES, *TIMES, *TEST, *MACHINE)
_TEXT = ("dataset", "data", "group", "technique", "p", "count", "rescale", "schedule", *MACHINE)


def path_of(dataset: str) -> Path:
    """Where the results for "mnist" or "cifar10" lie in the project."""
    return FOLDER / f"{dataset}.csv"


def read(path: Path) -> pd.DataFrame:
    """The table in a file, without rows where there is no such file; DataError where it holds something else.

    Columns are :data:`COLUMNS` and "dead_1", "dead_2", …; text that does not apply is "", a missing number NaN.
    """
    if not path.exists():
        return pd.DataFrame(columns=list(COLUMNS))
    try:
        # "none" is a technique, so only what is empty is missing.
        frame = pd.read_csv(path, dtype=dict.fromkeys(_TEXT, str), keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({reason_of(error)}): make it again or delete it.") from error
    if missing := [name for name in COLUMNS if name not in frame]:
        raise DataError(f"{path} has no column {', '.join(missing)}: make it again or delete it.")
    return frame.fillna(dict.fromkeys(_TEXT, ""))


def write(path: Path, frame: pd.DataFrame) -> None:
    """Replace the file by ``frame``, whole or not at all; StoreError where that cannot be done."""
    write_whole(path, csv(frame).encode())


def collect(store: RunStore, dataset: str) -> pd.DataFrame:
    """The table of the runs for ``dataset`` that the store has to the end and that nobody changed on the way.

    Of runs that differ in nothing but their length or machine the longest counts, of those the newest.
    """
    runs = store.list(experiment=experiment_of(dataset), status=["done"])  # the newest first
    found = [(run, variant) for run in runs if not run.marks and (variant := variant_of(run.config))]
    if not found:
        return pd.DataFrame(columns=list(COLUMNS))
    measured = _measured(store, [run.id for run, _ in found])
    about = pd.DataFrame([_about(run, variant, dataset) for run, variant in found])
    about["refresh_epochs"] = about["refresh_epochs"].astype(float)
    about["p"] = about["run"].map(measured.groupby("run", observed=True)["p"].first())
    about = about.sort_values("epochs", ascending=False, kind="stable").drop_duplicates([*TRAINED, "seed"])
    return _arranged(measured.drop(columns="p").merge(about, on="run"))


def summary(frame: pd.DataFrame) -> pd.DataFrame:
    """A row for each variant, in the table's order: over ``n`` seeds the mean and sd of its last accuracies.

    ``epochs`` is the number of epochs, ``seconds`` the mean time of one.
    """
    last = frame[frame["epoch"] == frame["epochs"]].assign(seconds=frame["train_seconds"] / frame["epochs"])
    grouped = last.groupby(["data", *VARIANT, "epochs"], dropna=False, sort=False)
    measures = [(name, how) for name in ("val_accuracy", "test_accuracy") for how in ("mean", "std")]
    return grouped.agg(
        n=("seed", "nunique"), **{f"{name}_{how}": (name, how) for name, how in measures}, seconds=("seconds", "mean")
    ).reset_index()


def merged(own: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """``own`` and what ``other`` has besides: the runs that ``own`` lacks, or has not as long."""
    if own.empty or other.empty:
        return other if own.empty else own
    both = pd.concat([own.assign(source=0), other.assign(source=1)], ignore_index=True)
    run = [*TRAINED, "seed"]
    both = both[both["epochs"] == both.groupby(run, dropna=False)["epochs"].transform("max")]
    both = both[both["source"] == both.groupby(run, dropna=False)["source"].transform("min")]
    return _arranged(both)


def _arranged(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns and rows in the table's order: data set, then variant as in the plan, then seed and epoch."""
    places = {_named(each): place for place, each in enumerate(variants())}
    names = frame[[*VARIANT]].fillna({"refresh_epochs": 0.0}).itertuples(index=False, name=None)
    frame = frame.assign(place=[places.get(name, len(places)) for name in names])
    frame = frame.sort_values(["data", "place", "seed", "epoch"], kind="stable")
    dead = sorted(name for name in map(str, frame) if name.startswith(DEAD))
    cut = COLUMNS.index(TIMES[0])
    return frame[[*COLUMNS[:cut], *dead, *COLUMNS[cut:]]].reset_index(drop=True)


def _named(variant: Variant) -> tuple[Any, ...]:
    """A variant by :data:`VARIANT`, with 0 for what it lacks."""
    told = {"group": variant.group, **variant.settings(), **_drop_count(variant)}
    return tuple(told[name] or 0.0 if name == "refresh_epochs" else told[name] for name in VARIANT)


def _drop_count(variant: Variant) -> dict[str, Any]:
    """How many units fall and how the others are scaled, "" for techniques that know no such thing."""
    return {"count": "", "rescale": "", **variant.knobs}


def _about(run: Run, variant: Variant, dataset: str) -> dict[str, Any]:
    """What is the same in all rows of a run, but its p."""
    own = {name: value for name, value in variant.settings().items() if name not in ("p", "knobs")}
    machine = {name: str(run.environment.get(name) or "") for name in MACHINE if name != "precision"}
    return {
        "run": run.id,
        "dataset": dataset,
        "data": _data(run),
        "group": variant.group,
        **own,
        **_drop_count(variant),
        "seed": run.config["seed"],
        "epochs": run.config["epochs"],
        "precision": run.config["precision"],
        **machine,
    }


def _data(run: Run) -> str:
    """What the data set is called, so that a re-encoding never passes as the original."""
    source = str(run.config["dataset"])
    known = DATASETS[source].title if source in DATASETS else Path(source).name
    return str(run.environment.get("data") or known)


def _measured(store: RunStore, ids: Sequence[str]) -> pd.DataFrame:
    """A row for each run and whole epoch: its measures, the test in the last, and p as text."""
    columns = ["epoch", *MEASURES, *TIMES, *TEST, "p", "layers"]
    records = store.metrics(ids, columns=columns)
    records["run"] = records["run"].astype(str)
    epochs = records[records["kind"] == "epoch"].drop(columns=[*TEST, "seq", "kind"])
    ends = records.loc[records["kind"] == "end", ["run", "step", *TEST]]
    epochs = epochs.merge(ends, on=["run", "step"], how="left").drop(columns="step")
    epochs["epoch"] = epochs["epoch"].round().astype(int)
    epochs["p"] = epochs["p"].map(_as_text)
    layers = [each if isinstance(each, list) else [] for each in epochs.pop("layers")]
    for place in range(max(map(len, layers), default=0)):
        epochs[f"{DEAD}{place + 1}"] = [each[place]["dead"] if place < len(each) else math.nan for each in layers]
    return epochs


def _as_text(p: object) -> str:
    """One number where all positions have the same p: "0.2" or "0.2/0.3/0.4"."""
    values = p if isinstance(p, tuple) else ()
    return "/".join(f"{value:g}" for value in (values[:1] if len({*values}) == 1 else values))
