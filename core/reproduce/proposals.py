"""What section 5 of the paper proposes, against the plain techniques."""

from __future__ import annotations

import pandas as pd

from core.comparison import LEVEL
from core.reproduce.measured import alike, last_common_epoch, scores
from core.reproduce.plan import PROPOSAL
from core.significance import paired_difference

COLUMNS = ["setting", "technique", "n", "epoch", "accuracy", "sd", "difference", "low", "high", "ratio"]


def proposals(measured: pd.DataFrame) -> pd.DataFrame:
    """One row a proposal, of runs as ``core.reproduce.measured.with_settings`` gives them.

    ``n`` seeds; validation ``accuracy`` ± ``sd`` at ``epoch``, the last that both it and the plain technique reached;
    ``difference`` to the plain one, paired by seed, with its 95 % interval ``low`` to ``high``; ``ratio`` of
    training times, geometric mean over the seeds of both, missing where they were taken on different machines.
    """
    found = measured.loc[measured["group"] == PROPOSAL, ["setting", "technique"]].drop_duplicates()
    return pd.DataFrame([_row(measured, *names) for names in found.itertuples(index=False)], columns=COLUMNS)


def _row(measured: pd.DataFrame, setting: str, technique: str) -> dict[str, object]:
    both = (setting, technique)
    epoch = last_common_epoch(measured, both)
    own, plain = (scores(measured, name, "validation", epoch) for name in both)
    difference = paired_difference(own, plain)
    low, high = difference.interval(1 - LEVEL)
    times = paired_difference(*(scores(measured, name, "time", epoch) for name in both))
    ratio = 10**times.mean if alike(measured, both, "time") else float("nan")
    told = (setting, technique, len(own), epoch, own.mean(), own.std(ddof=1), difference.mean, low, high, ratio)
    return dict(zip(COLUMNS, told, strict=True))
