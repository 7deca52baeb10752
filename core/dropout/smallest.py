"""The k smallest numbers of each row, as one operator of torch with a kernel of its own for CPUs.

NumPy selects and sorts with vector instructions, five times as fast as ``topk`` on a CPU, in a tensor's own memory; an
operator is what compiled code and vmap can call. Elsewhere, and where there is no NumPy, ``topk`` selects.
"""

from __future__ import annotations

import timeit
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

# Named after this package, so that a copy of it under another name has an operator of its own.
_NAME = f"{__package__.replace('.', '_')}::smallest"
# So many integers of 32 bits NumPy sorts within the registers of AVX-512.
_IN_REGISTERS = 512


@torch.library.custom_op(_NAME, mutates_args=())
def smallest(score: Tensor, k: int, k_row: Tensor | None) -> Tensor:
    """A mask, True at the k ≥ 1 smallest finite numbers of each row of ``score`` (B, N), or at the first k_row (B, 1).

    Of equal ones just so many as are needed. NaN is not allowed.
    """
    value, index = score.topk(k, dim=1, largest=False, sorted=k_row is not None)  # (B, k)
    falls = value < torch.inf
    if k_row is not None:
        falls &= torch.arange(k, device=score.device) < k_row
    return score.new_zeros(score.shape, dtype=torch.bool).scatter_(1, index, falls)


def _by_numpy(score: Tensor, k: int, k_row: Tensor | None) -> Tensor:
    import numpy as np

    values = score.contiguous().numpy()
    # NumPy selects among integers in two thirds of the time.
    bits = values.view(f"i{values.itemsize}")
    ordered = _in_order(bits) if bits.min() < 0 else bits
    wanted = np.full((1, 1), k) if k_row is None else k_row.numpy()
    last = _kth(ordered, wanted)  # (B, 1)
    last = np.minimum(_in_order(last).view(values.dtype), torch.finfo(score.dtype).max)
    falls = torch.from_numpy(values <= np.where(wanted > 0, last, -np.inf))
    tied = torch.from_numpy(count(falls).numpy() > wanted)  # (B, 1)
    return falls & (~tied | (ranks(score) < torch.from_numpy(wanted))) if tied.any() else falls


def _kth(rows: Any, wanted: Any) -> Any:
    """What stands at place ``wanted``, (B, 1) or (1, 1), from 1, in each row of integers (B, N) once sorted: (B, 1)."""
    import numpy as np

    most = max(int(wanted.max()), 1)
    if rows.itemsize == 4 and _IN_REGISTERS < rows.shape[1] <= 2 * _IN_REGISTERS and _sorts_faster():
        return _kth_of_halves(rows, wanted, most)
    apart = np.partition(rows, most - 1, axis=1)
    if len(wanted) > 1:
        apart[:, :most].sort(axis=1)
    return apart[np.arange(len(rows))[:, None], np.maximum(wanted - 1, 0)]


def _kth_of_halves(rows: Any, wanted: Any, most: int) -> Any:
    """As :func:`_kth`: the least, over i, of the larger of one half's i-th and the other's (wanted - i)-th."""
    import numpy as np

    n, half = rows.shape[1], -(-rows.shape[1] // 2)
    halves = np.empty((2, len(rows), half + 2), rows.dtype)
    # The 0-th is smaller than all, and those after the last are larger.
    halves[:, :, 0], halves[:, :, n - half + 1 :] = np.iinfo(rows.dtype).min, np.iinfo(rows.dtype).max
    halves[0, :, 1 : half + 1] = rows[:, :half]
    halves[1, :, 1 : n - half + 1] = rows[:, half:]
    halves[:, :, 1:-1].sort(axis=2)
    one, other = torch.from_numpy(halves)
    i = torch.arange(min(most, half) + 1)
    rest = (torch.from_numpy(wanted) - i).clamp_(0, half + 1).expand(len(rows), -1)
    return torch.maximum(one[:, : len(i)], other.gather(1, rest)).amin(1, keepdim=True).numpy()


@cache
def _sorts_faster() -> bool:
    """Whether NumPy sorts two halves in less than half the time that it selects from the whole, tried once.

    It selects by the compressing stores of AVX-512, which AMD's Zen 4 has in microcode (numpy/x86-simd-sort#6).
    """
    import numpy as np

    rows = np.random.default_rng(0).integers(2**31, size=(32, 2 * _IN_REGISTERS), dtype=np.int32)
    halves = rows.reshape(-1, _IN_REGISTERS)
    whole = min(timeit.repeat(lambda: np.partition(rows, _IN_REGISTERS // 2, axis=1), number=1, repeat=5))
    return 2 * min(timeit.repeat(lambda: np.sort(halves, axis=1), number=1, repeat=5)) < whole


def _in_order(bits: Any) -> Any:
    """The bits of floats as integers in the same order, and back. Those of positive numbers already are."""
    sign = 8 * bits.itemsize - 1
    flipped = bits >> sign
    flipped &= (1 << sign) - 1
    flipped ^= bits
    return flipped


@smallest.register_fake
def _shape(score: Tensor, k: int, k_row: Tensor | None) -> Tensor:
    return torch.empty_like(score, dtype=torch.bool, memory_format=torch.contiguous_format)


@smallest.register_vmap
def _over_slices(
    info: Any, in_dims: tuple[int | None, ...], score: Tensor, k: int, k_row: Tensor | None
) -> tuple[Tensor, int]:
    """The slices (S, B, N) as S·B rows."""

    def flat(x: Tensor, dim: int | None) -> Tensor:
        return (x.expand(info.batch_size, *x.shape) if dim is None else x.movedim(dim, 0)).flatten(0, 1)

    mask = smallest(flat(score, in_dims[0]), k, None if k_row is None else flat(k_row, in_dims[2]))
    return mask.unflatten(0, (info.batch_size, -1)), 0


if find_spec("numpy"):
    smallest.register_kernel("cpu")(_by_numpy)


def count(mask: Tensor) -> Tensor:
    """How many are True in each row of ``mask`` (B, N): (B, 1). As bytes, which a CPU adds up faster than bools."""
    return mask.view(torch.uint8).sum(1, keepdim=True, dtype=torch.int32)


def ranks(score: Tensor) -> Tensor:
    """The place of each number in its row of ``score`` (B, N), from 0.

    Equal ones come in an order that the row's smallest number shuffles: always the same for the same numbers, and no
    column is favoured.
    """
    column = torch.arange(score.shape[1], device=score.device)
    shuffled = _scrambled(column + score.amin(1, keepdim=True).float().view(torch.int32)).argsort(1)  # (B, N)
    order = shuffled.gather(1, score.gather(1, shuffled).argsort(dim=1, stable=True))
    return torch.empty_like(order).scatter_(1, order, column.expand_as(order))


def _scrambled(x: Tensor) -> Tensor:
    """Integers mixed one to one within 32 bits: the finaliser of MurmurHash3 (Appleby, 2011)."""
    x = x & 0xFFFFFFFF
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        x = (x ^ (x >> shift)) * factor & 0xFFFFFFFF
    return x ^ (x >> 16)
