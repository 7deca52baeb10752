"""What a benchmark found, as plain records."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from core.bench.timing import Times, middle, ratio


@dataclass(frozen=True)
class Result:
    """What one thing took against another, in the same rounds.

    Attributes:
        bench: "layers", "explore", "training" or "app".
        case, against: what was measured, and what it is held against.
        where: sizes, device and the like.
        seconds, base_seconds: median of each.
        ratio, low, high: median over rounds of the one against the other, and its 95 % interval.
        rounds: how many there were.
        peak_bytes: largest memory held at once beyond what was there before; None where it was not measured.
    """

    bench: str
    case: str
    against: str
    where: Mapping[str, Any]
    seconds: float
    base_seconds: float
    ratio: float
    low: float
    high: float
    rounds: int
    peak_bytes: int | None = None


@dataclass(frozen=True)
class Growth:
    """How the time of ``case`` grows: seconds ∝ ``over``^exponent for sizes from ``low`` to ``high``."""

    bench: str
    case: str
    over: str
    exponent: float
    low: int
    high: int
    where: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Agreement:
    """That ``case`` and ``against`` compute the same: the ``largest`` relative difference of their results."""

    bench: str
    case: str
    against: str
    where: Mapping[str, Any]
    largest: float


@dataclass(frozen=True)
class Amount:
    """What was measured in a unit of its own, as seconds or a share of a core, and is held against nothing.

    Attributes:
        bench, case, where: as a :class:`Result` has them.
        unit: "s", "MB", "cores" or "a second".
        value, low, high: median, and its 95 % interval.
        rounds: how many values there were.
    """

    bench: str
    case: str
    unit: str
    where: Mapping[str, Any]
    value: float
    low: float
    high: float
    rounds: int


@dataclass(frozen=True)
class Paired:
    """How a score changes with ``case``, in pairs of runs from the same seed.

    Attributes:
        score: what is compared, a share of 1.
        pairs: how many there were.
        base, spread: mean and standard deviation of the score with ``against``, over the seeds.
        difference, low, high: mean change of the score and its 95 % interval, missing where nothing varies.
    """

    bench: str
    case: str
    against: str
    where: Mapping[str, Any]
    score: str
    pairs: int
    base: float
    spread: float
    difference: float
    low: float
    high: float

    @property
    def against_spread(self) -> float:
        """How many standard deviations over the seeds the mean change is, without its sign."""
        if self.difference == 0.0:
            return 0.0
        return abs(self.difference) / self.spread if self.spread else math.inf


Finding = Result | Growth | Agreement | Amount | Paired
KINDS: dict[str, type[Finding]] = {kind.__name__.lower(): kind for kind in (Result, Growth, Agreement, Amount, Paired)}


def finding_of(values: Mapping[str, Any]) -> Finding:
    """The finding that was written as JSON with its ``kind``; what else stands there is passed over."""
    kind = KINDS[values["kind"]]
    return kind(**{name: values[name] for name in kind.__dataclass_fields__})


def read(path: Path) -> tuple[list[Finding], dict[str, Any]]:
    """What ``python -m core bench --json`` printed: the findings, and the machine that they are from."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = [line for line in lines if line["kind"] in KINDS]
    return [finding_of(line) for line in found], found[0]["environment"]


def amount(bench: str, case: str, unit: str, where: Mapping[str, Any], values: Sequence[float]) -> Amount:
    """The median of ``values`` with its interval."""
    return Amount(bench, case, unit, where, *middle(values), len(values))


def results(
    bench: str, times: Times, base: str, where: Mapping[str, Any], peaks: Mapping[str, int | None] | None = None
) -> list[Result]:
    """A result for each of ``times`` other than ``base``."""
    found = []
    for case, seconds in times.items():
        if case != base:
            middle, low, high = ratio(seconds, times[base])
            peak = (peaks or {}).get(case)
            pair = median(seconds), median(times[base])
            found.append(Result(bench, case, base, where, *pair, middle, low, high, len(seconds), peak))
    return found
