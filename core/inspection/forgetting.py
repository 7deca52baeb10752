"""What a network answers when it is called again and again: in training mode, as without ``eval()``, or in eval."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from core.dropout import dropouts
from core.inspection.models import untouched


def called(model: nn.Module, x: Tensor, *, calls: int, training: bool, p: float | None = None, seed: int = 0) -> Tensor:
    """The class that each of so many forwards of ``x`` (B, …) finds likeliest: int64 (calls, B), on the CPU.

    The whole model is in training mode or in eval, and left as it was. Unlike in :func:`monte_carlo`, which turns on
    dropout alone, all else that tells the modes apart, as BatchNorm, does so too, and noise is drawn as for a batch.

    Args:
        p: for every dropout layer, set by ``turn_to``; None keeps each layer's own.

    Raises ValueError for fewer than one call, or p out of range.
    """
    if calls < 1:
        raise ValueError(f"A model is called 1, 2, … times, not {calls}.")
    with untouched(model, seed):
        model.train(training)
        for layer in dropouts(model):
            if p is not None:
                layer.turn_to(p)
        return torch.stack([model(x).argmax(1).cpu() for _ in range(calls)])
