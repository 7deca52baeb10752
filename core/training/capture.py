"""What one step of training does to a batch: the tensors that it uses, seen while it uses them."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.data import Split
from core.dropout import Dropout, Effect, LayerDropout, Noise, dropouts
from core.inspection.models import title
from core.runs.steps import Batch, Place, Update
from core.training.observing import observed
from core.training.progress import Progress

EXAMPLES = 8
MOST_PLACES = 16
# Of each example's units, and of the weights of a layer as (outputs, inputs).
MOST_UNITS = 4096
ROWS, COLUMNS = 64, 128


class Capture:
    """Within it the next training step of ``model`` is taken down; the step is as if nobody looked."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._names = {module: name for name, module in model.named_modules()}
        self._before = {name: value.detach().clone() for name, value in model.named_parameters()}
        self._places: dict[int, dict[str, Any]] = {}
        self._activated: dict[Dropout, Tensor] = {}
        self._logits: Tensor | None = None
        self._hooks = ExitStack()

    def __enter__(self) -> Self:
        self._hooks.enter_context(observed(self._model, self._see))
        handles = [self._model.register_forward_hook(self._answer)]
        for layer in dropouts(self._model):
            if _inside(layer) and isinstance(activation := getattr(layer, "activation", None), nn.Module):
                handles.append(activation.register_forward_hook(self._activation(layer)))
        for handle in handles:
            self._hooks.callback(handle.remove)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._hooks.close()
        # They hold the step's graph, which by the hooks for gradients holds this object: nothing would ever free them.
        self._activated.clear()

    def batch(self, examples: Split, classes: tuple[str, ...], technique: str, record: Progress) -> Batch:
        """What the step that was taken, and led to ``record``, did to ``examples``, its batch."""
        assert self._logits is not None, "a step was taken"
        logits = self._logits.float()
        return Batch(
            step=record.step,
            epoch=record.epoch,
            technique=technique,
            drops=next((layer.drops for layer in dropouts(self._model)), ""),
            loss=F.cross_entropy(logits, examples.y).item(),
            lr=record.lr,
            size=len(examples),
            images=examples.x[:EXAMPLES].cpu(),
            labels=tuple(examples.y[:EXAMPLES].tolist()),
            classes=classes,
            answers=logits[:EXAMPLES].softmax(1).cpu(),
            places=tuple(Place(**parts) for _, parts in sorted(self._places.items())),
            updates=self._updates(),
        )

    def _updates(self) -> tuple[Update, ...]:
        squares: dict[str, list[float]] = {}
        for name, value in self._model.named_parameters():
            before = self._before[name]
            moved = squares.setdefault(name.rpartition(".")[0], [0.0, 0.0])
            moved[0] += (value.detach() - before).float().square().sum().item()
            moved[1] += before.float().square().sum().item()
        titles = _numbered([_layer_title(self._model.get_submodule(owner), owner) for owner in squares])
        norms = [(moved**0.5, size**0.5) for moved, size in squares.values()]
        return tuple(Update(words, *pair) for words, pair in zip(titles, norms, strict=True))

    def _answer(self, model: nn.Module, _: tuple[Tensor, ...], out: Tensor) -> None:
        if model.training and self._logits is None:
            self._logits = out.detach()

    def _activation(self, layer: Dropout) -> Any:
        return lambda module, inputs, out: self._activated.setdefault(layer, out) if layer.training else None

    def _see(self, index: int, layer: Dropout, x: Tensor, out: Tensor, noise: Noise | None) -> None:
        if index >= MOST_PLACES or index in self._places:
            return
        with torch.no_grad():
            effect = None if noise is None else layer.effect(x, noise)
        units = self._activated.get(layer, x) if _inside(layer) else x
        parts: dict[str, Any] = {
            "title": title(self._names[layer]),
            "units": tuple(out.shape[1:]),
            "p": layer.p,
            "x": kept(units),
            "out": kept(out),
        }
        self._places[index] = parts | (_of_weights(layer, effect) if _on_weights(layer) else _of_units(out, effect))
        self._await_gradient(index, "grad_x", units)
        self._await_gradient(index, "grad_out", out)

    def _await_gradient(self, index: int, name: str, tensor: Tensor) -> None:
        def keep(gradient: Tensor) -> None:
            self._places[index][name] = kept(gradient)

        if tensor.requires_grad:
            tensor.register_hook(keep)


def kept(x: Tensor) -> Tensor:
    """Of (B, *units) the first examples and units, as float32 on the CPU, or bool: whole channels of a feature map."""
    x = x.detach()[:EXAMPLES]
    size = x[0, 0].numel() if x.dim() > 2 else 1
    x = x[:, : max(1, MOST_UNITS // size)]
    return x.to("cpu", x.dtype if x.dtype == torch.bool else torch.float32, copy=True)


def _of_units(out: Tensor, effect: Effect | None) -> dict[str, Tensor | None]:
    """Mask and scale, broadcast to the units; without noise everything stays as it is."""
    ones = torch.ones_like(out, dtype=torch.float32)
    scale = ones if effect is None else ones * effect.factor
    fallen = torch.zeros_like(ones, dtype=torch.bool) if effect is None else effect.fallen
    return {"mask": None if fallen is None else kept(~fallen.expand_as(out)), "scale": kept(scale)}


def _of_weights(layer: Dropout, effect: Effect | None) -> dict[str, Tensor | None]:
    """A corner of the weights and of their mask; nothing where weights are noisy but none falls."""
    if not layer.drops or not isinstance(layer, LayerDropout):
        return {}
    weight = layer.layer.weight.detach()
    fallen = None if effect is None else effect.fallen
    stays = torch.ones_like(weight, dtype=torch.bool) if fallen is None else ~fallen
    stays = stays.reshape(-1, len(weight), weight[0].numel())  # (1 or B, rows, columns)
    return {
        "weight": weight.flatten(1)[:ROWS, :COLUMNS].to("cpu", torch.float32, copy=True),
        "weight_mask": stays[:EXAMPLES, :ROWS, :COLUMNS].to("cpu", copy=True),
    }


def _wraps(layer: Dropout) -> bool:
    return isinstance(getattr(layer, "layer", None), nn.Module)


def _inside(layer: Dropout) -> bool:
    """Whether the noise acts on units within the layer's block, behind its activation."""
    return _wraps(layer) and layer.drops == "units"


def _on_weights(layer: Dropout) -> bool:
    return _wraps(layer) and layer.drops != "units"


def _layer_title(module: nn.Module, name: str) -> str:
    words = title(name)
    if isinstance(module, Dropout):
        return f"{words}, noise"
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return f"{words}, normalisation"
    return words


def _numbered(titles: list[str]) -> list[str]:
    """The same with a number behind those that are there more than once."""
    return [
        f"{words} ({titles[: place + 1].count(words)})" if titles.count(words) > 1 else words
        for place, words in enumerate(titles)
    ]
