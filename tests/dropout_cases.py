"""The one list of what the laws are tested on: every technique, with every option, on every kind of input.

A new technique is one line in LINES; everything else here follows from it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

import core.dropout

SHAPES: dict[str, tuple[int, ...]] = {"flat": (12, 30), "map": (4, 3, 5, 4), "tokens": (5, 4, 6)}

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(12, 7), (16, 12)),
    "linear-tokens": (lambda: nn.Linear(6, 5, bias=False), (5, 4, 6)),
    "conv": (lambda: nn.Conv2d(4, 6, 3, padding=1), (5, 4, 7, 6)),
    "conv-strided": (
        lambda: nn.Conv2d(4, 6, 3, stride=2, padding=(2, 1), dilation=2, groups=2, bias=False),
        (5, 4, 9, 8),
    ),
    "conv-reflect": (lambda: nn.Conv2d(4, 6, 3, padding=(1, 2), padding_mode="reflect"), (5, 4, 7, 6)),
    "conv-circular": (lambda: nn.Conv2d(4, 6, (3, 2), padding="same", padding_mode="circular"), (5, 4, 7, 6)),
}

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}


@dataclass(frozen=True)
class Line:
    """A technique, the values of its options that are combined with one another, and what holds for it."""

    name: str
    options: Mapping[str, tuple[Any, ...]]
    on: tuple[str, ...] = tuple(SHAPES)
    score: str = ""  # "race" or "correlation": an exact number of units falls
    binary: bool = True  # the factors are 0 or a positive scale
    learns: bool = False  # has parameters of its own


WRAPPING = tuple(LAYERS)
COUNTS = ("layer", "active")
RESCALES = ("none", "uniform", "mass")

LINES = (
    Line("standard", {"vanilla": (False, True)}),
    Line("gaussian", {}, binary=False),
    Line("variational", {"kl": ("molchanov", "kingma")}, binary=False, learns=True),
    Line("variational", {"units": (30,)}, on=("flat",), binary=False, learns=True),
    Line("variational", {"per": ("layer", "input", "weight")}, on=WRAPPING, binary=False, learns=True),
    Line("variational", {"kl": ("kingma",), "per": ("weight",)}, on=("linear", "conv"), binary=False, learns=True),
    Line("dropact", {"count": COUNTS, "rescale": (*RESCALES, "unbiased")}, score="race"),
    Line("dropinv", {"count": COUNTS, "rescale": (*RESCALES, "unbiased")}, score="race"),
    Line("dropact", {"rescale": ("unbiased",), "clamp": (1.5, math.inf)}, on=("flat",), score="race"),
    Line("dropinv", {"rescale": ("unbiased",), "clamp": (1.5, math.inf)}, on=("flat",), score="race"),
    Line("dropcorr", {"count": COUNTS, "rescale": RESCALES}, score="correlation"),
    Line("dropcorr", {"refresh_every": (2,), "count": COUNTS}, score="correlation"),
    Line("dropcorr", {"rescale": ("mass",), "clamp": (1.5,)}, on=("flat",), score="correlation"),
    Line("dropconnect", {"mask": ("batch", "example"), "activation": ("relu",)}, on=WRAPPING),
    Line("dropconnect", {"mask": ("batch", "example"), "activation": ("none", "tanh")}, on=("linear", "conv")),
    Line("dropconnect", {"draws": (0, 3), "activation": ("relu",)}, on=("linear", "conv")),
    Line("standout", {"learn": (False, True), "activation": ("relu",)}, on=WRAPPING),
    Line("standout", {"alpha": (0.0, 2.0), "beta": (0.3,), "learn": (False, True)}, on=("linear", "conv")),
)


@dataclass(frozen=True)
class Case:
    """One technique with one choice of options on one kind of input."""

    line: Line = field(repr=False)
    options: Mapping[str, Any]
    on: str

    def __str__(self) -> str:
        chosen = ",".join(f"{k}={v}" for k, v in self.options.items())
        return f"{self.line.name}({chosen})-{self.on}"

    @property
    def name(self) -> str:
        return self.line.name

    @property
    def wraps(self) -> bool:
        return self.on in LAYERS

    @property
    def shape(self) -> tuple[int, ...]:
        return LAYERS[self.on][1] if self.wraps else SHAPES[self.on]

    @property
    def learns(self) -> bool:
        """Has parameters of its own beside those of a layer."""
        return self.line.learns or bool(self.options.get("learn"))

    @property
    def random_eval(self) -> bool:
        return bool(self.options.get("draws"))

    @property
    def eval_is_input(self) -> bool:
        """The table's eval column says x."""
        return not self.wraps and not self.options.get("vanilla")

    def layer(self) -> nn.Module:
        """The layer that is wrapped, with the same weights at each call."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            return LAYERS[self.on][0]()

    def activation(self) -> nn.Module:
        return ACTIVATIONS.get(self.options.get("activation", "none"), nn.Identity)()

    def build(self, p: float = 0.4, package: ModuleType = core.dropout, **more: Any) -> nn.Module:
        """The technique in training mode, from `package` (a copy of core.dropout, perhaps)."""
        options = {**self.options, **more}
        if options.get("activation") in ACTIVATIONS:
            options["activation"] = ACTIVATIONS[options["activation"]]()
        elif "activation" in options:
            del options["activation"]
        wrapped = (self.layer(),) if self.wraps else ()
        module: nn.Module = package.TECHNIQUES[self.name](*wrapped, p=p, **options)
        return module.train()

    def input(self, seed: int = 3, dtype: torch.dtype = torch.float32) -> Tensor:
        """Activations as after a ReLU (about half of them 0); signed for the techniques that wrap a layer."""
        x = torch.randn(self.shape, generator=torch.Generator().manual_seed(seed))
        return (x if self.wraps else x.relu()).to(dtype)


def combinations(line: Line) -> Iterator[dict[str, Any]]:
    for values in itertools.product(*line.options.values()):
        yield dict(zip(line.options, values, strict=True))


CASES = [Case(line, options, on) for line in LINES for options in combinations(line) for on in line.on]


def factors(module: nn.Module, x: Tensor) -> Tensor:
    """What the module multiplied each unit of x by, units of value 0 included: the gradient of the output's sum."""
    leaf = x.detach().clone().requires_grad_()
    (gradient,) = torch.autograd.grad(module(leaf).float().sum(), leaf)
    return gradient


def dropped(module: nn.Module, x: Tensor) -> Tensor:
    """Boolean (B, units): which units fell in one forward of a ranked or Bernoulli technique."""
    return (factors(module, x) == 0).flatten(1)
