"""What a benchmark found, as plain records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from core.bench.timing import Times, ratio


@dataclass(frozen=True)
class Result:
    """What one thing took against another, in the same rounds.

    Attributes:
        bench: "layers", "training" or "app".
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
