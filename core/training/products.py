"""Products of matrices in fp32 on a CPU, by the faster of the two libraries that PyTorch has for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cache

import torch


@contextmanager
def by_onednn(device: torch.device) -> Iterator[None]:
    """Inside, oneDNN multiplies on ``device`` where that is a CPU with AVX-512, and only where it stays in fp32.

    PyTorch has MKL multiply, which leaves the widest vectors of AMD's processors unused and takes twice as long there;
    oneDNN it asks only where numbers may be rounded to bf16. None are, but on a processor with AMX.
    """
    with _rounding_allowed() if device.type == "cpu" and _stays_fp32() else nullcontext():
        yield


@contextmanager
def _rounding_allowed() -> Iterator[None]:
    matmul = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]  # the stubs lack it
    before, matmul.fp32_precision = matmul.fp32_precision, "bf16"
    try:
        yield
    finally:
        matmul.fp32_precision = before


@cache
def _stays_fp32() -> bool:
    """Whether a number that bf16 cannot hold, nor tf32, outlives a product that may be rounded."""
    x = torch.full((64, 64), 1 + 2.0**-20)
    with _rounding_allowed():
        return torch.equal(x @ torch.eye(64), x)
