"""What every export says of a run: its settings as flat names, its records as named numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.runs import Run, RunStore, StoreError
from core.runs.measures import NUMBERS


class TrackerError(StoreError):
    """Runs cannot be exported; one sentence for the person."""


@dataclass(frozen=True)
class Point:
    """One record of a run.

    Attributes:
        kind: "step", "epoch" or "end".
        step: optimiser steps done.
        time: seconds since 1970 at which it would have been reached, had the run begun when it was created and never
            waited or paused: its creation and the seconds of training and evaluating.
        values: what was measured, by name.
    """

    kind: str
    step: int
    time: float
    values: dict[str, float]

    def named(self) -> dict[str, float]:
        """The values by kind and name, as in ``epoch/val_loss``: a step's loss is another than an epoch's."""
        return {f"{self.kind}/{name}": value for name, value in self.values.items()}


def points(store: RunStore, run: Run, steps: bool = False) -> list[Point]:
    """The records of ``run`` in their order, of epochs and the end, with ``steps`` also those within epochs."""
    records = store.metrics(run.id)
    if not steps:
        records = records[records["kind"] != "step"]
    return [_point(run, row) for row in records.to_dict("records")]


def settings(run: Run) -> dict[str, Any]:
    """The settings of ``run`` and where it was trained as text, numbers and switches; None is left out."""
    flat: dict[str, Any] = {}
    for name, value in (run.environment | run.config).items():
        if isinstance(value, dict):
            flat |= {f"{name}.{inner}": each for inner, each in value.items()}
        else:
            flat[name] = value
    return {name: _plain(value) for name, value in flat.items() if value is not None}


def _point(run: Run, row: dict[Any, Any]) -> Point:
    measured = {name: row[name] for name in NUMBERS if name != "epoch"}
    if isinstance(row["p"], tuple):
        measured |= {f"p/{position}": p for position, p in enumerate(row["p"], 1)}
    values = {name: float(value) for name, value in measured.items() if math.isfinite(value)}
    seconds = values.get("train_seconds", 0.0) + values.get("eval_seconds", 0.0)
    return Point(str(row["kind"]), int(row["step"]), run.created + seconds, values)


def _plain(value: Any) -> Any:
    if isinstance(value, str | bool | int | float):
        return value
    return " ".join(map(str, value)) if isinstance(value, Sequence) else str(value)
