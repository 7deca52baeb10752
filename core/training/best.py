"""The weights with the lowest validation loss so far, and how long ago that was."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


class Best:
    """Remembers the best of the epochs that it sees.

    Attributes:
        epoch: after which the validation loss was lowest; 0 before the first.
        waited: epochs since.
    """

    def __init__(self) -> None:
        self.epoch = self.waited = 0
        self._loss = math.inf
        self._weights: dict[str, Tensor] = {}

    def see(self, epoch: int, loss: float, model: nn.Module) -> None:
        """Take note of ``model`` after ``epoch``, whose validation loss is ``loss``; only a lower one is better."""
        if loss < self._loss:
            self.epoch, self.waited, self._loss = epoch, 0, loss
            self._weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
        else:
            self.waited += 1

    def restore(self, model: nn.Module, epoch: float) -> bool:
        """Give ``model`` the best weights, unless it has them after ``epoch`` or there are none; whether it did."""
        if not self._weights or self.epoch == epoch:
            return False
        model.load_state_dict(self._weights)
        return True

    def state(self) -> dict[str, Any]:
        """For ``torch.save``."""
        return {"epoch": self.epoch, "waited": self.waited, "loss": self._loss, "weights": self._weights}

    def load_state(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from ``state``."""
        self.epoch, self.waited, self._loss = state["epoch"], state["waited"], state["loss"]
        self._weights = {name: value.to(device, copy=True) for name, value in state["weights"].items()}
