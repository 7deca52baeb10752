"""Kingma et al. 2015, arXiv:1506.02557; Molchanov et al. 2017, arXiv:1701.05369: Gaussian dropout, variance α learned.

The loss gains KL / N_train, the divergence of the noisy weights' posterior from a log-uniform prior.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .base import Dropout, Effect, Knob, Noise, block, gaussian_variance, scale_by, zeros_from
from .noise import normals
from .wrapper import Activation, LayerDropout, affine, output_shape, safe_sqrt, spread

ALPHA_RANGE = (1e-4, 1e4)
KINGMA_MAX = 0.95
KINGMA = (0.63518, 1.161451241083230, -1.502041176441722, 0.586299206427007)
MOLCHANOV = (0.63576, 1.87320, 1.48695)


def kl_molchanov(log_alpha: Tensor) -> Tensor:
    """KL of one noise variable, fitted for every α (Molchanov et al. 2017, eq. 14); elementwise."""
    k1, k2, k3 = MOLCHANOV
    return k1 - k1 * torch.sigmoid(k2 + k3 * log_alpha) + 0.5 * torch.nn.functional.softplus(-log_alpha)


def kl_kingma(alpha: Tensor) -> Tensor:
    """KL of one noise variable, fitted for α ≤ 1 (Kingma et al. 2015, appendix C); elementwise."""
    k0, c1, c2, c3 = KINGMA
    return k0 - 0.5 * alpha.log() - alpha * (c1 + alpha * (c2 + alpha * c3))


def preactivation(layer: nn.Linear | nn.Conv2d, x: Tensor, alpha: Tensor, e: Tensor) -> Tensor:
    """A sample of N(xθ + b, (x∘x)(α∘θ∘θ)) with ``e`` standard normal (local reparameterisation, Kingma et al. 2015)."""
    mean = affine(layer, x, layer.weight, layer.bias)
    std = safe_sqrt(spread(layer, x, alpha * layer.weight.square()))
    return mean + (std * e).to(mean.dtype)


class Variational(LayerDropout):
    """Variational dropout, with α learned, in two forms.

    ``Variational(p)`` multiplies activations (B, *units) by m ~ N(1, α). ``Variational(layer, p)`` wraps an nn.Linear
    or nn.Conv2d, puts N(θ, αθ²) on its weights and samples the pre-activation. Both return the mean in eval.

    Args:
        layer: a layer for the weight form; a number, or nothing, for the activation form.
        p: where α starts, at p/(1-p); afterwards only p = 0 (off) and p = 1 (zeros) matter. See :meth:`reset_alpha`.
        activation: applied to the output of the weight form.
        kl: "molchanov" (any α) or "kingma" (α < 1; a start above 0.95 is clipped with a warning).
        units: activation form: one α for each of this many units; None shares one.
        per: weight form: one α for the "layer", for each "input" unit or channel, or for each "weight".
    """

    name = "variational"
    title = "Variational"
    paper = "Kingma et al., Variational dropout and the local reparameterization trick, NIPS 2015"
    url = "https://arxiv.org/abs/1506.02557"
    mechanism = "Gaussian noise whose variance is learned: a divergence in the loss pays for certainty."
    formula = (
        r"y = x \circ m, \quad m_i \sim \mathcal{N}(1, \alpha), \quad \text{loss} \mathrel{+}= \mathrm{KL}(\alpha)/N"
    )
    cost = "One normal random number and one product a unit, and the divergence once a layer."
    worked = "m = {factor};  y = {x} · m = {y}"
    wraps_layer = False
    knobs = (
        Knob(
            "kl",
            "molchanov",
            "Which fit of the divergence is added to the loss.",
            ("molchanov", "kingma"),
            attribute="fit",
            structural=True,
        ),
        Knob(
            "form",
            "activation",
            "Noise on the activations, or on the weights of the layer.",
            ("activation", "weight"),
            structural=True,
        ),
        Knob("per", "layer", "Weight form: what shares one variance.", ("layer", "input", "weight"), structural=True),
    )
    private_knobs = (
        Knob(
            "units", None, "One variance a unit, for this many; empty shares one.", low=1, integer=True, optional=True
        ),
    )

    def __init__(
        self,
        layer: nn.Module | float | None = None,
        p: float = 0.5,
        activation: Activation | None = None,
        *,
        kl: str = "molchanov",
        units: int | None = None,
        per: str = "layer",
        inplace: bool = False,
    ) -> None:
        wrapped = isinstance(layer, nn.Module)
        Dropout.__init__(self, p if wrapped or layer is None else layer, inplace)  # type: ignore[arg-type]
        if wrapped and units is not None:
            raise ValueError("units belongs to the activation form; with a layer, say per='input' or per='weight'")
        if not wrapped and (per != "layer" or activation is not None):
            raise ValueError(
                "per and activation belong to the weight form: give the layer first, Variational(layer, p)"
            )
        self.form = "weight" if wrapped else "activation"
        self.fit, self.units, self.per = kl, units, per
        if isinstance(layer, nn.Module):
            self._adopt(layer, activation)
        like = self.layer.weight if wrapped else torch.empty(())
        self.raw_alpha = nn.Parameter(torch.empty(self._alpha_shape(), device=like.device))
        # The number of units that share α is known once they are seen; a tensor, because compiled code may write it.
        self._shared_by: Tensor
        self.register_buffer("_shared_by", torch.ones((), device=like.device), persistent=False)
        self.reset_alpha(self.p)

    def _alpha_shape(self) -> tuple[int, ...]:
        if self.form == "activation":
            return () if self.units is None else (self.units,)
        if self.per == "input":
            return (self.layer.weight.shape[1] * getattr(self.layer, "groups", 1),)
        return tuple(self.layer.weight.shape) if self.per == "weight" else ()

    @property
    def alpha(self) -> Tensor:
        """The variance α of the noise, as it is learned now."""
        return self.raw_alpha.sigmoid() if self.fit == "kingma" else self.raw_alpha.exp()

    def reset_alpha(self, p: float) -> None:
        """Set every α to p/(1-p), within [1e-4, 1e4]; "kingma" holds α ≤ 0.95 and warns where it clips."""
        low, high = ALPHA_RANGE
        start = min(max(gaussian_variance(p), low), high)
        if self.fit == "kingma" and start > KINGMA_MAX:
            warnings.warn(
                f"kl='kingma' holds for α below 1: α starts at {KINGMA_MAX}, not at p/(1-p) = {start:g}", stacklevel=2
            )
            start = KINGMA_MAX
        raw = math.log(start / (1.0 - start)) if self.fit == "kingma" else math.log(start)
        with torch.no_grad():
            self.raw_alpha.fill_(raw)

    def kl(self) -> Tensor:
        """KL summed over every noise variable, a scalar to be divided by the number of training examples.

        A shared activation α counts for each unit that the last training forward saw. 0 while p = 0 turns noise off.
        """
        if self.p == 0.0:
            return self.raw_alpha.sum() * 0.0
        each = kl_kingma(self.alpha) if self.fit == "kingma" else kl_molchanov(self.raw_alpha)
        if self.form == "activation":
            return each.sum() if self.units is not None else each * self._shared_by
        return each.sum() * (self.layer.weight.numel() / each.numel())

    def forward(self, x: Tensor) -> Tensor:
        """x (B, *units), or as the layer takes it in the weight form."""
        if self.form == "weight":
            return LayerDropout.forward(self, x)
        if self.training:
            self._shared_by.fill_(math.prod(x.shape[1:]) if x.dim() > 1 else x.numel())
        return Dropout.forward(self, x)

    def draw(self, x: Tensor) -> Noise:
        return (normals(output_shape(self.layer, x) if self.form == "weight" else x.shape, x),)

    def perturb(self, x: Tensor, noise: Noise) -> Tensor:
        if self.form == "weight":
            if self.p == 1.0:
                return self.activate(zeros_from(self.layer(x)))
            return self.activate(preactivation(self.layer, x, self._per_weight(), noise[0]))
        if self.p == 1.0:
            return zeros_from(x)
        return scale_by(x, 1.0 + self._per_unit(x) * noise[0])

    def undisturbed(self, x: Tensor) -> Tensor:
        return self.expect(x)

    def effect(self, x: Tensor, noise: Noise) -> Effect:
        if self.form == "weight":
            return super().effect(x, noise)
        return Effect(None, self.perturb(torch.ones_like(x), noise))

    def turn_to(self, p: float) -> None:
        super().turn_to(p)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a start that is clipped
            self.reset_alpha(p)

    def _per_unit(self, x: Tensor) -> Tensor:
        """√α, broadcastable to x."""
        std = self.alpha.sqrt()
        if self.units is None:
            return std
        shape = x.shape[1:] if x.dim() > 1 else x.shape
        if math.prod(shape) != self.units:
            raise ValueError(f"Variational has units={self.units}, but an example here has {math.prod(shape)} units")
        return std.reshape(shape)

    def _per_weight(self) -> Tensor:
        """α, broadcastable to the layer's weight."""
        if self.per != "input":
            return self.alpha
        weight, groups = self.layer.weight, getattr(self.layer, "groups", 1)
        alpha = self.alpha.view(groups, weight.shape[1], *[1] * (weight.dim() - 2))
        # Group g of the outputs sees channels of group g alone.
        return alpha if groups == 1 else alpha.repeat_interleave(weight.shape[0] // groups, 0)

    def expect(self, x: Tensor) -> Tensor:
        return x if self.form == "activation" else self.activate(self.layer(x))

    def noise_parameters(self) -> Iterator[nn.Parameter]:
        return iter((self.raw_alpha,))

    @classmethod
    def place(
        cls, layer: nn.Module, activation: nn.Module, after: Sequence[nn.Module], p: float, **knobs: Any
    ) -> nn.Module:
        """At the end of the block, or on its layer's weights with ``form="weight"``."""
        form = knobs.pop("form", "activation")
        if form == "weight":
            return block(cls(layer, p, activation, **knobs), None, after, None)
        return block(layer, activation, after, cls(p, **knobs))
