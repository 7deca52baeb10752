"""How p changes over epochs, and how long a covariance lasts; pure functions of the epoch.

``alternate`` and the growing refresh are proposals of Gavier, section 5.
"""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[float, int, int], float]

LONGEST_INTERVAL = 1e6
"""Epochs between two covariance estimates that count as never again."""


def constant(p: float, epoch: int, epochs: int) -> float:
    """p in every epoch."""
    return p


def alternate(p: float, epoch: int, epochs: int) -> float:
    """p in epochs 0, 2, 4, …, and 0 between."""
    return p if epoch % 2 == 0 else 0.0


def early(p: float, epoch: int, epochs: int) -> float:
    """p in the first half of training, then 0 (Liu et al. 2023, arXiv:2303.01500)."""
    return p if 2 * epoch < epochs else 0.0


def late(p: float, epoch: int, epochs: int) -> float:
    """0 in the first half of training, then p (Liu et al. 2023, arXiv:2303.01500)."""
    return 0.0 if 2 * epoch < epochs else p


def linear(p: float, epoch: int, epochs: int) -> float:
    """From 0 in the first epoch up to p in the last (Morerio et al. 2017, arXiv:1703.06229, grow it likewise)."""
    return p * epoch / (epochs - 1) if epochs > 1 else p


SCHEDULES: dict[str, Schedule] = {
    "constant": constant,
    "alternate": alternate,
    "early": early,
    "late": late,
    "linear": linear,
}

ON_OFF = ("constant", "alternate", "early", "late")
"""Schedules for techniques that learn their noise: these know only on and off."""


def p_at(schedule: str, p: float, epoch: int, epochs: int) -> float:
    """p in ``epoch`` (from 0) of ``epochs``; ValueError for an unknown schedule."""
    if schedule not in SCHEDULES:
        raise ValueError(f"There is no schedule {schedule!r}; choose from {', '.join(SCHEDULES)}")
    return SCHEDULES[schedule](p, epoch, epochs)


def refresh_every(epochs: float, growth: float, epoch: int, steps_per_epoch: int) -> int:
    """Training forwards between two covariance estimates, at least 1: the interval that runs as ``epoch`` begins.

    Intervals of N, N·g, N·g², … epochs follow one another. (If they grew with every epoch, none would ever end: after
    e epochs without an estimate the interval would be N·g^e.) One that ends as the epoch begins still counts there.

    Args:
        epochs: N, the first interval; may be a fraction, and holds within an epoch.
        growth: g, the factor from one interval to the next; 1 keeps it.
        epoch: the present epoch, from 0.
        steps_per_epoch: forwards an epoch takes.
    """
    # By logarithms, since N·g^k leaves the range of floats.
    interval = math.log(epochs)
    if growth > 1.0 and epoch > 0:
        # The fewest intervals that reach the epoch: N·(g^k - 1)/(g - 1) ≥ epoch.
        reach = _log_1p_exp(math.log(epoch) + math.log(growth - 1.0) - interval)
        interval += (math.ceil(reach / math.log(growth) - 1e-9) - 1) * math.log(growth)
    return max(1, round(math.exp(min(interval, math.log(LONGEST_INTERVAL))) * steps_per_epoch))


def _log_1p_exp(x: float) -> float:
    """ln(1 + e^x) for any x."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))
