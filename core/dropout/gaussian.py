"""Srivastava et al. 2014, JMLR 15, section 10: every unit is multiplied by a factor from N(1, α), α = p/(1-p)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .base import Dropout, Effect, Noise, gaussian_variance, scale_by, zeros_from
from .noise import normals


def multiply_noise(x: Tensor, e: Tensor, p: float) -> Tensor:
    """x·(1 + √α·e) with ``e`` standard normal, the shape of ``x``; zeros at p = 1, where α is infinite."""
    if p == 1.0:
        return zeros_from(x)
    return scale_by(x, 1.0 + math.sqrt(gaussian_variance(p)) * e)


class Gaussian(Dropout):
    """Gaussian dropout: x·m with m ~ N(1, p/(1-p)) in training, x in eval. x: (B, *units)."""

    name = "gaussian"
    title = "Gaussian"
    paper = "Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, JMLR 15, 2014, §10"
    url = "https://jmlr.org/papers/v15/srivastava14a.html"
    mechanism = "Every unit is multiplied by a random factor with mean 1 and variance p/(1-p)."
    formula = r"y = x \circ m, \quad m_i \sim \mathcal{N}(1, \tfrac{p}{1-p})"
    cost = "One normal random number and one product a unit."
    worked = "m = {factor};  y = {x} · m = {y}"

    def draw(self, x: Tensor) -> Noise:
        return (normals(x.shape, x),)

    def perturb(self, x: Tensor, noise: Noise) -> Tensor:
        return multiply_noise(x, noise[0], self.p)

    def effect(self, x: Tensor, noise: Noise) -> Effect:
        return Effect(None, multiply_noise(torch.ones_like(x), noise[0], self.p))
