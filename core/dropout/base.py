"""What every dropout technique shares: a checked p, knobs that describe the options, and one way to add noise.

A technique splits its training forward in two: :meth:`Dropout.draw` takes the random numbers, :meth:`Dropout.perturb`
is a pure function of input, random numbers and p. Reusing one draw at several p gives coupled masks, and they are the
layer's own.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

Noise = tuple[Tensor, ...]


@dataclass(frozen=True)
class Knob:
    """One option of a technique: its constructor keyword, default, allowed values and a sentence of help.

    ``choices`` lists the allowed words; otherwise a bool default is a switch, and numbers lie in [``low``, ``high``].
    ``optional`` allows None. ``attribute`` names the attribute where it differs from the keyword. ``structural`` knobs
    decide which parameters a layer has, so they cannot change once it is built.
    """

    name: str
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    step: float | None = None
    integer: bool = False
    optional: bool = False
    attribute: str = ""
    structural: bool = False

    @property
    def field(self) -> str:
        """The attribute of the layer that holds the value."""
        return self.attribute or self.name

    def check(self, value: Any) -> None:
        """Raise ValueError, with the value and what is allowed, unless ``value`` fits."""
        if (value is None and self.optional) or isinstance(value, Tensor):
            return
        if self.choices:
            if value not in self.choices:
                raise ValueError(f"{self.name} must be one of {', '.join(map(repr, self.choices))}, got {value!r}")
        elif isinstance(self.default, bool):
            if not isinstance(value, bool):
                raise ValueError(f"{self.name} must be True or False, got {value!r}")
        elif not self._fits(value):
            kind = "a whole number" if self.integer else "a number"
            raise ValueError(f"{self.name} must be {kind}{self._range()}, got {value!r}")

    def checked(self, value: Any) -> Any:
        """``value`` if it fits, a whole number as an int; ValueError otherwise."""
        self.check(value)
        return int(value) if self.integer and value is not None and not isinstance(value, Tensor) else value

    def _fits(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, Real) or math.isnan(number := float(value)):
            return False
        if self.integer and not number.is_integer():
            return False
        return (self.low is None or number >= self.low) and (self.high is None or number <= self.high)

    def _range(self) -> str:
        if self.low is not None and self.high is not None:
            return f" from {self.low:g} to {self.high:g}"
        return f" of at least {self.low:g}" if self.low is not None else ""


class Effect(NamedTuple):
    """What one draw does to each unit, or to each weight where :attr:`Dropout.drops` says so; for showing it.

    Attributes:
        fallen: bool, True where it fell; None where nothing can fall.
        factor: what units are multiplied by, if they stay; broadcastable to the units.
        score: the number on which it was decided, as :attr:`Dropout.worked` names it; None where there is none.
        threshold: the number that ``score`` was held against, broadcastable to it.
    """

    fallen: Tensor | None
    factor: Tensor
    score: Tensor | None = None
    threshold: Tensor | None = None


def probability(p: Any, owner: str) -> float:
    """``p`` as a float in [0, 1]; ValueError names ``owner`` and the value otherwise."""
    if isinstance(p, Tensor) and p.numel() == 1:
        p = p.item()
    if not isinstance(p, Real) or not 0.0 <= float(p) <= 1.0:
        raise ValueError(f"{owner}: p is the probability of dropping and must lie in [0, 1], got {p!r}")
    return float(p)


class Dropout(_DropoutNd):
    """Base of all techniques; a subclass of torch's own dropout base, so that libraries find it.

    A subclass with a ``name`` enters :data:`TECHNIQUES` and brings what the app shows of it.

    Args:
        p: probability of dropping, 0 ≤ p ≤ 1, checked here and at every assignment.
        inplace: accepted for compatibility with :class:`torch.nn.Dropout`; the input is never overwritten.
    """

    name: ClassVar[str] = ""
    title: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    url: ClassVar[str] = ""
    mechanism: ClassVar[str] = ""
    formula: ClassVar[str] = ""
    cost: ClassVar[str] = ""
    """What a training forward takes besides the layer's own work, in words."""
    worked: ClassVar[str] = "y = {x} · {factor} = {y}"
    """The formula with one unit's numbers: {x}, {score}, {sign}, {cut}, {factor}, {y}, {kept}, {weights}."""
    falls_when: ClassVar[str] = ""
    """How the score of what falls stands to the threshold: <, ≤, ≥ or >; empty where nothing falls."""
    drops: ClassVar[str] = ""
    """What falls: "units", "weights", or "" where a factor is all there is."""
    knobs: ClassVar[tuple[Knob, ...]] = ()
    private_knobs: ClassVar[tuple[Knob, ...]] = ()
    """Options that one value cannot serve at every position of a network: for the constructor alone."""
    wraps_layer: ClassVar[bool] = False

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__(probability(p, type(self).__name__), inplace)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" in cls.__dict__:
            TECHNIQUES[cls.name] = cls

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "p":
            value = probability(value, type(self).__name__)
        else:
            for knob in (*self.knobs, *self.private_knobs):
                if knob.field == name:
                    value = knob.checked(value)
        super().__setattr__(name, value)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, *units), or (N,) for one example, to the same shape: noisy in training, :meth:`expect` in eval."""
        if not self.training:
            return self.expect(x)
        if self.p == 0.0 or x.numel() == 0:
            return x
        return self.perturb(x, self.draw(x))

    def draw(self, x: Tensor) -> Noise:
        """The random numbers of one training forward on ``x``, from torch's global generator."""
        raise TypeError(f"{type(self).__name__} does not say what it draws")

    def perturb(self, x: Tensor, noise: Noise) -> Tensor:
        """The training output for ``x`` under these random numbers at the present p: deterministic."""
        raise TypeError(f"{type(self).__name__} does not say how it perturbs")

    def expect(self, x: Tensor) -> Tensor:
        """The evaluation output."""
        return x

    def undisturbed(self, x: Tensor) -> Tensor:
        """The units as they are without any noise: what :meth:`perturb` gives at p = 0."""
        return x

    def effect(self, x: Tensor, noise: Noise) -> Effect:
        """What these random numbers do to each unit at the present p; here read off from input and output."""
        clean = self.undisturbed(x)
        return Effect(None, torch.where(clean != 0, self.perturb(x, noise) / clean, 1.0))

    def fallen(self, x: Tensor, noise: Noise) -> Tensor | None:
        """What falls under these random numbers at the present p, as in :meth:`effect`."""
        return self.effect(x, noise).fallen

    def falls_at(self, x: Tensor, noise: Noise, ps: Sequence[float]) -> Tensor:
        """Index of the first of the ascending ``ps`` at which each unit (or weight) falls, len(ps) where at none.

        Each p is set by :meth:`turn_to`, and the layer left as it was. Right wherever a larger p only adds to what
        falls, as it does in every technique here.
        """
        return self._first_fall(lambda: self.effect(x, noise).fallen, ps)

    def _first_fall(self, fallen: Callable[[], Tensor | None], ps: Sequence[float]) -> Tensor:
        before, learned = self.p, [(q, q.detach().clone()) for q in self.noise_parameters()]
        at = torch.zeros((), dtype=torch.long)
        try:
            for p in ps:
                self.turn_to(p)
                mask = fallen()
                # p = 0 is the identity, whatever a formula says there.
                at = at + (1 if mask is None else (~mask | (p == 0)).long())
        finally:
            self.p = before
            with torch.no_grad():
                for parameter, value in learned:
                    parameter.copy_(value)
        return at

    def turn_to(self, p: float) -> None:
        """Set p for a look at what it does: what is learned but starts from p starts there again."""
        self.p = p

    def noise_parameters(self) -> Iterator[nn.Parameter]:
        """Learned parameters of the noise: to be trained without weight decay."""
        return iter(())

    @classmethod
    def place(
        cls, layer: nn.Module, activation: nn.Module, after: Sequence[nn.Module], p: float, **knobs: Any
    ) -> nn.Module:
        """A network block with this technique in it; here: layer, activation, ``after``, and the noise at the end."""
        return block(layer, activation, after, cls(p, **knobs))

    def extra_repr(self) -> str:
        parts = [f"p={self.p:g}"]
        for knob in (*self.knobs, *self.private_knobs):
            value = getattr(self, knob.field, knob.default)
            if isinstance(value, Tensor) or value != knob.default:
                parts.append(f"{knob.name}={value.item():.4g}" if isinstance(value, Tensor) else f"{knob.name}={value}")
        return ", ".join(parts)


TECHNIQUES: dict[str, type[Dropout]] = {}


def block(
    layer: nn.Module, activation: nn.Module | None, after: Sequence[nn.Module], dropout: nn.Module | None
) -> nn.Module:
    """Layer, activation, what follows, noise, in this order; the names are the same for every technique."""
    parts: OrderedDict[str, nn.Module] = OrderedDict(layer=layer)
    if activation is not None:
        parts["activation"] = activation
    if after:
        parts["after"] = nn.Sequential(*after)
    if dropout is not None:
        parts["dropout"] = dropout
    return nn.Sequential(parts)


def gaussian_variance(p: float) -> float:
    """α = p / (1 - p), the variance of inverted dropout's factor m / (1 - p); infinite at p = 1."""
    return p / (1.0 - p) if p < 1.0 else math.inf


def first_above(u: Tensor, ps: Sequence[float]) -> Tensor:
    """Index of the first of the ascending ``ps`` above ``u``, elementwise; len(ps) where there is none."""
    return torch.bucketize(u, torch.tensor(ps, dtype=u.dtype, device=u.device), right=True)


def zeros_from(x: Tensor) -> Tensor:
    """Zeros like ``x`` that stay part of its graph, with zero gradients."""
    return x.masked_fill(torch.ones((), dtype=torch.bool, device=x.device), 0)


def multiply_mask(x: Tensor, keep: Tensor) -> Tensor:
    """``x`` times the bool ``keep``: as bytes, which a CPU multiplies twice as fast; backward keeps just these."""
    return x * keep.view(torch.uint8)


def scale_by(x: Tensor, factor: Tensor) -> Tensor:
    """``x`` times ``factor``, in the dtype of ``x``."""
    return x * factor.to(x.dtype)
