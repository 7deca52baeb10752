"""The runs that the Paper page tells of, read once until their file changes."""

from functools import lru_cache
from pathlib import Path

import pandas as pd

from core.reproduce import results
from core.reproduce.measured import with_settings
from core.reproduce.verdicts import Verdict, judged

TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}


def command(dataset: str) -> str:
    """What makes, or goes on with, the runs of a data set."""
    return f"python -m core reproduce {dataset}"


def measured(dataset: str) -> pd.DataFrame | None:
    """The finished runs of a data set with their settings, None where there are none; not to be changed."""
    path = results.path_of(dataset)
    found = _read(path, path.stat().st_mtime_ns) if path.exists() else None
    return None if found is None or found.empty else found


def verdicts(dataset: str) -> list[Verdict]:
    """How the claims about a data set stand."""
    found = measured(dataset)
    if found is None:
        return []
    path = results.path_of(dataset)
    return _judged(dataset, path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _read(path: Path, _stamp: int) -> pd.DataFrame:
    rows = results.read(path)
    # A re-encoding is another data set: of several the one with the most runs is told of.
    return with_settings(rows[rows["data"] == rows["data"].mode().get(0)])


@lru_cache(maxsize=4)
def _judged(dataset: str, path: Path, stamp: int) -> list[Verdict]:
    return judged(dataset, _read(path, stamp))
