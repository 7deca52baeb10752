"""Look into a model and leave it as it was: modes, p, buffers, hooks and random numbers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.dropout import Dropout, dropouts
from core.randomness import ONE_AT_A_TIME


@dataclass(frozen=True)
class Position:
    """A place in a network where dropout acts: its index, what a person calls it, and the shape of its units."""

    index: int
    title: str
    units: tuple[int, ...]


@contextmanager
def untouched(model: nn.Module, seed: int | None = None) -> Iterator[None]:
    """Within it ``model`` may change its modes, p and buffers, and random numbers be drawn; then all is as before.

    ``seed`` starts torch's generators, on the CPU and on GPUs. One thread at a time gets in.
    """
    # A seed goes to all devices, wherever the model is.
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with ONE_AT_A_TIME, torch.random.fork_rng(devices), torch.no_grad():
        modules = list(model.modules())
        modes = [module.training for module in modules]
        buffers = [{name: (b, None if b is None else b.clone()) for name, b in m._buffers.items()} for m in modules]
        states = [[(q, q.detach().clone()) for q in layer.noise_parameters()] for layer in dropouts(model)]
        ps = [layer.p for layer in dropouts(model)]
        if seed is not None:
            torch.manual_seed(seed)
        try:
            yield
        finally:
            for module, mode, kept in zip(modules, modes, buffers, strict=True):
                module.training = mode
                _restore(module, kept)
            for layer, p, noise in zip(dropouts(model), ps, states, strict=True):
                layer.p = p
                for parameter, value in noise:
                    parameter.copy_(value)


def positions(model: nn.Module, x: Tensor) -> list[Position]:
    """Where dropout acts in ``model``, in order; ``x`` (B, …) is an input, by which the units are counted."""
    found: list[Position] = []
    with untouched(model):
        model.eval()
        names = {module: name for name, module in model.named_modules()}
        for index, layer in enumerate(dropouts(model)):
            units = tuple(_output(model, layer, x[:1]).shape[1:])
            found.append(Position(index, title(names[layer]), units))
    return found


def title(name: str) -> str:
    """What a person calls the part of a network whose module has this name: "hidden_1.dropout" is in "Hidden 1"."""
    words = name.split(".")[0].replace("_", " ")
    return f"Layer {words}" if words.isdecimal() else words.capitalize()


def activations(model: nn.Module, x: Tensor, position: int) -> Tensor:
    """What enters the dropout layer at ``position`` for inputs ``x`` (B, …): (B, *units), with all dropout off.

    For a technique that wraps a layer this is that layer's input.
    """
    with untouched(model):
        model.eval()
        for layer in dropouts(model):
            layer.turn_to(0.0)
        return entering(model, layer_at(model, position), x)


def layer_at(model: nn.Module, position: int) -> Dropout:
    """The dropout layer at ``position``; IndexError says how many there are."""
    layers = dropouts(model)
    if not 0 <= position < len(layers):
        raise IndexError(f"This model has {len(layers)} dropout layers, counted from 0; there is none at {position}.")
    return layers[position]


def entering(model: nn.Module, layer: nn.Module, x: Tensor) -> Tensor:
    """What ``layer`` is given when ``model`` runs on ``x``."""
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    try:
        model(x)
    finally:
        handle.remove()
    return seen[0]


def answers(model: nn.Module, layer: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Class probabilities (M, classes) of ``model`` on one input ``x`` (1, …) when ``layer`` gives ``y`` (M, *units).

    What lies before the layer runs once; what lies behind it runs on all M rows.
    """
    handle = layer.register_forward_hook(lambda *_: y)
    try:
        logits: Tensor = model(x)
    finally:
        handle.remove()
    return logits.float().softmax(1)


def in_parts(run: Callable[[Tensor], Tensor], rows: Tensor, size: int) -> Tensor:
    """``run`` on ``rows`` (M, …), ``size`` of them at a time, so that memory stays bounded."""
    return torch.cat([run(part) for part in rows.split(size)])


def _output(model: nn.Module, layer: nn.Module, x: Tensor) -> Tensor:
    seen: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _, inputs, output: seen.append(output))
    try:
        model(x)
    finally:
        handle.remove()
    return seen[0]


def _restore(module: nn.Module, kept: dict[str, tuple[Tensor | None, Tensor | None]]) -> None:
    for name, (tensor, value) in kept.items():
        if tensor is not None and value is not None:
            tensor.copy_(value)
        module._buffers[name] = tensor
