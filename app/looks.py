"""What the pages ask of ``core.inspection``, computed once for everybody who looks at the same."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from app import networks
from app.keeping import kept_within
from core.checkpoints import Checkpoint
from core.dropout import LayerDropout, dropouts
from core.inspection import Field, Position, keep_frequency, plan, positions
from core.inspection import field as look_at
from core.inspection.frequency import draws_for

# Eight techniques on a layer of millions of weights, and their options changed a few times.
MOST_KEPT = 256 * 2**20

Options = tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Scene:
    """One image before one layer of one network; ``stamp`` changes with its weights, ``key`` with the image."""

    net: str
    stamp: int
    position: int
    key: str
    onward: bool
    x: Tensor = field(compare=False, repr=False)

    @property
    def checkpoint(self) -> Checkpoint:
        return networks.network(self.net)


@lru_cache(maxsize=32)
def layers(net: str, stamp: int) -> tuple[Position, ...]:
    """Where dropout acts in a network."""
    checkpoint = networks.network(net)
    return tuple(positions(checkpoint.model("standard"), torch.zeros(1, *checkpoint.shape)))


def field_of(scene: Scene, technique: str, options: Mapping[str, Any]) -> Field:
    """What a technique does in a scene, over draws and p."""
    return _field(scene, technique, tuple(sorted(options.items())))


def kept_of(scene: Scene, technique: str, options: Mapping[str, Any]) -> Tensor | None:
    """How often each unit stays in a scene, at every p: (P, N), or None where no unit falls."""
    return _kept(scene, technique, tuple(sorted(options.items())))


def draws_behind(scene: Scene) -> int:
    """How many draws :func:`kept_of` counts over."""
    return draws_for(_units(scene))


@kept_within(MOST_KEPT)
def _field(scene: Scene, technique: str, options: Options) -> Field:
    model, x = _entered(scene, technique, options)
    draws, grid = plan(_units(scene), _weights(scene.net, scene.stamp, scene.position))
    return look_at(model, x, scene.position, draws=draws, grid=grid, onward=scene.onward)


@kept_within(MOST_KEPT // 4)
def _kept(scene: Scene, technique: str, options: Options) -> Tensor | None:
    model, x = _entered(scene, technique, options)
    _, grid = plan(_units(scene), _weights(scene.net, scene.stamp, scene.position))
    return keep_frequency(model, x, scene.position, draws=draws_behind(scene), grid=grid, seed=1)


def _entered(scene: Scene, technique: str, options: Options) -> tuple[nn.Module, Tensor]:
    checkpoint = scene.checkpoint
    return checkpoint.model(technique, **dict(options)), checkpoint.normalise(scene.x)


def _units(scene: Scene) -> int:
    return most_units(scene.net, scene.stamp, scene.position)


def most_units(net: str, stamp: int, position: int) -> int:
    """The most units that a technique has there: Standout acts before the pooling that others act behind."""
    behind = torch.Size(layers(net, stamp)[position].units).numel()
    return max(_before_pooling(net, stamp, position), behind)


@lru_cache(maxsize=64)
def _before_pooling(net: str, stamp: int, position: int) -> int:
    checkpoint = networks.network(net)
    found = positions(checkpoint.model("standout"), torch.zeros(1, *checkpoint.shape))
    return torch.Size(found[position].units).numel()


@lru_cache(maxsize=64)
def _weights(net: str, stamp: int, position: int) -> int:
    """How many weights DropConnect would act on there, so that its draws are as many as those of the others."""
    layer = dropouts(networks.network(net).model("dropconnect"))[position]
    return layer.layer.weight.numel() if isinstance(layer, LayerDropout) else 0
