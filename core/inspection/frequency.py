"""How often each unit stays over many draws, against the nominal 1-p."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn

from core.inspection.fields import alone, repeated
from core.inspection.models import entering, layer_at, untouched

MOST_DRAWS, FEWEST_DRAWS, MOST_NUMBERS = 400, 100, 4_000_000


def draws_for(units: int) -> int:
    """How many draws a layer of so many units is looked at: a few hundred, fewer in the largest."""
    return max(FEWEST_DRAWS, min(MOST_DRAWS, MOST_NUMBERS // units))


def keep_frequency(
    model: nn.Module, x: Tensor, position: int, *, draws: int = MOST_DRAWS, grid: Sequence[float], seed: int = 0
) -> Tensor | None:
    """Share of draws in which each unit of the layer at ``position`` stays: (P, N), a row for each p of ``grid``.

    ``x`` (1, …) is one input of ``model``, which is left as it was. None where no unit can fall.
    """
    layer = layer_at(model, position)
    if layer.drops != "units":
        return None
    with untouched(model, seed), alone(model, layer):
        model.eval()
        rows = repeated(entering(model, layer, x), draws)
        at = layer.falls_at(rows, layer.draw(rows), grid).flatten(1)  # (draws, N)
    steps, units = len(grid), at.shape[1]
    place = at * units + torch.arange(units, device=at.device)
    counts = torch.bincount(place.flatten(), minlength=(steps + 1) * units).view(steps + 1, units)
    return 1 - counts.cumsum(0)[:steps] / draws


@lru_cache(maxsize=8)
def band(grid: tuple[float, ...], draws: int, level: float = 0.95) -> tuple[tuple[float, float], ...]:
    """Between which shares the frequency of a unit that stays with probability 1-p lies, in ``level`` of all cases.

    Exact, from the binomial distribution of the count.
    """
    from scipy.special import bdtr  # type: ignore[import-untyped]  # scipy.stats would take far longer to import

    below = bdtr(range(draws + 1), draws, [[1 - p] for p in grid])  # (P, draws + 1), P(count <= column)
    low, high = ((below >= tail).argmax(1) / draws for tail in ((1 - level) / 2, (1 + level) / 2))
    return tuple(zip(low.tolist(), high.tolist(), strict=True))
