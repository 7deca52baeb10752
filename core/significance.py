"""Whether two techniques' accuracies differ by more than chance: t tests over seeds, corrected for their number."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

FEWEST_PAIRS = 3
LEAST_ERROR = 1e-12  # below, a spread is rounding


def p_value(one: pd.Series, other: pd.Series) -> float:
    """Two-sided p of a difference of means; 1 where nothing can be judged: too few values, or none that vary."""
    if min(len(one), len(other)) < 2:
        return 1.0
    paired = pd.concat([one, other], axis=1, join="inner")
    if len(paired) >= FEWEST_PAIRS:
        differences = paired.iloc[:, 0] - paired.iloc[:, 1]
        error = float(differences.std(ddof=1)) / math.sqrt(len(differences))
        if error > LEAST_ERROR:
            return _student(float(differences.mean()), error, len(differences) - 1)
    parts = [float(values.var(ddof=1)) / len(values) for values in (one, other)]
    weights = [part**2 / (len(values) - 1) for part, values in zip(parts, (one, other), strict=True)]
    freedom = sum(parts) ** 2 / sum(weights) if sum(weights) > 0 else math.inf
    return _student(float(one.mean() - other.mean()), math.sqrt(sum(parts)), freedom)


def _student(difference: float, error: float, freedom: float) -> float:
    if not error > LEAST_ERROR:
        return 1.0
    from scipy.special import stdtr  # type: ignore[import-untyped]  # 0.1 s, so only where there is something to test

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
