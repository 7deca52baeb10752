"""Hinton et al. 2012, arXiv:1207.0580; Srivastava et al. 2014, JMLR 15: every unit falls alone with probability p."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .base import Dropout, Effect, Knob, Noise, first_above, multiply_mask
from .noise import uniforms


def drop_units(x: Tensor, u: Tensor, p: float, *, vanilla: bool = False) -> Tensor:
    """x·m with m = 1 where u ≥ p, over (1 - p) unless ``vanilla``. ``u``: U[0, 1), the shape of ``x``."""
    y = multiply_mask(x, u >= p)
    return y if vanilla or p == 1.0 else y / (1.0 - p)


class Standard(Dropout):
    """Standard dropout: x·m/(1-p) in training and x in eval; ``vanilla``: x·m and (1-p)·x.

    Srivastava et al. 2014, sections 4 and 10. x: (B, *units).
    """

    name = "standard"
    title = "Standard"
    paper = "Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, JMLR 15, 2014"
    url = "https://jmlr.org/papers/v15/srivastava14a.html"
    mechanism = "Every unit falls on its own with probability p."
    formula = r"y = x \circ m / (1-p), \quad m_i \sim \mathrm{Bernoulli}(1-p)"
    cost = "One random number and one comparison a unit."
    worked = "u = {score} {sign} {cut} = p;  y = {x} · {factor} = {y}"
    falls_when = "<"
    drops = "units"
    knobs = (Knob("vanilla", False, "Leave training unscaled and multiply by 1-p in evaluation instead."),)

    def __init__(self, p: float = 0.5, inplace: bool = False, *, vanilla: bool = False) -> None:
        super().__init__(p, inplace)
        self.vanilla = vanilla

    def draw(self, x: Tensor) -> Noise:
        return (uniforms(x.shape, x),)

    def perturb(self, x: Tensor, noise: Noise) -> Tensor:
        return drop_units(x, noise[0], self.p, vanilla=self.vanilla)

    def effect(self, x: Tensor, noise: Noise) -> Effect:
        scale = 1.0 if self.vanilla or self.p == 1.0 else 1.0 / (1.0 - self.p)
        u = noise[0]
        return Effect(u < self.p, u.new_tensor(scale), u, u.new_tensor(self.p))

    def falls_at(self, x: Tensor, noise: Noise, ps: Sequence[float]) -> Tensor:
        return first_above(noise[0], ps)

    def expect(self, x: Tensor) -> Tensor:
        return x * (1.0 - self.p) if self.vanilla else x
