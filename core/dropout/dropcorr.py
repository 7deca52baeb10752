"""Gavier, section 3.3, Algorithm 3: units that are active together fall together, by a sample of their covariance.

s = X_cᵀz with z ~ N(0, I_B) has covariance exactly S = X_cᵀX_c, so no N×N matrix is built or factorised.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from .base import Knob, Noise
from .noise import normals
from .ranked import CLAMP, COUNT, Ranked, barring, rescale_knob, rows


def deviations(flat: Tensor) -> Tensor:
    """X - X[0] of activations X (R, N), non-finite ones as 0. Exactly 0 in a constant column."""
    d = flat.nan_to_num(0.0, 0.0, 0.0)
    return d.sub_(d[:1].clone())


def centre(flat: Tensor) -> Tensor:
    """X_c of activations X (R, N), non-finite ones as 0. Exactly 0 in a constant column."""
    d = deviations(flat)
    return d.sub_(d.mean(0))


def break_ties(score: Tensor, size: Tensor, a: Tensor, h: Tensor) -> Tensor:
    """Scores (B, N) in which those equal but for rounding stand in random order; ``size`` (N,) is what made them.

    Equal columns come out of a matrix product with different last digits, by their place in it. An error of 2^-12 of
    the column's largest entry outweighs that, and adds at most 2e-8 to each unit's variance, which float32 does not
    resolve. Random 32-bit integers ``a`` (B, 1), odd, and ``h`` (1, N) make it: their products, which wrap, are
    independent and uniform along each row (multiply-shift hashing, Dietzfelbinger et al. 1997), and nearly so down a
    column, for B + N random numbers instead of B·N.
    """
    # In [-2^31, 2^31) times 2^-32 in two parts, so that the largest size does not overflow, nor the smallest vanish.
    return torch.addcmul(score, (a * h).to(score.dtype), size * 2.0**-32 + 2.0**-20 * 1e-30, value=2.0**-12)


class DropCorr(Ranked):
    """Correlated dropout: the k units with the largest s_j fall, s ~ N(0, S) drawn anew for each example; x in eval.

    S = Σ (x - x̄)(x - x̄)ᵀ over the batch, or over the reference where one is kept. One example alone, or dead units,
    carry no covariance: among those the choice is uniform.

    Args:
        p, count, rescale ("none", "uniform", "mass"), clamp: as in :class:`Ranked`; active here means x ≠ 0.
        refresh_every: training forwards for which a covariance is kept (Gavier, section 5); 1 takes each batch's own.
    """

    name = "dropcorr"
    title = "DropCorr"
    paper = "Gavier, Activation Dropout, Inverse Dropout and Correlated Dropout, section 3.3"
    mechanism = "Units that are active together fall together: the k largest of a sample with their covariance."
    formula = r"y = x \circ m, \quad s \sim \mathcal{N}(0, S), \quad S = \sum_b (x_b - \bar x)(x_b - \bar x)^\top"
    cost = "One product (B×B)·(B×N) and a selection of the k largest: grows with N, no N×N matrix."
    worked = "s = {score} {sign} {cut};  y = {x} · {factor} = {y}"
    falls_when = "≥"
    knobs = (
        replace(COUNT, default="layer"),
        rescale_knob("none", "uniform", "mass"),
        CLAMP,
        Knob("refresh_every", 1, "Training steps between two covariance estimates.", low=1, step=1, integer=True),
    )

    def __init__(
        self,
        p: float = 0.5,
        inplace: bool = False,
        *,
        count: str = "layer",
        rescale: str = "none",
        clamp: float = 10.0,
        refresh_every: int = 1,
    ) -> None:
        super().__init__(p, inplace, count=count, rescale=rescale, clamp=clamp)
        self.refresh_every = refresh_every
        self.register_buffer("reference", None, persistent=False)
        self.register_buffer("cache", None, persistent=False)
        self.register_buffer("age", torch.zeros((), dtype=torch.long), persistent=False)

    reference: Tensor | None
    cache: Tensor | None
    age: Tensor

    def set_reference(self, x: Tensor | None) -> None:
        """Take the covariance of activations ``x`` (R, *units) from now on; None goes back to the batches' own."""
        self.reference = None if x is None else centre(rows(x))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, *units), or (N,) for one example."""
        if self.refresh_every == 1:
            self.cache = None  # a later interval starts with its own batch, not with what was kept long before
        elif self.training and x.numel() > 0 and self.reference is None and not _inferring():
            self._refresh(rows(x))
        return super().forward(x)

    def _refresh(self, flat: Tensor) -> None:
        """Keep this batch's X_c if the kept one is due, without a branch on a tensor."""
        size = flat.shape[0]
        if self.cache is None or self.cache.shape[1] != flat.shape[1]:
            self.cache = flat.new_zeros(flat.shape)
            self.age.zero_()
        elif self.cache.shape[0] < size:
            self.cache = F.pad(self.cache, (0, 0, 0, size - self.cache.shape[0]))
        due = (self.age == 0) | (self.age >= self.refresh_every)
        # Rows of zeros add nothing to X_cᵀX_c, so a smaller batch fits a larger store.
        fresh = F.pad(centre(flat), (0, 0, 0, self.cache.shape[0] - size))
        self.cache.copy_(torch.where(due, fresh, self.cache))
        self.age.copy_(torch.where(due, 1, self.age + 1))

    def competes(self, flat: Tensor) -> Tensor:
        """Finite units; with ``count="active"`` those that are not 0."""
        finite = flat.abs() < torch.inf
        return finite & (flat != 0) if self.count == "active" else finite

    def kept_root(self) -> Tensor | None:
        """X_c (R, N) of the reference, or of the last refresh; None where each batch's own is used."""
        return self.reference if self.reference is not None or self.refresh_every == 1 else self.cache

    def draw(self, x: Tensor) -> Noise:
        """z (B, R), one row an example, and the integers a (B, 1) and h (1, N) of :func:`break_ties`."""
        (size, n), root = rows(x).shape, self.kept_root()
        bits = torch.randint(-(2**31), 2**31, (size + n,), dtype=torch.int32, device=x.device)
        z = normals((size, size if root is None else root.shape[0]), x)
        return z, bits[:size, None] | 1, bits[None, size:]

    def score(self, flat: Tensor, noise: Noise) -> Tensor:
        z, a, h = noise
        z, kept = -z.to(flat.dtype), self.kept_root()  # the largest s falls first
        if kept is None:
            # (z - z̄)X is z·X_c: what is centred has R numbers an example, not N.
            z, root = z - z.mean(1, keepdim=True), deviations(flat)
        else:
            root = kept.to(flat.dtype)
        with torch.autocast(flat.device.type, enabled=False):
            score = z @ root  # (B, N)
        score = break_ties(score, torch.maximum(root.amax(0), -root.amin(0)), a, h)
        # Activations near the end of the range may overflow the product.
        score = score.nan_to_num_(0.0)
        if self.count == "active":
            return barring(torch.addcdiv(score, flat, flat, value=0))
        return barring(score.add_(flat, alpha=0))

    def shown(self, score: Tensor, flat: Tensor) -> Tensor:
        return -score


def _inferring() -> bool:
    """In inference mode, whose tensors no later step could overwrite; the compiler cannot follow the question."""
    return not torch.compiler.is_compiling() and torch.is_inference_mode_enabled()
