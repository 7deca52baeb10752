"""What the techniques that wrap a layer share: the layer keeps its weights, its geometry and its state_dict keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .base import Dropout, block

Activation = Callable[[Tensor], Tensor]


class LayerDropout(Dropout):
    """Base of the techniques that take over an ``nn.Linear`` or ``nn.Conv2d``.

    The wrapper is transparent in ``state_dict``: the keys are those of the bare layer, so one checkpoint serves every
    technique. The layer stays reachable as ``.layer``.

    Args:
        layer: the layer to wrap; ValueError for any other kind.
        p: probability of dropping.
        activation: function or module applied to the layer's output; None returns the pre-activation.
    """

    wraps_layer = True
    layer: nn.Linear | nn.Conv2d

    def __init__(self, layer: nn.Module, p: float = 0.5, activation: Activation | None = None) -> None:
        super().__init__(p)
        self._adopt(layer, activation)

    def _adopt(self, layer: nn.Module, activation: Activation | None) -> None:
        if not isinstance(layer, nn.Linear | nn.Conv2d):
            raise ValueError(
                f"{type(self).__name__} wraps an nn.Linear or an nn.Conv2d, got {type(layer).__name__}; "
                "give it the layer whose output it shall disturb"
            )
        self.layer = layer
        self.activation = activation
        self.register_state_dict_post_hook(_hide_layer)  # type: ignore[no-untyped-call]
        self.register_load_state_dict_pre_hook(_find_layer)  # type: ignore[no-untyped-call]

    def activate(self, a: Tensor) -> Tensor:
        """f(a), or ``a`` itself without an activation; ``a`` is left as it is, even where f works in place."""
        if self.activation is None:
            return a
        return self.activation(a.clone() if getattr(self.activation, "inplace", False) else a)

    def forward(self, x: Tensor) -> Tensor:
        """x as the layer takes it, to the layer's output after the activation."""
        if not self.training:
            return self.expect(x)
        if self.p == 0.0 or x.numel() == 0:
            return self.activate(self.layer(x))
        return self.perturb(x, self.draw(x))

    def undisturbed(self, x: Tensor) -> Tensor:
        return self.activate(self.layer(x))

    @classmethod
    def place(
        cls, layer: nn.Module, activation: nn.Module, after: Sequence[nn.Module], p: float, **knobs: Any
    ) -> nn.Module:
        """The block with its layer and activation inside the wrapper, before ``after``."""
        return block(cls(layer, p, activation=activation, **knobs), None, after, None)


def affine(layer: nn.Linear | nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The layer's own map, with its stride, padding and groups, under other weights of the same shape."""
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight, bias)
    return cast(Tensor, layer._conv_forward(x, weight, bias))


def spread(layer: nn.Linear | nn.Conv2d, x: Tensor, variance: Tensor) -> Tensor:
    """Variance of the pre-activation when each weight has ``variance``: the layer's map of x∘x, in float32.

    Outside autocast, because squares leave half precision's range first.
    """
    with torch.autocast(x.device.type, enabled=False):
        dtype = torch.promote_types(x.dtype, torch.float32)
        return affine(layer, x.to(dtype).square(), variance.to(dtype), None)


def safe_sqrt(v: Tensor) -> Tensor:
    """√v with gradient 0, not NaN, where v = 0."""
    positive = v > 0
    return torch.where(positive, torch.where(positive, v, 1.0).sqrt(), 0.0)


def output_shape(layer: nn.Linear | nn.Conv2d, x: Tensor) -> tuple[int, ...]:
    """Shape of ``layer(x)``, without computing it."""
    if isinstance(layer, nn.Linear):
        return (*x.shape[:-1], layer.out_features)
    sizes = []
    for i, n in enumerate(x.shape[-2:]):
        pad = layer.padding if isinstance(layer.padding, str) else 2 * layer.padding[i]
        reach = layer.dilation[i] * (layer.kernel_size[i] - 1)
        total = reach if pad == "same" else 0 if pad == "valid" else int(pad)
        sizes.append((n + total - reach - 1) // layer.stride[i] + 1)
    return (*x.shape[:-3], layer.out_channels, *sizes)


def _hide_layer(module: nn.Module, state: dict[str, Any], prefix: str, _meta: dict[str, Any]) -> None:
    inner = f"{prefix}layer."
    for key in [k for k in state if k.startswith(inner)]:
        state[prefix + key[len(inner) :]] = state.pop(key)


def _find_layer(module: nn.Module, state: dict[str, Any], prefix: str, *_rest: Any) -> None:
    for name in cast(nn.Module, module.layer).state_dict():
        if prefix + name in state:
            state[f"{prefix}layer.{name}"] = state.pop(prefix + name)
