"""What the Paper page tells of the runs: read, compared and drawn once until their file changes."""

from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import NamedTuple, TypeVar

import pandas as pd

from app import charts
from app.charts import Chart
from app.paper_figures import beside_the_paper, dead_over_epochs, named
from app.paper_words import title
from core import comparison
from core.reproduce import choices, results
from core.reproduce import proposals as proposed
from core.reproduce.measured import comparable, with_settings
from core.reproduce.paper import TEST_ACCURACY
from core.reproduce.plan import MAIN
from core.reproduce.verdicts import Verdict, judged

T = TypeVar("T")
TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}
# What the paper calls its curves, its figure of times, and its table.
NAMES = {"mnist": ("Figure 1", "Figure 2", "Table 1"), "cifar10": ("Figure 3", "", "Table 2")}


def command(dataset: str) -> str:
    """What makes, or goes on with, the runs of a data set."""
    return f"python -m core reproduce {dataset}"


@lru_cache(maxsize=4)
def _read(path: Path, _stamp: int) -> pd.DataFrame:
    rows = results.read(path)
    # A re-encoding is another data set: of several the one with the most runs is told of.
    return with_settings(rows[rows["data"] == rows["data"].mode().get(0)])


def once(make: Callable[[str, pd.DataFrame], T]) -> Callable[[str], T | None]:
    """``make`` of a data set and its finished runs, once until their file changes; None where there are no runs."""

    @lru_cache(maxsize=4)
    def made(dataset: str, path: Path, stamp: int) -> T | None:
        found = _read(path, stamp)
        return None if found.empty else make(dataset, found)

    @wraps(make)
    def kept(dataset: str) -> T | None:
        path = results.path_of(dataset)
        return made(dataset, path, path.stat().st_mtime_ns) if path.exists() else None

    return kept


@once
def measured(_dataset: str, found: pd.DataFrame) -> pd.DataFrame:
    """The finished runs with their settings; not to be changed."""
    return found


@once
def verdicts(dataset: str, found: pd.DataFrame) -> list[Verdict]:
    """How the claims about a data set stand."""
    return judged(dataset, found)


@once
def choices_made(_dataset: str, found: pd.DataFrame) -> pd.DataFrame:
    """What each choice that the paper leaves open did, of ``core.reproduce.choices``."""
    return choices.choices(found)


@once
def deaths(_dataset: str, found: pd.DataFrame) -> dict[str, Chart]:
    """Technique → its dead examples over the epochs that all choices reached; none where no example was dead."""
    made = choices.choices(found)
    if not made["dead"].max() > 0:
        return {}
    epoch = int(made["epoch"].iloc[0])
    return {name: named(dead_over_epochs(found, name, epoch), found) for name in made["technique"].unique()}


@once
def proposals(_dataset: str, found: pd.DataFrame) -> pd.DataFrame:
    """The paper's proposals against the plain techniques, of ``core.reproduce.proposals``."""
    return proposed.proposals(found)


class Compared(NamedTuple):
    """The techniques of the main plan, named as a person reads them, and their figures beside the paper's."""

    summary: pd.DataFrame
    reference: str | None
    over_epochs: Chart
    beside_the_paper: Chart
    against_time: Chart


@once
def compared(dataset: str, found: pd.DataFrame) -> Compared:
    """What ``core.comparison`` makes of the runs of the main plan."""
    rows, metrics = comparable(found[found["group"] == MAIN])
    rows, metrics = (frame.assign(setting=frame["setting"].map(title)) for frame in (rows, metrics))
    rows["variant"] = rows["setting"]
    summary, curves, reference = comparison.summary(rows), comparison.curves(metrics, rows), comparison.reference(rows)
    paper, table = TEST_ACCURACY[dataset], NAMES[dataset][2]
    drawn = (
        charts.accuracy_per_epoch(curves, [title(name) for name in paper]),
        beside_the_paper(summary, paper, table),
        charts.accuracy_against_time(summary, f"× {reference}"),
    )
    return Compared(summary, reference, *(named(chart, found) for chart in drawn))
