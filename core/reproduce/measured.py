"""Rows of a reproduction (``core.reproduce.results``) → settings, and one number a seed for each of them.

A setting is what differs between runs besides the seed: a technique of the main plan by its name, a variant of it as
``dropact count=active rescale=mass``, ``dropact alternate`` or ``dropcorr refreshed``.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import numpy as np
import pandas as pd

MEASURES = {
    "test": "test accuracy",
    "validation": "validation accuracy in the last common epoch",
    "pace": "validation accuracy, mean over the epochs",
    "time": "training time of runs one after another",
}
"""What settings are compared by. Accuracies are shares of 1, times their decimal logarithms."""


def with_settings(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of finished runs, with the column ``setting``."""
    done = rows[rows.groupby([*_IDENTITY, "seed"], dropna=False)["epoch"].transform("max") >= rows["epochs"]]
    told = [_setting(row) for row in done[list(_IDENTITY)].to_dict("records")]
    return done.assign(setting=pd.Series(told, index=done.index, dtype="str"))


_IDENTITY = ("group", "technique", "count", "rescale", "schedule", "refresh_epochs", "epochs")


def _setting(row: dict[Hashable, Any]) -> str:
    technique = str(row["technique"])
    if row["group"] == "drop count":
        return f"{technique} count={row['count']} rescale={row['rescale']}"
    if row["group"] == "proposal":
        return f"{technique} {'alternate' if row['schedule'] == 'alternate' else 'refreshed'}"
    return technique


def last_common_epoch(measured: pd.DataFrame, settings: Iterable[str]) -> int:
    """The last epoch to which all of these settings were trained that were trained at all; 0 where none was.

    ``measured`` is what :func:`with_settings` gives.
    """
    ends = measured.loc[measured["setting"].isin(list(settings)), "epochs"]
    return 0 if ends.empty else int(ends.min())


def scores(measured: pd.DataFrame, setting: str, measure: str, epoch: int) -> pd.Series:
    """Seed → the ``measure`` of a setting's runs at ``epoch``; empty where there is none.

    The test accuracy is that of the end of training, whichever epoch that was.
    """
    own = measured[(measured["setting"] == setting) & (measured["epoch"] <= epoch)]
    if measure == "test":
        own = measured[measured["setting"] == setting].dropna(subset=["test_accuracy"])
        return own.groupby("seed")["test_accuracy"].last()
    if measure == "pace":
        return own.groupby("seed")["val_accuracy"].mean()
    last = own[own["epoch"] == epoch].groupby("seed")
    if measure == "time":
        return pd.Series(np.log10(last["train_seconds"].last()))
    return last["val_accuracy"].last()


_ALIKE = {"time": ("device_name", "device", "threads", "precision"), "test": ("epochs", "precision")}


def alike(measured: pd.DataFrame, settings: Iterable[str], measure: str) -> bool:
    """Whether runs of these settings can be compared: differences are taken seed by seed, so each seed's must be alike.

    All need one precision; times one kind of machine as well, tests as many epochs.
    """
    own = measured[measured["setting"].isin(list(settings))]
    kinds = own[["seed", *_ALIKE.get(measure, ("precision",))]].drop_duplicates()
    return bool(kinds["seed"].is_unique)


def comparable(measured: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs as ``core.comparison`` takes them: one row a run (``variant`` is the setting), and its epochs.

    Seeds may have been trained on unlike machines, so ``seconds_per_epoch`` is told in those of the same seed without
    dropout, where there are any; missing beside one on another machine.
    """
    run = measured["setting"] + " " + measured["seed"].astype(str)
    metrics = measured.assign(run=run)
    ends = metrics[metrics["epoch"] == metrics["epochs"]].drop_duplicates("run", keep="last")
    rows = ends.assign(id=ends["run"], variant=ends["setting"], seconds_per_epoch=_seconds(ends))
    return rows, metrics


def _seconds(ends: pd.DataFrame) -> pd.Series:
    seconds = ends["train_seconds"] / ends["epochs"]
    plain = ends["setting"] == "none"
    if not plain.any():
        return seconds
    place = pd.MultiIndex.from_frame(ends[["seed", *_ALIKE["time"]]])
    unit = pd.Series(seconds[plain].to_numpy(), index=place[plain])
    ratio: pd.Series = seconds / unit[~unit.index.duplicated()].reindex(place).to_numpy()
    return ratio
