"""What the paper leaves open, and what each choice did: which units count, what survivors are multiplied by."""

from __future__ import annotations

import itertools

import pandas as pd

from core.comparison import LEVEL
from core.reproduce.measured import last_common_epoch, scores
from core.reproduce.paper import TEST_ACCURACY
from core.reproduce.plan import COUNTS, LITERAL, PAPERS_OWN, RESCALES
from core.significance import paired_difference


def setting(technique: str, count: str, rescale: str) -> str:
    """The name of a choice in ``core.reproduce.measured``: the literal one is the technique of the main plan."""
    literal = {"count": count, "rescale": rescale} == LITERAL
    return technique if literal else f"{technique} count={count} rescale={rescale}"


def choices(measured: pd.DataFrame) -> pd.DataFrame:
    """One row a technique, count and rescale that was trained.

    ``n`` seeds; ``accuracy`` ± ``sd`` on the validation images after ``epoch``, the last that all choices reached;
    ``difference`` to the literal choice with its 95 % interval ``low`` to ``high``, paired by seed; ``dead``, the
    share of examples that a layer left without an active unit, mean over seeds, in the worst layer and epoch.
    """
    every = [(one, *choice) for one in PAPERS_OWN for choice in itertools.product(COUNTS, RESCALES)]
    there = set(measured["setting"])
    found = [(setting(*one), one) for one in every if setting(*one) in there]
    epoch = last_common_epoch(measured, [name for name, _ in found])
    values = {name: scores(measured, name, "validation", epoch) for name, _ in found}
    none = pd.Series(dtype=float)
    rows = []
    for name, (technique, count, rescale) in found:
        own = values[name]
        difference = paired_difference(own, values.get(technique, none))
        low, high = difference.interval(1 - LEVEL)
        rows.append(
            {
                "setting": name, "technique": technique, "count": count, "rescale": rescale, "n": len(own),
                "epoch": epoch, "accuracy": own.mean(), "sd": own.std(ddof=1), "difference": difference.mean,
                "low": low, "high": high, "dead": worst(dead(measured, name, epoch)),
            }
        )  # fmt: skip
    return pd.DataFrame(rows, columns=_COLUMNS)


_COLUMNS = [
    "setting",
    "technique",
    "count",
    "rescale",
    "n",
    "epoch",
    "accuracy",
    "sd",
    "difference",
    "low",
    "high",
    "dead",
]


def closest(dataset: str, found: pd.DataFrame) -> pd.DataFrame:
    """Per (count, rescale) that all three techniques have: ``off``, how far from the paper's accuracies, best first.

    The mean over the techniques that the paper tested on this data set, of the size of the difference between
    our validation accuracy and its test accuracy.
    """
    paper = pd.Series(TEST_ACCURACY[dataset])
    known = found[found["technique"].isin(paper.index)]
    off = (known["accuracy"] - known["technique"].map(paper)).abs()
    grouped = known.assign(off=off).groupby(["count", "rescale"], sort=False)["off"]
    whole = grouped.size() == known["technique"].nunique()
    return grouped.mean()[whole].sort_values(kind="stable").reset_index()


def dead(measured: pd.DataFrame, name: str, epoch: int) -> pd.DataFrame:
    """Examples left without an active unit: ``mean`` and ``sd`` over seeds by ``position`` (from 1) and ``epoch``."""
    own = measured[(measured["setting"] == name) & (measured["epoch"] <= epoch)]
    columns = {int(column.removeprefix("dead_")): column for column in own.columns if column.startswith("dead_")}
    parts = [own[["epoch", column]].set_axis(["epoch", "dead"], axis=1).assign(position=at)
             for at, column in columns.items()]  # fmt: skip
    if not parts:
        return pd.DataFrame(columns=["position", "epoch", "mean", "sd"])
    shares = pd.concat(parts).dropna().groupby(["position", "epoch"])["dead"]
    return shares.agg(mean="mean", sd="std").reset_index()


def worst(shares: pd.DataFrame) -> float:
    """The largest mean of :func:`dead`; missing where nothing was told."""
    return float(shares["mean"].max())
