"""What the networks share: sizes scaled by a width, checked shapes and probabilities."""

import math
from collections.abc import Sequence

Shape = tuple[int, int, int]


def scaled(units: int, width: float) -> int:
    """``units``·``width`` to the nearest whole number, at least 1. ValueError unless width is positive and finite."""
    if not (math.isfinite(width) and width > 0):
        raise ValueError(
            f"width scales the layers and must be a positive number, not {width!r}; 1 is the full network."
        )
    return max(1, math.floor(units * width + 0.5))


def pooled(title: str, shape: Sequence[int], halvings: int) -> tuple[int, int]:
    """Height and width left of images of ``shape`` (C, H, W) after so many 2×2 poolings; ValueError if nothing is."""
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"shape must be (channels, height, width), three positive numbers, not {tuple(shape)}.")
    _, height, width = shape
    least = 2**halvings
    if min(height, width) < least:
        raise ValueError(
            f"{title} needs images of at least {least}×{least} pixels, not {height}×{width}; choose another network or "
            "larger images."
        )
    return height // least, width // least


def probabilities(title: str, default: Sequence[float], p: float | Sequence[float] | None) -> tuple[float, ...]:
    """One p a position: ``default`` for None, ``p`` everywhere for a number. ValueError if p does not fit."""
    if p is None:
        return tuple(default)
    chosen = (p,) * len(default) if isinstance(p, int | float) else tuple(p)
    if len(chosen) != len(default):
        raise ValueError(
            f"{title} has {len(default)} dropout positions, but p has {len(chosen)} values; give one each."
        )
    for value in chosen:
        if not 0 <= value <= 1:
            raise ValueError(f"p is the probability of dropping and must lie in [0, 1], not {value!r}.")
    return chosen


def check_classes(classes: int) -> int:
    """``classes`` if it is positive, else ValueError."""
    if classes < 1:
        raise ValueError(f"a network needs at least one class, not {classes!r}.")
    return classes
