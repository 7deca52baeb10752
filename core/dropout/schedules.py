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
    """Training forwards between two covariance estimates: ``epochs``·growth^epoch epochs' worth of them, at least 1.

    Args:
        epochs: interval at the start, in epochs; may be a fraction.
        growth: factor by which the interval grows each epoch; 1 keeps it.
        epoch: the present epoch, from 0.
        steps_per_epoch: forwards an epoch takes.
    """
    # By logarithms, since growth^epoch leaves the range of floats.
    interval = math.exp(min(math.log(epochs) + epoch * math.log(growth), math.log(LONGEST_INTERVAL)))
    return max(1, round(interval * steps_per_epoch))
