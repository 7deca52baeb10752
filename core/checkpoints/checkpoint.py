"""A trained network that can be rebuilt with any technique in the place of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from core.config import ConfigError
from core.data import normalise
from core.dropout import TECHNIQUES, DropCorr, dropouts
from core.errors import DataError
from core.references import Architecture, is_noise
from core.runs.snapshots import NONE, Snapshots


class CheckpointError(DataError):
    """A checkpoint that is missing, damaged or unusable. ``str(error)`` is one sentence."""


@dataclass(frozen=True, eq=False)
class CheckpointInfo:
    """What is known of a trained network without its weights.

    Attributes:
        name: what an address carries: a folder of ``checkpoints``, or a run's id.
        title: what is shown.
        dataset, network, width, seed, epochs: as in :class:`core.config.Config`, with the network named.
        shape: (C, H, W) of an image.
        classes: their names.
        technique, knobs: what it was trained with; "none" has no knobs.
        p: drop probabilities, one a dropout position, also where the technique is "none".
        accuracy: on the test set, a share of 1, of the weights as they are stored; None where not measured.
        command: the command that made it; "" for a run.
        mean, std: per channel, of the training images with pixels in [0, 1].
    """

    name: str
    title: str
    dataset: str
    network: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    width: float
    technique: str
    p: tuple[float, ...]
    knobs: dict[str, Any]
    seed: int
    epochs: int
    accuracy: float | None
    command: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def architecture(self) -> Architecture:
        """What decides the shapes of the weights."""
        return Architecture(self.network, self.shape, len(self.classes), self.width)


@dataclass(frozen=True, eq=False, kw_only=True)
class Checkpoint(CheckpointInfo):
    """A trained network on disk: shipped with the program, or a run's. Its tensors are shared: never change them.

    Attributes:
        weights: state dict, float32 on the CPU.
        references: what enters each dropout position for a fixed part of the training images, without noise:
            (R, *units) float32; () where the data set is not at hand.
        snapshots: the same over the epochs of training; empty where none were kept.
    """

    weights: dict[str, Tensor]
    references: tuple[Tensor, ...] = ()
    snapshots: Snapshots = NONE

    def model(self, technique: str | None = None, p: float | Sequence[float] | None = None, **knobs: Any) -> nn.Module:
        """A new network in eval mode with these weights and a technique in place.

        DropCorr takes its covariance from :attr:`references`. What a technique has learned of its noise is used where
        it is the network's own with the same options; otherwise the noise starts as p says.

        Args:
            technique: a key of ``TECHNIQUES`` or "none"; None is the network's own, with its own options.
            p: for all positions, or one each; None is the network's own.
            knobs: options of the technique.

        Raises:
            ConfigError: for an unknown technique or option, or a p out of range.
            CheckpointError: where the weights do not fit the network.
        """
        if technique is None:
            technique, knobs = self.technique, self.knobs | knobs
        try:
            chosen = self.p if p is None else p if isinstance(p, int | float) else tuple(p)
            model = self.architecture.build(technique, chosen, **knobs)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        self._load_into(model, learned=technique == self.technique and self._are_own(knobs))
        for layer, reference in zip(dropouts(model), self.references, strict=False):
            if isinstance(layer, DropCorr):
                layer.set_reference(reference)
        return model

    def normalise(self, x: Tensor) -> Tensor:
        """Images uint8 (B, C, H, W) as the float32 that the network was trained on."""
        return normalise(x, self.mean, self.std)

    def _are_own(self, knobs: dict[str, Any]) -> bool:
        known = TECHNIQUES[self.technique].knobs if self.technique in TECHNIQUES else ()
        defaults = {knob.name: knob.default for knob in known}
        return defaults | knobs == defaults | self.knobs

    def _load_into(self, model: nn.Module, *, learned: bool) -> None:
        given = {key: value for key, value in self.weights.items() if learned or not is_noise(key)}
        if not learned:
            given |= {key: value for key, value in model.state_dict().items() if is_noise(key)}
        try:
            model.load_state_dict(given)
        except RuntimeError as error:
            raise CheckpointError(
                f"The weights of {self.title} do not fit the network {self.network}: choose another checkpoint."
            ) from error
