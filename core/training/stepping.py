"""One optimiser step: what is computed for a batch, with as little waiting as the device allows."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from core.config import Config
from core.data import Dataset
from core.dropout import kl
from core.training.observing import See, observed
from core.training.products import by_onednn
from core.training.replay import Graphs, Replay
from core.training.tally import Tally


class Stepper:
    """Takes optimiser steps of ``model`` on the training images of ``data``, which are on its device.

    Args:
        settings: all numbers that Python reads in a step: p, the learning rate, knobs.
        tally: adds up the losses.
        graphs: how steps are captured; None takes them one kernel after the other.
    """

    def __init__(
        self,
        config: Config,
        data: Dataset,
        model: nn.Module,
        optimizer: Optimizer,
        tally: Tally,
        settings: Callable[[], Hashable],
        graphs: Graphs | None = None,
    ) -> None:
        self._data, self._model, self._optimizer, self._tally = data, model, optimizer, tally
        self._device = data.train.x.device
        self._precision = config.precision
        self._kl_weight = config.kl_weight / len(data.train)
        self._replay = Replay(self._step, min(config.batch_size, len(data.train)), settings, graphs)

    @property
    def problem(self) -> str | None:
        """Why steps are not captured although the device could, in a sentence."""
        return self._replay.problem

    def take(self, index: Tensor, see: See | None = None) -> None:
        """A step on the examples at ``index``, int64 (B,); ``see`` looks on, as in :func:`observed`."""
        with by_onednn(self._device):
            if see is None:
                self._replay(index)
                return
            with observed(self._model, see):
                self._step(index)

    def forget(self) -> None:
        """Tensors of the model, the optimiser or the tally were replaced."""
        self._replay.forget()

    def _step(self, index: Tensor) -> None:
        loss, out, y = self._forward(index)
        self._optimizer.zero_grad(set_to_none=True)
        self._objective(loss).backward()
        self._optimizer.step()
        self._tally.add(loss, out, y)

    def _objective(self, loss: Tensor) -> Tensor:
        # Without a Variational layer the divergence is a number on the CPU: a GPU takes it without waiting for it.
        return loss + self._kl_weight * kl(self._model)

    def _forward(self, index: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss, logits (B, classes) and classes (B,)."""
        data = self._data
        x, y = data.normalise(data.train.x[index]), data.train.y[index]
        self._model.train()
        with autocast(self._device, self._precision):
            out = self._model(x)
        return F.cross_entropy(out.float(), y), out, y


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """Half precision on ``device`` where "bf16" asks for it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")
