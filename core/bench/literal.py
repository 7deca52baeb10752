"""The techniques word for word, as their papers write them down: what the layers of ``core.dropout`` are held against.

Plain functions of x (B, N) and p that return what the layer returns in training. They are slow on purpose.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Bernoulli, MultivariateNormal, Normal

Literal = Callable[[Tensor, float], Tensor]

# Added to the covariance before it is factorised: it is singular wherever a batch has fewer examples than units.
JITTER = 1e-4


def standard(x: Tensor, p: float) -> Tensor:
    """x·m / (1 - p) with m from a Bernoulli distribution object. Srivastava et al. 2014."""
    mask: Tensor = Bernoulli(probs=torch.full_like(x, 1 - p)).sample()
    return x * mask / (1 - p)


def gaussian(x: Tensor, p: float) -> Tensor:
    """x·m with m ~ N(1, p/(1-p)) from a distribution object. Srivastava et al. 2014, section 10."""
    factor: Tensor = Normal(torch.ones_like(x), math.sqrt(p / (1 - p))).sample()
    return x * factor


def dropact_loop(x: Tensor, p: float) -> Tensor:
    """Unit after unit drawn with probability ∝ activation, and taken out. Gavier, Algorithm 1."""
    return x * torch.stack([_one_by_one(row, math.floor(p * x.shape[1])) for row in x.detach().clamp(min=0)])


def dropinv_loop(x: Tensor, p: float) -> Tensor:
    """The same ∝ 1/activation. Gavier, Algorithm 2."""
    inverse = torch.where(x > 0, 1 / x.detach(), 0.0)
    return x * torch.stack([_one_by_one(row, math.floor(p * x.shape[1])) for row in inverse])


def dropact_multinomial(x: Tensor, p: float) -> Tensor:
    """All k units of an example by ``torch.multinomial`` without replacement, ∝ activation."""
    return x * _multinomial(x.detach().clamp(min=0), math.floor(p * x.shape[1]))


def dropinv_multinomial(x: Tensor, p: float) -> Tensor:
    """All k units of an example by ``torch.multinomial`` without replacement, ∝ 1/activation."""
    return x * _multinomial(torch.where(x > 0, 1 / x.detach(), 0.0), math.floor(p * x.shape[1]))


def dropcorr_exact(x: Tensor, p: float) -> Tensor:
    """The covariance, its eigendecomposition, a sample for each example, the k largest. Gavier, Algorithm 3."""
    values, vectors = torch.linalg.eigh(_covariance(x))
    root = vectors * values.clamp(min=0).sqrt()  # (N, N)
    return _without_largest(x, torch.randn_like(x) @ root.T, p)


def dropcorr_cholesky(x: Tensor, p: float) -> Tensor:
    """The same by a Cholesky factor of the covariance with a jitter, which is no longer exact."""
    covariance = _covariance(x)
    jitter = JITTER * covariance.diagonal().mean()
    root = torch.linalg.cholesky(covariance + jitter * torch.eye(x.shape[1], device=x.device))
    return _without_largest(x, torch.randn_like(x) @ root.T, p)


def dropcorr_distribution(x: Tensor, p: float) -> Tensor:
    """The same by ``MultivariateNormal`` over the covariance with a jitter."""
    covariance = _covariance(x)
    jitter = JITTER * covariance.diagonal().mean()
    jittered = covariance + jitter * torch.eye(x.shape[1], device=x.device)
    normal = MultivariateNormal(covariance.new_zeros(x.shape[1]), jittered, validate_args=False)
    return _without_largest(x, normal.sample((x.shape[0],)), p)


# What each technique is held against, by technique; the name says how.
LITERALS: dict[str, dict[str, Literal]] = {
    "standard": {"distribution object": standard},
    "gaussian": {"distribution object": gaussian},
    "dropact": {"multinomial": dropact_multinomial, "loop": dropact_loop},
    "dropinv": {"multinomial": dropinv_multinomial, "loop": dropinv_loop},
    "dropcorr": {
        "eigendecomposition": dropcorr_exact,
        "jittered Cholesky": dropcorr_cholesky,
        "MultivariateNormal": dropcorr_distribution,
    },
}


def _one_by_one(weights: Tensor, k: int) -> Tensor:
    """The mask (N,) of one example: k draws, each from what is left, or as many as there are weights."""
    left, keep = weights.clone(), torch.ones_like(weights)
    for _ in range(min(k, int((weights > 0).sum()))):
        unit = torch.multinomial(left / left.sum(), 1)
        keep[unit] = 0
        left[unit] = 0
    return keep


def _multinomial(weights: Tensor, k: int) -> Tensor:
    # Rows with fewer than k weights above 0 are filled up with weights too small to win before those.
    filled = torch.where(weights > 0, weights, weights.amax() * 1e-12)
    fallen = torch.multinomial(filled, k)
    return torch.ones_like(weights).scatter(1, fallen, 0.0)


def _covariance(x: Tensor) -> Tensor:
    centred = x.detach() - x.detach().mean(0)
    return centred.T @ centred


def _without_largest(x: Tensor, s: Tensor, p: float) -> Tensor:
    fallen = s.topk(math.floor(p * x.shape[1]), dim=1).indices
    return x * torch.ones_like(x).scatter(1, fallen, 0.0)
