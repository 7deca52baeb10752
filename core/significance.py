"""Whether two techniques' accuracies differ by more than chance: t tests over seeds, corrected for their number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

FEWEST_PAIRS = 3
# Below, a spread is rounding: accuracies are kept as float32 knows them.
LEAST_ERROR = 1e-7


@dataclass(frozen=True)
class Difference:
    """``mean`` of ``n`` paired differences with its standard ``error``, missing where fewer than three allow none."""

    n: int
    mean: float
    error: float

    @property
    def varies(self) -> bool:
        """Whether there is a spread to judge the mean by."""
        return self.error > LEAST_ERROR

    @property
    def p_value(self) -> float:
        """Two-sided p of a paired t test; missing where nothing varies."""
        return _student(self.mean, self.error, self.n - 1) if self.varies else math.nan

    def interval(self, level: float) -> tuple[float, float]:
        """The confidence interval of the mean at ``level``, as 0.95; missing where nothing varies."""
        if not self.varies:
            return math.nan, math.nan
        from scipy.special import stdtrit  # type: ignore[import-untyped]

        half = self.error * float(stdtrit(self.n - 1, (1 + level) / 2))
        return self.mean - half, self.mean + half


def paired_difference(one: pd.Series, other: pd.Series) -> Difference:
    """``one`` less ``other`` over the seeds (the index, each once) that both have."""
    # Not by aligning the two: that takes ten times as long, and many techniques make very many pairs.
    place = one.index.get_indexer(other.index)
    shared = place >= 0
    differences = one.to_numpy()[place[shared]] - other.to_numpy()[shared]
    n = len(differences)
    error = float(differences.std(ddof=1)) / math.sqrt(n) if n >= FEWEST_PAIRS else math.nan
    return Difference(n, float(differences.mean()) if n else math.nan, error)


def p_value(one: pd.Series, other: pd.Series) -> float:
    """Two-sided p of a difference of means; 1 where nothing can be judged: too few values, or none that vary."""
    if min(len(one), len(other)) < 2:
        return 1.0
    paired = paired_difference(one, other)
    if paired.varies:
        return paired.p_value
    parts = [float(values.var(ddof=1)) / len(values) for values in (one, other)]
    weights = [part**2 / (len(values) - 1) for part, values in zip(parts, (one, other), strict=True)]
    freedom = sum(parts) ** 2 / sum(weights) if sum(weights) > 0 else math.inf
    return _student(float(one.mean() - other.mean()), math.sqrt(sum(parts)), freedom)


def _student(difference: float, error: float, freedom: float) -> float:
    if not error > LEAST_ERROR:
        return 1.0
    from scipy.special import stdtr  # 0.1 s, so only where there is something to test

    return float(2 * stdtr(freedom, -abs(difference) / error))


def holm(values: Sequence[float]) -> list[float]:
    """Holm's step-down correction, in the order given."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    corrected = [1.0] * len(values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[i]))
        corrected[i] = largest
    return corrected
