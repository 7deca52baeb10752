"""What one step of training did to one batch: the tensors that it really used, in one file of the run's folder."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.runs.database import StoreError, explain
from core.runs.weights import write_whole

if TYPE_CHECKING:
    from torch import Tensor

FILE = "step.safetensors"


@dataclass(frozen=True, eq=False)
class Place:
    """One dropout position in that step, for the first E examples of the batch; all tensors float32 unless said.

    Of a layer with many units the first are kept: whole channels of a feature map, or the first units of a flat layer;
    ``units`` counts all of them. Gradients are those of the loss that was minimised.

    Attributes:
        title: as in "Hidden 1".
        units: shape of all units of an example, (N,) or (C, H, W).
        p: drop probability in that step.
        x: (E, *kept) the units before the noise: what entered the layer or, where the noise is inside a block
            (Standout), the activation that it multiplies. For noise on weights: the input of the layer that has them.
        out: (E, *kept) the units after it.
        mask: bool (E, *kept), True where a unit stayed; None where no unit can fall.
        scale: (E, *kept) what units that stayed were multiplied by; None where noise is on weights.
        grad_out, grad_x: (E, *kept) gradient of the loss with respect to ``out`` and to ``x``; None where there is
            none, as before the first layer.
        weight, weight_mask: (rows, columns), and bool (E or 1, rows, columns), True where a weight stayed: the upper
            left corner of the weights as (outputs, inputs); None where no weight can fall.
    """

    title: str
    units: tuple[int, ...]
    p: float
    x: Tensor
    out: Tensor
    mask: Tensor | None = None
    scale: Tensor | None = None
    grad_out: Tensor | None = None
    grad_x: Tensor | None = None
    weight: Tensor | None = None
    weight_mask: Tensor | None = None


@dataclass(frozen=True)
class Update:
    """How far the step moved a layer: its title, ‖Δw‖ over all of its parameters, and ‖w‖ before."""

    title: str
    norm: float
    before: float


@dataclass(frozen=True, eq=False)
class Batch:
    """One optimiser step.

    Attributes:
        step, epoch: optimiser steps done with this one, and the epochs they make.
        technique: name; ``drops``: what falls, "units", "weights" or "".
        loss: mean cross entropy of the batch; ``lr``: the learning rate.
        size: examples in the batch, of which E are kept.
        images: uint8 (E, C, H, W); ``labels``: their classes by index into ``classes``.
        answers: (E, classes) probabilities under the noise, before the update.
        places: the dropout positions in order, at most 16; ``updates``: the layers in order.
    """

    step: int
    epoch: float
    technique: str
    drops: str
    loss: float
    lr: float
    size: int
    images: Tensor
    labels: tuple[int, ...]
    classes: tuple[str, ...]
    answers: Tensor
    places: tuple[Place, ...]
    updates: tuple[Update, ...]


def save(folder: Path, batch: Batch) -> None:
    """Keep ``batch`` in the folder of its run, in place of an earlier one; StoreError."""
    from safetensors.torch import save as to_bytes

    tensors, words = _taken_apart(batch)
    for number, place in enumerate(batch.places):
        own, said = _taken_apart(place)
        tensors |= {f"{number}.{name}": tensor for name, tensor in own.items()}
        words["places"].append(said)
    words["updates"] = [[update.title, update.norm, update.before] for update in batch.updates]
    write_whole(folder / FILE, to_bytes(tensors, metadata={"batch": json.dumps(words)}))


def load(folder: Path) -> Batch | None:
    """What :func:`save` kept last in the folder of a run; None without one, StoreError where it is damaged."""
    from safetensors import SafetensorError, safe_open

    path = folder / FILE
    try:
        with safe_open(path, framework="pt") as file:
            words = json.loads((file.metadata() or {})["batch"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, it is no dict
        return _put_together(words, tensors)
    except FileNotFoundError:
        return None
    except (SafetensorError, LookupError, TypeError, ValueError) as error:
        raise StoreError(f"{path} is damaged: step once more.") from error
    except OSError as error:
        raise explain(error, path) from error


def _taken_apart(record: Batch | Place) -> tuple[dict[str, Tensor], dict[str, Any]]:
    import torch

    values = {field.name: getattr(record, field.name) for field in fields(record)}
    tensors = {name: value.cpu().contiguous() for name, value in values.items() if isinstance(value, torch.Tensor)}
    words = {name: value for name, value in values.items() if value is not None and name not in tensors}
    return tensors, words | ({"places": []} if "places" in words else {})


def _put_together(words: dict[str, Any], tensors: dict[str, Tensor]) -> Batch:
    places = []
    for number, said in enumerate(words["places"]):
        own: dict[str, Any] = {
            name.partition(".")[2]: tensor for name, tensor in tensors.items() if name.startswith(f"{number}.")
        }
        places.append(Place(**said | own | {"units": tuple(said["units"])}))
    return Batch(
        **{**words, "labels": tuple(words["labels"]), "classes": tuple(words["classes"])}
        | {"places": tuple(places), "updates": tuple(Update(*update) for update in words["updates"])},
        images=tensors["images"],
        answers=tensors["answers"],
    )
