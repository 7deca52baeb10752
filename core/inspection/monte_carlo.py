"""Monte Carlo dropout: one image through a network many times, with dropout acting, and how far the answers differ.

Gal & Ghahramani 2016, Dropout as a Bayesian approximation, arXiv:1506.02142. Doubt is split as in Houlsby et al. 2011,
arXiv:1112.5745: H[E p] = E H[p] + I, the doubt of all passes together is that within passes plus that between them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from core.dropout import DropConnect, DropCorr, Dropout, Effect, dropouts
from core.inspection.fields import own_noise, repeated
from core.inspection.models import layer_at, untouched

_KINGMA = "Kingma et al. 2015", "https://arxiv.org/abs/1506.02557"
POSTERIOR = {
    "standard": ("Gal & Ghahramani 2016", "https://arxiv.org/abs/1506.02142"),
    "dropconnect": ("Mobiny et al. 2019", "https://arxiv.org/abs/1906.04569"),
    "gaussian": _KINGMA,
    "variational": _KINGMA,
}
"""Techniques whose passes approximate a posterior, in a network that was trained with them, and the paper that shows
it: see :func:`monte_carlo`."""
IMPROPER = ("gaussian", "variational")
"""Those of them whose posterior rests on an improper prior."""
BY_ACTIVATION = ("standout", "dropact", "dropinv", "dropcorr")
"""Techniques whose masks depend on the activations."""

# Of one part of the passes: numbers at a dropout layer, which bound memory and fit a cache, and passes.
MOST_NUMBERS, MOST_ROWS = 1_000_000, 1024


@dataclass(frozen=True, eq=False)
class Answers:
    """What T passes answered: ``probabilities`` (T, K) float64 of K classes, on the CPU. Entropies are in bits."""

    probabilities: Tensor

    @property
    def mean(self) -> Tensor:
        """(K,) the probabilities averaged over the passes."""
        return self.probabilities.mean(0)

    @property
    def says(self) -> Tensor:
        """(T,) the class that each pass finds likeliest."""
        return self.probabilities.argmax(1)

    @property
    def votes(self) -> Tensor:
        """(K,) in how many passes each class is the likeliest."""
        return self.says.bincount(minlength=self.probabilities.shape[1])

    @property
    def predictive_entropy(self) -> float:
        """H[E p], the entropy of the mean answer, in bits: 0 to log2 K."""
        return float(entropy(self.mean))

    @property
    def expected_entropy(self) -> float:
        """E H[p], the mean entropy of a pass, in bits: doubt that would be there if all passes agreed."""
        return float(entropy(self.probabilities).mean())

    @property
    def mutual_information(self) -> float:
        """H[E p] - E H[p], in bits: doubt that comes from the noise, 0 if all passes agree."""
        return max(0.0, self.predictive_entropy - self.expected_entropy)

    @property
    def distance(self) -> Tensor:
        """(T,) total variation between each pass and the mean, ½ Σ|p - E p|: 0 to 1."""
        return (self.probabilities - self.mean).abs().sum(1) / 2

    def quantiles(self, *levels: float) -> Tensor:
        """(len(levels), K): below which probability a class stays in that share of the passes."""
        return self.probabilities.quantile(torch.tensor(levels, dtype=self.probabilities.dtype), dim=0)

    def outliers(self, n: int) -> list[int]:
        """The n passes whose answers lie furthest from the mean, the furthest first; all of them if T < n."""
        order: list[int] = self.distance.argsort(descending=True, stable=True)[:n].tolist()
        return order

    @property
    def typical(self) -> int:
        """The pass whose answer lies nearest to the mean."""
        return int(self.distance.argmin())


@dataclass(frozen=True, eq=False)
class MonteCarlo(Answers):
    """T passes of one image; N units of the layer that was looked at.

    Attributes:
        technique: name of that layer's.
        units: shape of its units, (N,) or (C, H, W).
        activation: (T, N) the units as this layer's noise met them: those of a layer behind others differ by pass.
        fallen: (T, N) bool, True where a unit fell; None where no unit can.
        factor: (T, N) what units that stayed are multiplied by. Where weights fall, or have noise, it is how each unit
            came out of that; 1 for units at rest, which may come to life then.
    """

    technique: str
    units: tuple[int, ...]
    activation: Tensor
    fallen: Tensor | None
    factor: Tensor


def entropy(p: Tensor) -> Tensor:
    """Σ -p·log2 p over the last axis, in bits; 0·log 0 = 0."""
    bits: Tensor = -torch.special.xlogy(p, p).sum(-1) / math.log(2)
    return bits


def monte_carlo(
    model: nn.Module, x: Tensor, *, passes: int = 200, p: float | None = None, seed: int = 0, position: int = 0
) -> MonteCarlo:
    """The answers of ``passes`` forwards of one image, each with random numbers of its own at every dropout layer.

    Only the dropout layers act as in training; BatchNorm and all else stay in eval, and the model is left as it was.
    DropConnect draws one weight mask a pass. DropCorr uses its reference; without one, or a kept covariance, an image
    alone has none, and units fall uniformly.

    What the spread means: under Standard dropout and DropConnect, in a network trained with the same technique and p,
    passes sample an approximate posterior over weights (Gal & Ghahramani 2016, section 3; DropConnect: Mobiny et al.,
    arXiv:1906.04569), under Gaussian and Variational so in Kingma et al. 2015, though with an improper prior, so that
    the true posterior may not exist (Hron et al. 2018, arXiv:1807.01969). Under Standout, DropAct, DropInv and
    DropCorr masks depend on the activations, so that there is no distribution over weights behind them; that, and any
    technique that the network was not trained with, is just noise, and the spread says how much the answer depends on
    it.

    Args:
        x: (1, …), one input of the model.
        p: for every dropout layer, set by ``turn_to``; None keeps each layer's own.
        position: of the dropout layer whose doings are kept, T·N numbers.

    Raises:
        ValueError: for fewer than one pass, more than one input, or p out of range.
        IndexError: where there is no such dropout layer.
    """
    if passes < 1 or len(x) != 1:
        raise ValueError(f"Monte Carlo makes 1, 2, … passes of one input, not {passes} of {len(x)}.")
    watched = layer_at(model, position)
    with untouched(model), own_noise(model):
        model.eval()
        rows = rows_at_once(model, x)
        for layer in dropouts(model):
            if p is not None:
                layer.turn_to(p)
            layer.training = layer is not watched  # of the layer alone, not of what it wraps
        torch.manual_seed(seed)
        sizes = [min(rows, passes - start) for start in range(0, passes, rows)]
        doing = _gathered((_some_passes(model, watched, x, size) for size in sizes), passes)
    return MonteCarlo(
        probabilities=doing.probabilities.double(),
        technique=watched.name,
        units=tuple(doing.activation.shape[1:]),
        activation=doing.activation.flatten(1),
        fallen=doing.fallen.flatten(1) if watched.drops == "units" else None,
        factor=doing.factor.flatten(1),
    )


def rows_at_once(model: nn.Module, x: Tensor) -> int:
    """How many passes make one part, by the most numbers that a dropout layer needs for a pass."""
    needed: list[int] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        weights = layer.layer.weight.numel() if isinstance(layer, DropConnect) else 0
        needed.append(max(inputs[0].numel(), weights))

    with _removed_after([layer.register_forward_pre_hook(note) for layer in dropouts(model)]):
        model(x)
    return max(1, min(MOST_ROWS, MOST_NUMBERS // max(needed)))


class _Doing(NamedTuple):
    """Answers of M passes (M, K), and what noise did to a layer in them, (M, *units), as in :class:`MonteCarlo`."""

    probabilities: Tensor
    activation: Tensor
    fallen: Tensor
    factor: Tensor


def _some_passes(model: nn.Module, watched: Dropout, x: Tensor, size: int) -> _Doing:
    """``size`` passes in one forward; what lies before the first dropout layer runs once for all of them."""
    seen: list[tuple[Tensor, Tensor, Tensor]] = []

    def multiply(layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        rows = repeated(inputs[0], size) if len(inputs[0]) == 1 else inputs[0]
        if isinstance(layer, DropCorr) and layer.reference is None:
            root = layer.kept_root()
            # Other passes are no batch to take a covariance from.
            layer.reference = rows.new_zeros(1, rows[0].numel()) if root is None else root
        return (rows,)

    def act(_layer: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> Tensor:
        y, did = _disturb(watched, inputs[0])
        seen.append(did)
        return y

    hooks = [layer.register_forward_pre_hook(multiply) for layer in dropouts(model)]
    with _removed_after([*hooks, watched.register_forward_hook(act)]):
        logits: Tensor = model(x)
    return _Doing(logits.float().softmax(1).cpu(), *seen[0])


def _disturb(layer: Dropout, x: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor]]:
    """The layer's training forward on x (M, …), by its own two halves; and the units, which fell, and their factors."""
    clean = repeated(layer.undisturbed(x[:1]), len(x)) if x.stride(0) == 0 else layer.undisturbed(x)
    if layer.p == 0.0:
        y, effect = clean, Effect(None, clean.new_ones(()))
    else:
        noise = layer.draw(x)
        y = layer.perturb(x, noise)
        effect = layer.effect(x, noise) if layer.drops != "weights" else Effect(None, _ratio(y, clean))
    fallen = torch.zeros((), dtype=torch.bool, device=x.device) if effect.fallen is None else effect.fallen
    shape = clean.shape
    return y, (clean.float().cpu(), fallen.expand(shape).cpu(), effect.factor.float().expand(shape).cpu())


def _ratio(y: Tensor, clean: Tensor) -> Tensor:
    return torch.where(clean != 0, y / clean, 1.0)


def _gathered(parts: Iterator[_Doing], passes: int) -> _Doing:
    """Parts as one of all T passes, without a copy where one row stands for all.

    Copied into one place, because small tensors that stay between large ones that go would keep the memory of those.
    """
    first = next(parts)
    whole = _Doing(*(_room(part, passes) for part in first))
    start = 0
    for doing in itertools.chain([first], parts):
        for room, part in zip(whole, doing, strict=True):
            if room.stride(0) != 0:
                room[start : start + len(part)] = part
        start += len(doing.probabilities)
    return whole


def _room(part: Tensor, passes: int) -> Tensor:
    if part.stride(0) == 0:
        return repeated(part[:1], passes)
    return part.new_empty(passes, *part.shape[1:])


@contextmanager
def _removed_after(hooks: Sequence[RemovableHandle]) -> Iterator[None]:
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
