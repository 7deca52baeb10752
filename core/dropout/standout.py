"""Ba & Frey 2013, Adaptive dropout for training deep neural networks: the pre-activation sets the chance to stay."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from .base import Effect, Knob, Noise, multiply_mask
from .noise import uniforms
from .wrapper import Activation, LayerDropout, output_shape


def keep_probability(a: Tensor, alpha: Tensor | float, beta: Tensor | float) -> Tensor:
    """g = σ(α·a + β), in float32 at least; ``a`` is the pre-activation (Ba & Frey 2013, section 3.1)."""
    return torch.sigmoid(alpha * a.to(torch.promote_types(a.dtype, torch.float32)) + beta)


def keep_bias(p: float) -> float:
    """β = ln((1-p)/p): the keep probability at a = 0 is then 1-p."""
    return math.inf if p == 0.0 else -math.inf if p == 1.0 else math.log((1.0 - p) / p)


class Standout(LayerDropout):
    """Standout: f(a)·m with a = Wx + b, m ~ Bernoulli(g), g = σ(α·a + β) the keep probability; f(a)·g in eval.

    Shares the layer's weights instead of learning a second network, as Ba & Frey found to suffice.

    Args:
        layer: the nn.Linear or nn.Conv2d that gives a.
        p: probability of dropping at a = 0, through β; p = 0 is the identity, p = 1 gives zeros.
        activation: f.
        alpha: α, the slope.
        beta: β; None follows p as ln((1-p)/p).
        learn: α and β become parameters, trained through the mask by a straight-through estimate.
    """

    name = "standout"
    title = "Standout"
    paper = "Ba & Frey, Adaptive dropout for training deep neural networks, NIPS 2013"
    url = "https://papers.nips.cc/paper/2013/hash/7b5b23f4aadf9513306bcd59afb6e4c9-Abstract.html"
    mechanism = "A unit with a large pre-activation is likely to stay, one with a small one to fall."
    formula = r"y = f(a) \circ m, \quad m_i \sim \mathrm{Bernoulli}(\sigma(\alpha a_i + \beta))"
    cost = "One random number and one sigmoid a unit."
    worked = "u = {score} {sign} {cut} = g;  y = f(a) · {factor} = {y}"
    falls_when = "≥"
    drops = "units"
    knobs = (
        Knob("alpha", 1.0, "Slope: how strongly the pre-activation decides; 0 is standard dropout.", low=-10, high=10),
        Knob("beta", None, "Offset; empty follows p: the drop rate at a = 0.", low=-20, high=20, optional=True),
        Knob("learn", False, "Learn slope and offset together with the weights.", structural=True),
    )

    def __init__(
        self,
        layer: nn.Module,
        p: float = 0.5,
        activation: Activation | None = None,
        *,
        alpha: float = 1.0,
        beta: float | None = None,
        learn: bool = False,
    ) -> None:
        super().__init__(layer, p, activation)
        for knob, value in zip(self.knobs, (alpha, beta, learn), strict=True):
            knob.check(value)
        self.learn = learn
        self.alpha: float | Tensor = self._parameter(alpha) if learn else alpha
        self._follows_p = beta is None
        offset = self._start(self.p) if beta is None else beta
        self.beta: float | Tensor | None = self._parameter(offset) if learn else beta

    @staticmethod
    def _start(p: float) -> float:
        return max(-20.0, min(20.0, keep_bias(p)))

    def _parameter(self, value: float) -> nn.Parameter:
        return nn.Parameter(torch.tensor(float(value), dtype=torch.float32, device=self.layer.weight.device))

    def keep(self, a: Tensor) -> Tensor:
        """Keep probability of each unit at pre-activation ``a``, the same shape; a is detached."""
        if self.p in (0.0, 1.0):
            return torch.full_like(a, 1.0 - self.p, dtype=torch.promote_types(a.dtype, torch.float32))
        beta = keep_bias(self.p) if self.beta is None else self.beta
        return keep_probability(a.detach(), self.alpha, beta)

    def draw(self, x: Tensor) -> Noise:
        return (uniforms(output_shape(self.layer, x), x),)

    def effect(self, x: Tensor, noise: Noise) -> Effect:
        g, u = self.keep(self.layer(x)), noise[0]
        return Effect(u >= g, g.new_ones(()), u, g)

    def falls_at(self, x: Tensor, noise: Noise, ps: Sequence[float]) -> Tensor:
        a = self.layer(x)  # once, not at each p
        return self._first_fall(lambda: noise[0] >= self.keep(a), ps)

    def turn_to(self, p: float) -> None:
        super().turn_to(p)
        if self._follows_p and isinstance(self.beta, nn.Parameter):
            with torch.no_grad():
                self.beta.fill_(self._start(p))

    def perturb(self, x: Tensor, noise: Noise) -> Tensor:
        a = self.layer(x)
        g = self.keep(a)
        kept = noise[0] < g
        if not self.learn:
            return multiply_mask(self.activate(a), kept)
        m = g + (kept.to(g.dtype) - g).detach()
        return self.activate(a) * m.to(a.dtype)

    def expect(self, x: Tensor) -> Tensor:
        if self.p == 0.0:
            return self.activate(self.layer(x))
        a = self.layer(x)
        return self.activate(a) * self.keep(a).to(a.dtype)

    def noise_parameters(self) -> Iterator[nn.Parameter]:
        return (q for q in (self.alpha, self.beta) if isinstance(q, nn.Parameter))
