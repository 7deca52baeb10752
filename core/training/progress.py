"""What a training run tells while it goes on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Progress:
    """One record of a run.

    Attributes:
        kind: "step", "epoch" (evaluated) or "end" (tested, or failed).
        step, epoch: optimiser steps done, and the epochs they make, a fraction.
        loss, accuracy: mean cross entropy and accuracy in train mode, since the last record, or over the whole epoch.
        train_eval_loss: cross entropy in eval mode on a fixed part of the training set.
        val_loss, val_accuracy, test_loss, test_accuracy: in eval mode; None where not measured.
        images_per_s: training images a second of training time, since the last record.
        train_seconds, eval_seconds: spent so far in training and in evaluating, kept apart.
        p, lr: as they were in the last step.
        dropped, active_dropped, dead: of the masks of one step since the last record, means over the layers: the
            share of units (or weights) that fell, the share of active units that fell, and the share of examples left
            without an active unit; None where nothing can fall.
        layers: the same three for each dropout layer.
        reason: why a run failed, ended before its last epoch, or ends with the weights of an earlier one.
    """

    kind: str
    step: int
    epoch: float
    status: str = "running"
    reason: str | None = None
    loss: float | None = None
    accuracy: float | None = None
    train_eval_loss: float | None = None
    val_loss: float | None = None
    val_accuracy: float | None = None
    test_loss: float | None = None
    test_accuracy: float | None = None
    images_per_s: float | None = None
    train_seconds: float = 0.0
    eval_seconds: float = 0.0
    p: tuple[float, ...] = ()
    lr: float = 0.0
    dropped: float | None = None
    active_dropped: float | None = None
    dead: float | None = None
    layers: tuple[dict[str, float | None], ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)
