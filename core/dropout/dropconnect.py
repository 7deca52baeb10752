"""Wan et al. 2013, Regularization of neural networks using DropConnect: weights, not units, fall with probability p."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Effect, Knob, Noise, first_above, multiply_mask
from .noise import normals, uniforms
from .wrapper import Activation, LayerDropout, affine, safe_sqrt, spread

NODES = 32


def moments(layer: nn.Linear | nn.Conv2d, x: Tensor, p: float) -> tuple[Tensor, Tensor]:
    """Mean (1-p)Wx + b and standard deviation √(p(1-p)(W∘W)(x∘x)) of the pre-activation (Wan 2013, section 3.2)."""
    mean = affine(layer, x, layer.weight * (1.0 - p), layer.bias)
    return mean, safe_sqrt(spread(layer, x, layer.weight.square() * (p * (1.0 - p)))).to(mean.dtype)


def relu_mean(mean: Tensor, std: Tensor) -> Tensor:
    """E[max(0, a)] of a ~ N(mean, std²): μΦ(μ/σ) + σφ(μ/σ), and max(0, μ) where σ = 0."""
    dtype = torch.promote_types(mean.dtype, torch.float32)
    t = mean.to(dtype) / torch.where(std > 0, std, 1.0).to(dtype)
    density = torch.exp(-0.5 * t.square()) / math.sqrt(2.0 * math.pi)
    smooth = (mean * torch.special.ndtr(t) + std * density).clamp(min=0)
    return torch.where(std > 0, smooth.to(mean.dtype), mean.clamp(min=0))


@lru_cache
def gauss_hermite(n: int = NODES) -> tuple[tuple[float, float], ...]:
    """Pairs (t, w) with Σ w·f(t) ≈ E f(t), t ~ N(0, 1): eigenpairs of the Jacobi matrix (Golub & Welsch 1969)."""
    off = torch.arange(1, n, dtype=torch.float64).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return tuple(zip(nodes.tolist(), vectors[0].square().tolist(), strict=True))


def masked_affine(layer: nn.Linear | nn.Conv2d, x: Tensor, keep: Tensor) -> Tensor:
    """The layer's output with one weight mask an example: ``keep`` is (B, *weight.shape), x (B, …)."""
    weight = multiply_mask(layer.weight.unsqueeze(0), keep)  # (B, *weight.shape)
    if isinstance(layer, nn.Linear):
        rows = x.reshape(x.shape[0], -1, layer.in_features)  # (B, T, in)
        out = rows @ weight.to(x.dtype).transpose(1, 2)  # (B, T, out)
        out = out.reshape(*x.shape[:-1], layer.out_features)
        return out if layer.bias is None else out + layer.bias.to(out.dtype)
    padding = layer.padding
    if layer.padding_mode != "zeros":
        x = F.pad(x, layer._reversed_padding_repeated_twice, mode=layer.padding_mode)
        padding = (0, 0)
    b, c, h, w = x.shape
    # A convolution in B groups sees each example with its own weights.
    out = F.conv2d(
        x.reshape(1, b * c, h, w), weight.flatten(0, 1), None, layer.stride, padding, layer.dilation, b * layer.groups
    )
    out = out.reshape(b, layer.out_channels, *out.shape[-2:])
    return out if layer.bias is None else out + layer.bias.to(out.dtype).view(-1, 1, 1)


class DropConnect(LayerDropout):
    """DropConnect on a Linear's or Conv2d's weights; the bias is kept.

    Training: f((W∘M)x + b), M_ij ~ Bernoulli(1-p). Eval: the expectation of f under the moment-matched Gaussian of the
    pre-activation, in closed form for ReLU and by 32-point Gauss-Hermite quadrature otherwise. Without ``activation``
    the mean (1-p)Wx + b.

    Args:
        layer: the nn.Linear or nn.Conv2d whose weights fall.
        p: probability that a weight falls.
        activation: f, elementwise; needed inside, because E f(a) is not f(E a).
        mask: "batch" shares one mask over the batch (a departure from Wan et al., who take one an example);
            "example" is theirs and needs B times the memory of the weights.
        draws: None for the expectation; Z ≥ 1 averages f over Z samples of the Gaussian (Wan et al.); 0 takes f(mean).
    """

    name = "dropconnect"
    title = "DropConnect"
    paper = "Wan et al., Regularization of neural networks using DropConnect, ICML 2013"
    url = "https://proceedings.mlr.press/v28/wan13.html"
    mechanism = "Every weight of the layer falls on its own with probability p; the units stay."
    formula = r"y = f((W \circ M)x + b), \quad M_{ij} \sim \mathrm{Bernoulli}(1-p)"
    cost = "One random number and one product a weight; a mask an example costs B times that."
    worked = "{kept} of {weights} weights stay;  y = f((w ∘ m) · x + b) = {y}"
    falls_when = "<"
    drops = "weights"
    knobs = (
        Knob("mask", "batch", "One weight mask for the whole batch, or one for each example.", ("batch", "example")),
        Knob(
            "draws",
            None,
            "Evaluation: samples of the pre-activation to average; 0 uses its mean, empty the exact expectation.",
            low=0,
            high=1000,
            step=1,
            integer=True,
            optional=True,
        ),
    )

    def __init__(
        self,
        layer: nn.Module,
        p: float = 0.5,
        activation: Activation | None = None,
        *,
        mask: str = "batch",
        draws: int | None = None,
    ) -> None:
        super().__init__(layer, p, activation)
        self.mask = mask
        self.draws = draws
        self._nodes = gauss_hermite()

    def draw(self, x: Tensor) -> Noise:
        shape = self.layer.weight.shape
        if self.mask == "batch":
            return (uniforms(shape, x),)
        return (uniforms((1 if self._single(x) else x.shape[0], *shape), x),)

    def perturb(self, x: Tensor, noise: Noise) -> Tensor:
        keep = noise[0] >= self.p
        if self.mask == "batch":
            return self.activate(affine(self.layer, x, multiply_mask(self.layer.weight, keep), self.layer.bias))
        if self._single(x):
            return self.activate(masked_affine(self.layer, x.unsqueeze(0), keep).squeeze(0))
        return self.activate(masked_affine(self.layer, x, keep))

    def effect(self, x: Tensor, noise: Noise) -> Effect:
        """Of weights: (*weight.shape), or (B, *weight.shape) with a mask an example."""
        u = noise[0]
        return Effect(u < self.p, u.new_ones(()), u, u.new_tensor(self.p))

    def falls_at(self, x: Tensor, noise: Noise, ps: Sequence[float]) -> Tensor:
        return first_above(noise[0], ps)

    def expect(self, x: Tensor) -> Tensor:
        if self.activation is None or self.draws == 0 or self.p in (0.0, 1.0):
            return self.activate(affine(self.layer, x, self.layer.weight * (1.0 - self.p), self.layer.bias))
        mean, std = moments(self.layer, x, self.p)
        if self.draws is not None:
            samples = (self.activate(mean + std * normals(mean.shape, mean).to(mean.dtype)) for _ in range(self.draws))
            return sum(samples, torch.zeros_like(mean)) / self.draws
        if isinstance(self.activation, nn.ReLU) or self.activation in (torch.relu, F.relu):
            return relu_mean(mean, std)
        terms = (w * self.activate(mean + std * t) for t, w in self._nodes)
        return sum(terms, torch.zeros_like(mean))

    def _single(self, x: Tensor) -> bool:
        return x.dim() == (1 if isinstance(self.layer, nn.Linear) else 3)
