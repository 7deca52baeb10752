"""Random numbers in float32, whatever the dtype or the autocast, all determined by torch's global generator.

On a CPU torch draws uniforms one by one from a Mersenne Twister, which is most of what a mask costs. Where there are
many, one number from torch seeds NumPy's SFC64 (Doty-Humphrey, PractRand) for all of them, in two fifths of the time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

_NUMPY = find_spec("numpy") is not None
# Named after this package, so that a copy of it under another name has an operator of its own.
_NAME = f"{__package__.replace('.', '_')}::stretched"
# With fewer, the seeding costs more than it saves.
MANY = 2**15


def uniforms(shape: Sequence[int], x: Tensor) -> Tensor:
    """U[0, 1), multiples of 2^-24, on the device of ``x``."""
    if _NUMPY and x.device.type == "cpu" and math.prod(shape) >= MANY:
        u: Tensor = stretched(torch.randint(2**63 - 1, (), device=x.device), list(shape))
        return u
    return torch.rand(tuple(shape), dtype=torch.float32, device=x.device)


def normals(shape: Sequence[int], x: Tensor) -> Tensor:
    """N(0, 1) on the device of ``x``."""
    return torch.randn(tuple(shape), dtype=torch.float32, device=x.device)


@torch.library.custom_op(_NAME, mutates_args=(), device_types="cpu")
def stretched(seed: Tensor, shape: Sequence[int]) -> Tensor:
    """U[0, 1) from the integer ``seed`` (), as an operator of torch: each slice of a vmap has a seed of its own."""
    from numpy.random import SFC64

    n = math.prod(shape)
    # Two numbers of 24 bits from each of 64.
    bits = torch.from_numpy(SFC64(int(seed.item())).random_raw((n + 1) // 2).view("i4"))
    return bits[:n].bitwise_and_(2**24 - 1).float().mul_(2.0**-24).view(shape)


@stretched.register_fake
def _shape(seed: Tensor, shape: Sequence[int]) -> Tensor:
    return torch.empty(shape, dtype=torch.float32, device=seed.device)


@stretched.register_vmap
def _over_seeds(info: Any, in_dims: tuple[int | None, None], seed: Tensor, shape: Sequence[int]) -> tuple[Tensor, int]:
    return torch.stack([stretched(each, shape) for each in seed.unbind(in_dims[0] or 0)]), 0
