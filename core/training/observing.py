"""Look on while a network trains: what enters and leaves each dropout layer, and the random numbers that it drew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from core.dropout import Dropout, Noise, dropouts

See = Callable[[int, Dropout, Tensor, Tensor, Noise | None], None]


@contextmanager
def observed(model: nn.Module, see: See) -> Iterator[None]:
    """Within it every training forward of a dropout layer calls ``see`` (index, layer, input, output, noise).

    Noise is None where the layer drew none, as at p = 0. Training itself is as if nobody looked.
    """
    with ExitStack() as stack:
        for index, layer in enumerate(dropouts(model)):
            stack.enter_context(_observed(index, layer, see))
        yield


@contextmanager
def _observed(index: int, layer: Dropout, see: See) -> Iterator[None]:
    drawn: list[Noise] = []
    draw, own = layer.draw, layer.__dict__.get("draw")

    def spy(x: Tensor) -> Noise:
        drawn.append(draw(x))
        return drawn[-1]

    def look(_: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> None:
        if layer.training:
            see(index, layer, inputs[0], out, drawn.pop() if drawn else None)

    object.__setattr__(layer, "draw", spy)
    handle = layer.register_forward_hook(look)
    try:
        yield
    finally:
        handle.remove()
        if own is None:
            object.__delattr__(layer, "draw")
        else:
            object.__setattr__(layer, "draw", own)


class Masks:
    """What the masks of one training step did, layer by layer, kept on the device until it is read."""

    NAMES = ("dropped", "active_dropped", "dead")

    def __init__(self) -> None:
        self._rows: dict[int, Tensor] = {}

    @torch.no_grad()
    def see(self, index: int, layer: Dropout, x: Tensor, out: Tensor, noise: Noise | None) -> None:
        """Take note of one layer; for :func:`observed`."""
        if layer.drops:
            self._rows[index] = statistics(layer, x, out, noise)

    def read(self) -> tuple[dict[str, float | None], ...]:
        """:data:`NAMES` → value for each layer in which something can fall; waits for the device."""
        if not self._rows:
            return ()
        rows = torch.stack(list(self._rows.values())).tolist()
        return tuple(
            {name: None if value != value else value for name, value in zip(self.NAMES, row, strict=True)}
            for row in rows
        )


def statistics(layer: Dropout, x: Tensor, out: Tensor, noise: Noise | None) -> Tensor:
    """(3,) of one forward: the share of units or weights that fell, of active units that fell, of dead examples.

    A unit is active where it is above 0, an example is dead where it leaves the layer without an active unit. The
    second is NaN where weights fall, or no unit is active.
    """
    dead = (out.flatten(1) <= 0).all(1).float().mean()
    none = torch.zeros_like(dead)
    fallen = None if noise is None else layer.fallen(x, noise)
    dropped = none if fallen is None else fallen.float().mean()
    if layer.drops == "weights":
        return torch.stack([dropped, none + torch.nan, dead])
    if fallen is None:
        return torch.stack([dropped, none, dead])
    active = layer.undisturbed(x) > 0
    return torch.stack([dropped, (fallen & active).float().sum() / active.float().sum(), dead])


def means(layers: tuple[dict[str, float | None], ...]) -> dict[str, float | None]:
    """The mean of each statistic over the layers that have it."""
    known = {name: [layer[name] for layer in layers] for name in Masks.NAMES}
    numbers = {name: [value for value in values if value is not None] for name, values in known.items()}
    return {name: sum(values) / len(values) if values else None for name, values in numbers.items()}
