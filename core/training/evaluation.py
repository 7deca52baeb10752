"""Loss and accuracy of a network without its noise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from core.data import Dataset, Split
from core.training.products import by_onednn

EVALUATION_BATCH = 1000


@torch.no_grad()
def evaluate(
    model: nn.Module, data: Dataset, split: Split, between: Callable[[], None] = lambda: None
) -> tuple[float, float]:
    """Mean cross entropy and accuracy of ``model`` in eval mode on ``split``; the model's mode is left as it was.

    ``between`` is called before each batch, and may end it all by an exception.
    """
    training = model.training
    model.eval()
    total = torch.zeros(2, device=split.x.device)
    try:
        for x, y in zip(split.x.split(EVALUATION_BATCH), split.y.split(EVALUATION_BATCH), strict=True):
            between()
            with by_onednn(x.device):
                out = model(data.normalise(x)).float()
            total += torch.stack([F.cross_entropy(out, y, reduction="sum"), (out.argmax(1) == y).sum().float()])
    finally:
        model.train(training)
    loss, right = (total / len(split)).tolist()
    return loss, right
