"""The seam between networks and techniques: a network hands over a block's parts and p, and gets it with noise."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .base import TECHNIQUES, Dropout, block
from .variational import Variational

DropoutFactory = Callable[[nn.Module, nn.Module, Sequence[nn.Module], float], nn.Module]


def technique(name: str) -> type[Dropout]:
    """The class called ``name``; ValueError lists the names there are."""
    if name in TECHNIQUES:
        return TECHNIQUES[name]
    near = difflib.get_close_matches(str(name), TECHNIQUES, 1)
    hint = f" Did you mean {near[0]}?" if near else ""
    raise ValueError(f"There is no technique {name!r}; choose from {', '.join(TECHNIQUES)}.{hint}")


def check_knobs(name: str, knobs: dict[str, Any]) -> None:
    """ValueError unless each of ``knobs`` is an option of technique ``name`` ("none" has none) with a good value."""
    known = {} if name == "none" else {knob.name: knob for knob in technique(name).knobs}
    for key, value in knobs.items():
        if key not in known:
            raise ValueError(f"{name} has no option {key!r}; it has {', '.join(known) or 'none'}")
        known[key].check(value)


def factory(name: str, **knobs: Any) -> DropoutFactory:
    """A function (layer, activation, after, p) -> block that puts technique ``name`` where its noise belongs.

    Args:
        name: a key of :data:`TECHNIQUES`, or "none".
        knobs: options of that technique; ValueError for one it does not have.
    """
    check_knobs(name, knobs)

    def place(layer: nn.Module, activation: nn.Module, after: Sequence[nn.Module], p: float) -> nn.Module:
        if name == "none":
            return block(layer, activation, after, None)
        return technique(name).place(layer, activation, after, p, **knobs)

    return place


def dropouts(model: nn.Module) -> list[Dropout]:
    """Our dropout layers in ``model``, in the order of ``modules()``."""
    return [m for m in model.modules() if isinstance(m, Dropout)]


def set_p(model: nn.Module, p: float | Iterable[float]) -> None:
    """Give every dropout layer of ``model`` this p, or one each in their order."""
    layers = dropouts(model)
    values = [p] * len(layers) if isinstance(p, int | float) else list(p)
    for layer, value in zip(layers, values, strict=True):
        layer.p = value


def kl(model: nn.Module) -> Tensor:
    """Sum of the divergences of all Variational layers, a scalar; 0 without one. Add kl / N_train to the mean loss."""
    terms = [m.kl() for m in dropouts(model) if isinstance(m, Variational)]
    return torch.stack(terms).sum() if terms else torch.zeros(())


def noise_parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    """Learned parameters of the noise in ``model``; give them weight decay 0, or Adam's L2 outweighs the KL."""
    for layer in dropouts(model):
        yield from layer.noise_parameters()
