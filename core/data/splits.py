"""Fixed divisions of a data set. They depend on constants alone, so every run and every machine has the same ones."""

import numpy as np
import torch
from torch import Tensor

TEST_FRACTION = 0.2
VALIDATION_FRACTION = 0.05
_TEST_SEED = 20_240_607
_VALIDATION_SEED = 20_240_608


def stratified_test_split(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Indices (train, test), ascending, of a division that takes 20 % of every class for the test.

    ``labels`` is int64 (N,). A class of two or more keeps at least one example on either side; a class of one
    stays in train.
    """
    generator = _generator(_TEST_SEED)
    held = torch.zeros(len(labels), dtype=torch.bool)
    for label in labels.unique():
        members = torch.nonzero(labels == label).flatten()
        count = max(1, round(TEST_FRACTION * len(members))) if len(members) > 1 else 0
        held[members[_permutation(len(members), generator)[:count]]] = True
    return torch.nonzero(~held).flatten(), torch.nonzero(held).flatten()


def validation_split(count: int) -> tuple[Tensor, Tensor]:
    """Indices (train, validation), ascending, that hold back 5 % of ``count`` >= 2 examples, at least one."""
    held = torch.zeros(count, dtype=torch.bool)
    held[_permutation(count, _generator(_VALIDATION_SEED))[: max(1, round(VALIDATION_FRACTION * count))]] = True
    return torch.nonzero(~held).flatten(), torch.nonzero(held).flatten()


def _generator(seed: int) -> np.random.RandomState:
    # RandomState's stream is frozen by NumPy's policy; torch and default_rng may change theirs between versions, and
    # then last year's test images would be this year's training images.
    return np.random.RandomState(seed)


def _permutation(count: int, generator: np.random.RandomState) -> Tensor:
    return torch.from_numpy(generator.permutation(count).astype(np.int64))
