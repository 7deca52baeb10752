"""The fixed training images by which a network is looked at, and what enters its dropout layers for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.data import Dataset
from core.dropout import dropouts, factory
from core.randomness import preserved
from models import build

REFERENCE_IMAGES = 200
_ORDER_SEED = 20130613
_NOISE = ("raw_alpha", "alpha", "beta")
_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Architecture:
    """All that decides the shapes of a network's weights: key of ``models.NETWORKS``, (C, H, W), classes, width."""

    network: str
    shape: tuple[int, int, int]
    classes: int
    width: float

    def build(self, technique: str, p: float | tuple[float, ...] | None = None, **knobs: object) -> nn.Module:
        """Such a network with new weights, in eval mode. Draws no number from the global generator. ValueError."""
        with preserved(_CPU):
            place = factory(technique, **knobs)
            return build(self.network, place, shape=self.shape, classes=self.classes, width=self.width, p=p).eval()


def is_noise(key: str) -> bool:
    """Whether an entry of a state dict belongs to a technique's noise, not to the network."""
    return key.rpartition(".")[2] in _NOISE


def noiseless(architecture: Architecture, weights: Mapping[str, Tensor]) -> nn.Module:
    """The network with these weights in eval mode; at each dropout position stands a layer that lets all pass."""
    model = architecture.build("standard", 0.0)
    model.load_state_dict({key: value for key, value in weights.items() if not is_noise(key)})
    return model


@torch.no_grad()
def block_outputs(model: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """What enters each dropout layer of a :func:`noiseless` network for normalised images x (B, C, H, W): (B, *units).

    The layers are ordered as in :func:`core.dropout.dropouts`.
    """
    seen: list[Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda _, given: seen.append(given[0])) for layer in dropouts(model)]
    try:
        model(x)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(seen)


def reference_images(data: Dataset) -> Tensor:
    """The same :data:`REFERENCE_IMAGES` training images (R, C, H, W) uint8 for every seed; fewer where there are fewer.

    In a fixed shuffled order, because an image folder is sorted by class.
    """
    return data.train.x[fixed_order(len(data.train))[:REFERENCE_IMAGES].to(data.train.x.device)]


def fixed_order(size: int) -> Tensor:
    """A shuffled order of so many examples, int64 (size,), always the same one."""
    return torch.randperm(size, generator=torch.Generator().manual_seed(_ORDER_SEED))


def reference_activations(model: nn.Module, data: Dataset) -> tuple[Tensor, ...]:
    """What enters each dropout layer of a :func:`noiseless` network for the :func:`reference_images`: (R, *units)."""
    return block_outputs(model, data.normalise(reference_images(data)).to(_CPU))
