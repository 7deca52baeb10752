"""Times of several ways to do the same, taken in turn, so that a machine that slows down slows all of them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import torch
from scipy import stats  # type: ignore[import-untyped]

Work = Callable[[], object]
Times = dict[str, list[float]]

# A sample shorter than this (seconds) would measure the clock, the interpreter and what another way left in the caches.
SHORTEST = 5e-3
FEWEST_ROUNDS = 5
CONFIDENCE = 0.95


def interleaved(works: Mapping[str, Work], *, seconds: float, device: torch.device) -> Times:
    """Seconds a call of each of ``works``, one sample a round, every round beginning with another of them.

    Warm-up is left out. There are rounds for ``seconds``, and at least :data:`FEWEST_ROUNDS`.
    """
    calls = {name: _calls(work, device) for name, work in works.items()}
    names = list(works)
    times: Times = {name: [] for name in names}
    end = time.perf_counter() + seconds
    rounds = 0
    while rounds < FEWEST_ROUNDS or time.perf_counter() < end:
        first = rounds % len(names)
        for name in names[first:] + names[:first]:
            times[name].append(_sample(works[name], calls[name], device))
        rounds += 1
    return times


def ratio(times: Sequence[float], base: Sequence[float]) -> tuple[float, float, float]:
    """Median over rounds of ``times`` against ``base``, and the order statistics that hold it with 95 %.

    Each round's own ratio is taken, so what slows a whole round cancels.
    """
    return middle([t / b for t, b in zip(times, base, strict=True)])


def middle(values: Sequence[float]) -> tuple[float, float, float]:
    """The median, and the order statistics that hold it with 95 %; for few values the least and the greatest."""
    ordered = sorted(values)
    low, high = _ranks(len(ordered))
    return median(ordered), ordered[low], ordered[high]


def growth(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The exponent b of seconds ∝ sizeᵇ, by least squares of the logarithms."""
    slope: float = stats.linregress([math.log(size) for size in sizes], [math.log(t) for t in seconds]).slope
    return float(slope)


def synchronise(device: torch.device) -> None:
    """Wait until ``device`` has done all it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _ranks(n: int) -> tuple[int, int]:
    """Places, from 0, of the order statistics between which a median of ``n`` lies with 95 %; the ends for few."""
    low = int(stats.binom.ppf((1 - CONFIDENCE) / 2, n, 0.5))
    # P(fewer than ``low`` lie below the median) must not exceed half of what may be missed.
    if stats.binom.cdf(low - 1, n, 0.5) > (1 - CONFIDENCE) / 2:
        low -= 1
    low = max(low - 1, 0)
    return low, n - 1 - low


def _calls(work: Work, device: torch.device) -> int:
    """Warm up, and say how many calls make a sample of at least :data:`SHORTEST`."""
    work()
    once = min(_sample(work, 1, device) for _ in range(2))
    return max(1, math.ceil(SHORTEST / max(once, 1e-9)))


def _sample(work: Work, calls: int, device: torch.device) -> float:
    if calls > 1:
        work()
    synchronise(device)
    started = time.perf_counter()
    for _ in range(calls):
        work()
    synchronise(device)
    return (time.perf_counter() - started) / calls
