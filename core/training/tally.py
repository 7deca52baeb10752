"""Loss and accuracy in train mode, added up on the device."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Mean(NamedTuple):
    """Mean loss and accuracy over a number of images."""

    loss: float
    accuracy: float
    images: float


class Tally:
    """Adds up the steps since the last record, and those of the epoch."""

    def __init__(self, device: torch.device) -> None:
        # (since the record, of the epoch) × (loss, right answers, images)
        self._sums = torch.zeros(2, 3, device=device)

    @torch.no_grad()
    def add(self, loss: Tensor, logits: Tensor, y: Tensor) -> None:
        """A batch with its mean ``loss``; nobody waits for the device."""
        right = (logits.argmax(1) == y).sum()
        n = len(y)
        self._sums += torch.stack([loss.detach() * n, right.to(loss.dtype), torch.full_like(loss, n)])

    def since_record(self) -> Mean:
        """Over the steps since this was asked last; waits for the device."""
        return self._read(0)

    def of_epoch(self) -> Mean:
        """The same of the epoch that ends."""
        return self._read(1)

    def state(self) -> Tensor:
        """For ``torch.save``."""
        return self._sums

    def load_state(self, state: Tensor) -> None:
        """Go on from ``state``."""
        self._sums = state.to(self._sums.device, copy=True)

    def _read(self, row: int) -> Mean:
        loss, right, images = self._sums[row].tolist()
        self._sums[row].zero_()
        return Mean(loss / images, right / images, images)
