"""Drop the k units with the smallest score: the one rule of DropAct, DropInv and DropCorr, which differ in the score.

Gavier, Activation Dropout, Inverse Dropout and Correlated Dropout, section 3. Scores are (B, N) in float32 at least, +∞
where a unit may not fall. Every shape depends on p and the shape of the input alone, so that torch.compile, CUDA graphs
and vmap can follow. A change of p changes k: compiled code is then compiled anew, and a captured graph must be captured
again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from .base import Dropout, Effect, Knob, Noise, multiply_mask
from .noise import uniforms
from .smallest import count, ranks, smallest

COUNT = Knob(
    "count", "active", "k is p of all units of the layer, or p of an example's active units.", ("layer", "active")
)
CLAMP = Knob("clamp", 10.0, "Largest factor that mass or unbiased scaling may apply.", low=1.0)


def rescale_knob(*choices: str) -> Knob:
    return Knob("rescale", "none", "How survivors are scaled to make up for what fell.", choices)


class Fallen(NamedTuple):
    """What a selection dropped: ``mask`` (B, N), True where a unit fell, chosen by its ``score`` (B, N)."""

    mask: Tensor
    score: Tensor

    @property
    def threshold(self) -> Tensor:
        """The largest score that fell, -∞ where none did. (B, 1)"""
        return self.score.masked_fill(~self.mask, -torch.inf).amax(1, keepdim=True)


def how_many(p: float, n: int) -> int:
    """k = ⌊p·n + 1e-9⌋: the tolerance makes 0.29 of 100 units 29."""
    return math.floor(p * n + 1e-9)


def how_many_of(p: float, active: Tensor) -> Tensor:
    """⌊p·n + 1e-9⌋ for each count in ``active``, an integer tensor."""
    if active.device.type == "mps":  # no float64 there; 1e-4 is what float32 leaves certain
        return (p * active.float() + 1e-4).long()
    return (p * active.double() + 1e-9).long()


def drop_smallest(score: Tensor, k: int, k_row: Tensor | None = None) -> Fallen:
    """The k smallest finite scores of each row fall, or the first ``k_row`` (B, 1) ≤ k of them.

    Scores of +∞ never fall, so a row with fewer than k finite ones loses just those.
    """
    mask = smallest(score, k, k_row) if k else torch.zeros_like(score, dtype=torch.bool)
    return Fallen(mask, score)


def barring(score: Tensor) -> Tensor:
    """``score``, overwritten, with +∞ for all that may not fall, which is NaN there. Overflow is the largest number.

    What may not fall is made NaN by arithmetic, as 0 times ∞ or 0/0 is added to it: on a CPU ``where`` and
    ``masked_fill`` take thirty times as long, and what makes a bool four times.
    """
    largest = torch.finfo(score.dtype).max
    return score.nan_to_num_(torch.inf, largest, -largest)


def uniform_factor(fallen: Tensor, n: int | Tensor) -> Tensor:
    """n / (n - k'), k' the number that fell; 1 where nothing is left. (B, 1)"""
    left = n - count(fallen)
    return torch.where(left > 0, n / left.clamp(min=1), 1.0)


def mass_factor(x: Tensor, fallen: Tensor) -> Tensor:
    """Σ|x| / Σ|x∘m| over finite units, the factor that restores a row's mass; 1 where nothing is left. (B, 1)"""
    size = torch.where(x.isfinite(), x.abs(), 0.0)
    size = size / size.amax(1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)  # the sum of huge ones overflows
    left = size.masked_fill(fallen, 0).sum(1, keepdim=True)
    return torch.where(left > 0, size.sum(1, keepdim=True) / torch.where(left > 0, left, 1.0), 1.0)


def minus_exponentials(u: Tensor) -> Tensor:
    """-E, E ~ Exp(1), from U[0, 1); never 0, which times an infinite weight would be nothing."""
    return (1.0 - u).log_().clamp_max_(-(2.0**-25))


class Ranked(Dropout):
    """Base of the techniques that drop the k units with the smallest score; x: (B, *units), a 1-D x is one example.

    Args:
        p: share of units that fall.
        count: "active": k = ⌊p·#active⌋. "layer", the paper at its word: k = ⌊p·N⌋ of all N units, of which only those
            that compete can fall, so that a sparse layer can lose every active one.
        rescale: "none" as in the paper; "uniform": n/(n-k') with n = N or #active; "mass": Σ|x|/Σ|x∘m|; "unbiased"
            (DropAct, DropInv) undoes each survivor's own chance to fall. Factors are detached.
        clamp: upper bound on the factors of "mass" and "unbiased"; :attr:`clamped` is the share it cut in the last
            training forward.

    :attr:`clamped` is a buffer: in ``torch.func.vmap``, "mass" and "unbiased" need stacked buffers, as BatchNorm does.
    ``check_finite = True``, on a layer or a class, raises ValueError on non-finite input instead of letting it through.
    """

    drops = "units"
    falls_when = "≤"
    check_finite: bool = False
    clamped: Tensor

    def __init__(
        self,
        p: float = 0.5,
        inplace: bool = False,
        *,
        count: str = "active",
        rescale: str = "none",
        clamp: float = 10.0,
    ) -> None:
        super().__init__(p, inplace)
        self.count, self.rescale, self.clamp = count, rescale, clamp
        self.register_buffer("clamped", torch.zeros(()), persistent=False)

    def competes(self, flat: Tensor) -> Tensor:
        """The units of ``flat`` (B, N) that are active: finite, and not at rest."""
        return (flat > 0) & (flat < torch.inf)

    def score(self, flat: Tensor, noise: Noise) -> Tensor:
        """(B, N) scores of ``flat`` (B, N): small falls first, +∞ never."""
        raise TypeError(f"{type(self).__name__} does not say how it scores")

    def fallen(self, x: Tensor, noise: Noise) -> Tensor:
        """The units of ``x`` that fall under these random numbers at the present p: bool, the shape of ``x``."""
        return self._select(rows(x), noise).mask.reshape(x.shape)

    def effect(self, x: Tensor, noise: Noise) -> Effect:
        """Score and threshold as :meth:`shown` puts them; -∞ or 0 as the threshold where nothing falls."""
        flat = rows(x)
        chosen = self._select(flat, noise)
        factor = flat.new_ones(1, 1) if self.rescale == "none" else self._factor(flat, chosen)
        score, threshold = self.shown(chosen.score, flat), self.shown(chosen.threshold, flat)
        fallen, each, scores = (part.expand_as(flat).reshape(x.shape) for part in (chosen.mask, factor, score))
        return Effect(fallen, each, scores, threshold.reshape(-1, *[1] * (x.dim() - 1)))

    def shown(self, score: Tensor, flat: Tensor) -> Tensor:
        """Scores of ``flat`` as the technique's formula has them, where they are computed in another form."""
        return score

    def falls_at(self, x: Tensor, noise: Noise, ps: Sequence[float]) -> Tensor:
        """As in the base, by one sort: at each p the units of the lowest ranks fall."""
        flat = rows(x)
        score = self.score(flat, noise)
        counts = [how_many(p, flat.shape[1]) for p in ps]
        k = torch.tensor(counts, device=x.device).expand(flat.shape[0], -1)  # (B, P)
        if self.count == "active":
            active = self._active_count(flat)
            k = torch.minimum(k, torch.cat([how_many_of(p, active) for p in ps], 1))
        at = torch.searchsorted(k.contiguous(), ranks(score), right=True)
        return at.masked_fill_(score == torch.inf, len(ps)).reshape(x.shape)

    def perturb(self, x: Tensor, noise: Noise) -> Tensor:
        flat = rows(x)
        if self.check_finite and not flat.isfinite().all():
            raise ValueError(f"{type(self).__name__} got non-finite activations; look for the layer that made them")
        if how_many(self.p, flat.shape[1]) == 0:
            return x
        chosen = self._select(flat, noise)
        y = multiply_mask(x, ~chosen.mask.reshape(x.shape))
        if self.rescale == "none":
            return y
        factor = self._factor(flat, chosen).to(x.dtype).expand_as(flat)
        return y * factor.reshape(x.shape)

    def _select(self, flat: Tensor, noise: Noise) -> Fallen:
        k, score = how_many(self.p, flat.shape[1]), self.score(flat, noise)
        # Those that may fall are the active ones.
        k_row = how_many_of(self.p, count(score < torch.inf)) if self.count == "active" else None
        return drop_smallest(score, k, k_row)

    def _active_count(self, flat: Tensor) -> Tensor:
        return count(self.competes(flat))

    def _factor(self, flat: Tensor, chosen: Fallen) -> Tensor:
        """(B, 1), or (B, N) where survivors differ."""
        if self.rescale == "uniform":
            n = self._active_count(flat) if self.count == "active" else flat.shape[1]
            return uniform_factor(chosen.mask, n)
        factor = mass_factor(flat, chosen.mask) if self.rescale == "mass" else self.unbiased_factor(flat, chosen)
        self._report(factor, chosen.mask)
        return factor.clamp(max=self.clamp)

    def unbiased_factor(self, flat: Tensor, chosen: Fallen) -> Tensor:
        """1 over each survivor's chance to survive, given the threshold."""
        raise TypeError(f"{type(self).__name__} does not know a unit's chance to survive")

    def _report(self, factor: Tensor, fallen: Tensor) -> None:
        cut = (factor > self.clamp).expand_as(fallen) & ~fallen
        self.clamped.copy_(cut.float().sum() / (~fallen).sum().clamp(min=1))


class Race(Ranked):
    """The races: unit i draws E_i ~ Exp(1) and the k smallest E_i / w_i fall, which is k draws without replacement ∝ w.

    w is x or 1/x in units of the row's largest (:func:`unit`), so that neither 1/x nor a product can overflow; of units
    more than 2^223 times smaller than that one, all count the same.
    """

    knobs = (COUNT, rescale_knob("none", "uniform", "mass", "unbiased"), CLAMP)
    power: ClassVar[int]

    def draw(self, x: Tensor) -> Noise:
        return (uniforms_like_rows(x),)

    def score(self, flat: Tensor, noise: Noise) -> Tensor:
        active = active_part(flat)
        negative = active * -unit(active)  # with -E as good as both without their signs, and a pass shorter
        e = minus_exponentials(noise[0]).to(flat.dtype)
        key = e / negative if self.power > 0 else e * negative
        return barring(torch.addcdiv(key, active, active, value=0))  # 0/0 is NaN

    def shown(self, score: Tensor, flat: Tensor) -> Tensor:
        return score.clamp(min=0) * unit(active_part(flat)) ** self.power

    def unbiased_factor(self, flat: Tensor, chosen: Fallen) -> Tensor:
        """exp(w·T): survivor i outran T with probability exp(-w_i·T). 1 for units that cannot fall."""
        x = flat * unit(active_part(flat))
        exponent = chosen.threshold.clamp(min=0) * (x if self.power > 0 else 1 / x)
        return torch.where(self.competes(flat) & ~chosen.mask, exponent.exp(), 1.0)


def active_part(flat: Tensor) -> Tensor:
    """``flat`` with 0, and never -0, for all that is not active."""
    return torch.threshold_(flat.nan_to_num(0.0, 0.0, 0.0), 0.0, 0.0)


def unit(active: Tensor) -> Tensor:
    """What makes the largest of each row of :func:`active_part` 2^100: (B, 1). Smaller, where that would overflow."""
    return 2.0**100 / active.amax(1, keepdim=True).clamp_min_(2.0**-27)


def rows(x: Tensor) -> Tensor:
    """x (B, *units), or (N,), as detached (B, N) in float32 at least."""
    flat = x.detach().reshape(1, -1) if x.dim() < 2 else x.detach().flatten(1)
    return flat.to(torch.promote_types(flat.dtype, torch.float32))


def uniforms_like_rows(x: Tensor) -> Tensor:
    shape = (1, x.numel()) if x.dim() < 2 else (x.shape[0], math.prod(x.shape[1:]))
    return uniforms(shape, x)
