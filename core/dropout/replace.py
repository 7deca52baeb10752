"""Swap the dropout of any PyTorch model for one of ours."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from .base import Dropout, probability
from .factory import check_knobs, technique
from .wrapper import LayerDropout


def replace_dropout(model: nn.Module, name: str, p: float | None = None, **knobs: Any) -> nn.Module:
    """Replace the dropout modules of ``model`` in place and return it.

    ``nn.Dropout`` and our activation techniques are swapped, wherever they sit; a module used in several places stays
    one module. Our layer wrappers are undone first. Channel and alpha variants are left, and named in a warning; so is
    dropout that a module applies as a function, as attention does.

    Args:
        model: any module; if it is itself a dropout module, its replacement is returned.
        name: an activation technique, or "none" for dropout that does nothing.
        p: drop probability for all; None keeps each module's own.
        knobs: options of the technique.

    Raises:
        ValueError: for an unknown technique or option, and for techniques that wrap a layer.
    """
    check_knobs(name, knobs)
    if name != "none" and (technique(name).wraps_layer or knobs.get("form") == "weight"):
        raise ValueError(
            f"{name} acts inside a layer, so it cannot take a dropout module's place: wrap the layer itself, "
            f"as in {technique(name).__name__}(layer, p)"
        )
    knobs.pop("form", None)
    if p is not None:
        p = probability(p, name)  # before anything is changed
    counts = _Counts()
    model = _swap(model, {}, counts.unwrapped)
    where = next(model.parameters(), torch.empty(0)).device
    model = _swap(model, {}, lambda module: counts.swapped(module, name, p, knobs, where))
    if counts.left:
        left = ", ".join(dict.fromkeys(counts.left))
        warnings.warn(f"Left as it was, for it does not drop single units in a module: {left}", stacklevel=2)
    if not counts.replaced:
        undone = f"its {counts.undone} layer wrappers were undone" if counts.undone else "nothing was changed"
        warnings.warn(f"The model has no nn.Dropout to replace; {undone}", stacklevel=2)
    return model


class _Counts:
    def __init__(self) -> None:
        self.replaced = self.undone = 0
        self.left: list[str] = []

    def unwrapped(self, module: nn.Module) -> nn.Module:
        if not isinstance(module, LayerDropout) or not hasattr(module, "layer"):
            return module
        self.undone += 1
        if isinstance(module.activation, nn.Module):
            return nn.Sequential(module.layer, module.activation)
        if module.activation is None:
            return module.layer
        return nn.Sequential(module.layer, _Function(module.activation))

    def swapped(
        self, module: nn.Module, name: str, p: float | None, knobs: dict[str, Any], device: torch.device
    ) -> nn.Module:
        if isinstance(module, nn.MultiheadAttention) and module.dropout > 0:
            self.left.append("the attention weights of MultiheadAttention")
        if not isinstance(module, _DropoutNd):
            return module
        if type(module) is not nn.Dropout and not isinstance(module, Dropout):
            self.left.append(type(module).__name__)
            return module
        self.replaced += 1
        share = module.p if p is None else p
        new = nn.Dropout(0.0) if name == "none" else technique(name)(share, **knobs)
        return new.to(device).train(module.training)


def _swap(module: nn.Module, seen: dict[nn.Module, nn.Module], change: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """``module`` with ``change`` applied to it and to all below; each module once, so that sharing survives."""
    if module in seen:
        return seen[module]
    seen[module] = new = change(module)
    seen[new] = new
    for key, child in new._modules.items():
        if child is not None:
            new._modules[key] = _swap(child, seen, change)
    return new


class _Function(nn.Module):
    """A function as a module, so that it can follow a layer in a Sequential."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)
