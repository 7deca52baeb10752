"""Masks of one layer on one image: what each of several draws does at every p of a grid, and what the network answers.

For fixed random numbers and a fixed input a larger p only adds to what falls (coupled masks), so the grid step at which
each unit falls is all there is to know of a draw. It holds for one layer: what lies before it runs without noise, what
lies behind it runs anew at each p.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.dropout import DropConnect, Dropout, Effect, LayerDropout, Noise, dropouts
from core.inspection.models import answers, entering, in_parts, layer_at, untouched

FINE = tuple(i / 100 for i in range(101))
COARSE = tuple(i / 20 for i in range(21))
# Units × draws × steps, and weights × draws, that are held and sent for one technique.
MOST_FACTORS, MOST_WEIGHTS = 2_000_000, 2_200_000
LARGE_LAYER, LARGE_WEIGHT = 2048, 1_000_000
COUNTS_OF_DRAWS = (32, 16, 8, 4, 2)
ROWS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class Field:
    """One technique on one image at one position; D draws, P values of p, N units, K classes, W weights.

    Attributes:
        technique: its name.
        units: shape of the units, (N,) or (C, H, W).
        grid: the P values of p, ascending from 0.
        activation: (N,) the units without noise.
        output: (D, P, N) float16, the units as they leave the layer; only where noise acts on weights, and factors
            do not tell all.
        falls: uint8 (D, N), or (D, W) where weights fall: the first step of the grid at which each falls, P for never;
            None where nothing falls.
        factor: what units that stay are multiplied by: (D, P), or (D, P, N) float16 where units differ.
        score: (D, N) the number that decides on a unit; None where there is none, or weights fall.
        threshold: what the score is held against: (D, P), or (1, P, N) where units differ but draws do not; else None.
        weight: (out, in) float32, where weights fall.
        answers: (D, P, K) probabilities of the classes.
    """

    technique: str
    units: tuple[int, ...]
    grid: tuple[float, ...]
    activation: Tensor
    factor: Tensor
    answers: Tensor
    falls: Tensor | None = None
    output: Tensor | None = None
    score: Tensor | None = None
    threshold: Tensor | None = None
    weight: Tensor | None = None

    @property
    def clean(self) -> Tensor:
        """(K,) the answer without noise."""
        return self.answers[0, 0]

    def confidence(self, level: float = 0.8) -> Tensor:
        """(P, 3) probability of the class that the network names without noise: mean over draws, and between which
        values the share ``level`` of the draws lies."""
        p = self.answers[:, :, self.clean.argmax()]
        low, high = (p.quantile(q, 0) for q in ((1 - level) / 2, (1 + level) / 2))
        return torch.stack([p.mean(0), low, high], 1)


def plan(units: int, weights: int) -> tuple[int, tuple[float, ...]]:
    """How many draws and which values of p to look at in a layer of so many units with so many weights."""
    grid = FINE if units <= LARGE_LAYER and weights <= LARGE_WEIGHT else COARSE
    allowed = min(MOST_FACTORS // (len(grid) * units), MOST_WEIGHTS // max(weights, 1))
    return next((count for count in COUNTS_OF_DRAWS if count <= allowed), COUNTS_OF_DRAWS[-1]), grid


def field(
    model: nn.Module,
    x: Tensor,
    position: int,
    *,
    draws: int = 32,
    grid: Sequence[float] = FINE,
    seed: int = 0,
    onward: bool = False,
) -> Field:
    """What ``draws`` draws of the dropout layer at ``position`` do to one input at every p of ``grid``.

    Layers with equal random numbers per unit get the same ones under the same ``seed``: techniques then differ by their
    rule alone. The model is left as it was.

    Args:
        x: (1, …), one input of the model.
        grid: ascending, from 0.
        onward: also let the dropout layers behind this one act, at the same p; otherwise they are off.
    """
    layer = layer_at(model, position)
    with untouched(model, seed), alone(model, layer):
        model.eval()
        rows = repeated(entering(model, layer, x), draws)
        noise = layer.draw(rows)
        clean = layer.undisturbed(rows[:1])
        steps = list(_steps(model, layer, x, rows, noise, grid, seed if onward else None))
        falls = layer.falls_at(rows, noise, grid).to(torch.uint8).flatten(1) if layer.drops else None
        of_weights = layer.drops == "weights"
        scores = None if of_weights else _score(steps[-1].effect, clean)
        return Field(
            technique=layer.name,
            units=tuple(clean.shape[1:]),
            grid=tuple(grid),
            activation=clean.flatten().float(),
            factor=_factors([step.effect for step in steps], clean, draws, weights=of_weights),
            answers=torch.stack([step.answers for step in steps], 1),
            falls=falls,
            output=_outputs(steps, clean, always=of_weights),
            score=None if scores is None else scores.expand(draws, *scores.shape[1:]).flatten(1).float(),
            threshold=None if scores is None else _thresholds([step.effect for step in steps], clean, draws),
            weight=layer.layer.weight.detach().flatten(1) if of_weights and isinstance(layer, LayerDropout) else None,
        )


@contextmanager
def alone(model: nn.Module, layer: Dropout) -> Iterator[None]:
    """Within it only ``layer`` disturbs, and every example of a batch has noise of its own."""
    for other in dropouts(model):
        if other is not layer:
            other.turn_to(0.0)
    with own_noise(model):
        yield


@contextmanager
def own_noise(model: nn.Module) -> Iterator[None]:
    """Within it every example of a batch has noise of its own, also where a layer shares one mask."""
    shared = [m for m in dropouts(model) if isinstance(m, DropConnect) and m.mask == "batch"]
    for connect in shared:
        connect.mask = "example"
    try:
        yield
    finally:
        for connect in shared:
            connect.mask = "batch"


def repeated(x: Tensor, times: int) -> Tensor:
    """One example (1, …) as a batch of ``times``, without a copy."""
    return x.expand(times, *x.shape[1:])


@dataclass(frozen=True, eq=False)
class _Step:
    """The layer and the network at one p."""

    effect: Effect
    output: Tensor
    answers: Tensor


def _steps(
    model: nn.Module, layer: Dropout, x: Tensor, rows: Tensor, noise: Noise, grid: Sequence[float], seed: int | None
) -> Iterator[_Step]:
    behind = dropouts(model)[dropouts(model).index(layer) + 1 :] if seed is not None else []
    for p in grid:
        layer.turn_to(p)
        for other in behind:
            other.turn_to(p)
            other.train()
        if seed is not None:
            torch.manual_seed(seed + 1)
        y = layer.perturb(rows, noise) if p > 0 else repeated(layer.undisturbed(rows[:1]), len(rows))
        # A layer behind may draw one number a batch position, so parts must not depend on how they are cut.
        size = len(y) if behind else ROWS_AT_ONCE
        yield _Step(layer.effect(rows, noise), y, in_parts(lambda part: answers(model, layer, x, part), y, size))


def _outputs(steps: Sequence[_Step], clean: Tensor, *, always: bool) -> Tensor | None:
    """(D, P, N) float16 where units come to life that were at rest, which no factor can tell, or always; else None."""
    if not always and not any(((step.output != 0) & (clean == 0)).any() for step in steps):
        return None
    return torch.stack([step.output.flatten(1).half() for step in steps], 1)


def _factors(effects: Sequence[Effect], clean: Tensor, draws: int, *, weights: bool) -> Tensor:
    if weights:
        return torch.ones(draws, len(effects))
    factors = [effect.factor for effect in effects]
    # p = 0 leaves everything as it is, whatever a formula says there.
    factors[0] = torch.ones_like(factors[0])
    if all(factor.numel() == 1 for factor in factors):
        return torch.stack([factor.reshape(()).float() for factor in factors]).expand(draws, -1)
    stacked = torch.stack([f.expand(draws, *clean.shape[1:]).flatten(1) for f in factors], 1)  # (D, P, N)
    if _same_along(stacked, 2):
        return stacked[..., 0].float().clone()  # a view would keep all of it
    return stacked.half()


def _score(effect: Effect, clean: Tensor) -> Tensor | None:
    return None if effect.score is None else effect.score.expand(len(effect.score), *clean.shape[1:])


def _thresholds(effects: Sequence[Effect], clean: Tensor, draws: int) -> Tensor | None:
    known = [effect.threshold for effect in effects if effect.threshold is not None]
    if len(known) < len(effects):
        return None
    stacked = torch.stack([t.expand(draws, *clean.shape[1:]).flatten(1) for t in known], 1).float()  # (D, P, N)
    # Equal rows of a matrix product may differ in their last digits.
    if any(t.dim() > 1 and t[0].numel() > 1 for t in known) and torch.allclose(stacked, stacked[:1], atol=1e-6):
        return stacked[:1].clone()
    return stacked[..., 0].clone() if _same_along(stacked, 2) else None


def _same_along(stacked: Tensor, dim: int) -> bool:
    return bool((stacked == stacked.narrow(dim, 0, 1)).all())
