"""What the Covariance page asks of core about pairs of units, kept by all that it depends on."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor, nn

from app.keeping import kept_within
from app.networks import network
from core import data
from core.checkpoints import Checkpoint
from core.data import DataError, Dataset
from core.dropout import TECHNIQUES, DropCorr, Dropout, LayerDropout, dropouts
from core.inspection import Position, activations, positions
from core.inspection.covariance import (
    Indices,
    Matrix,
    Order,
    as_correlation,
    covariance,
    drift,
    last_refresh,
    order,
    spectrum,
    varying,
)
from core.inspection.together import (
    Agreement,
    CoDrop,
    Trend,
    agreement,
    co_drop,
    covariance_after,
    excess,
    sampled,
    trend,
)
from core.references import REFERENCE_IMAGES, block_outputs, fixed_order, noiseless, reference_images

FALLING, AROUND = "falling", "around"
WITHOUT_IMAGES = {
    "reference": ", and nothing else tells what enters the layer: put the data set there.",
    "test": ". Choose the training images instead: what they make of the layers comes with the network.",
}
DRAWS = 25
# Of a wider layer so many units are looked at: matrices of all pairs would not fit.
MOST_UNITS = 1024
# Of each of the six large results: eight matrices of so many units.
MOST_KEPT = 64 * 2**20


class UnavailableError(Exception):
    """Something that cannot be shown for what was chosen; the message is one sentence."""


@dataclass(frozen=True)
class Source:
    """Which activations are looked at.

    Attributes:
        net: the network's name, and ``stamp`` the state of its weights.
        position: of the dropout layer.
        batch: "reference" for the training images kept with the network, "test" for images it has not seen.
        epoch: index among the snapshots, None for the weights as they are.
        refresh: snapshots between two estimates of DropCorr's covariance.
    """

    net: str
    stamp: int
    position: int
    batch: str = "reference"
    epoch: int | None = None
    refresh: int = 1

    @property
    def estimated(self) -> "Source":
        """The activations of which DropCorr had its covariance."""
        return self if self.epoch is None else replace(self, epoch=last_refresh(self.epoch, self.refresh))


@dataclass(frozen=True)
class Shown:
    """All that the page was asked to show.

    Attributes:
        view: :data:`FALLING` or :data:`AROUND`.
        measure: "covariance" or "correlation".
        order: of the units.
        excess: whether falling together is counted beyond chance.
        one_scale: whether matrices in the same unit share their colours.
    """

    source: Source
    techniques: tuple[str, ...]
    p: float
    view: str
    measure: str
    order: Order
    excess: bool
    one_scale: bool


@lru_cache(maxsize=8)
def places(net: str, stamp: int) -> list[Position]:
    """Where dropout acts in a network."""
    found = network(net, stamp)
    return positions(noiseless(found.architecture, found.weights), torch.zeros(1, *found.shape))


@kept_within(MOST_KEPT)
def clean(source: Source) -> Tensor:
    """What enters an activation-type dropout layer there, without noise: (R, *units). UnavailableError."""
    net = network(source.net, source.stamp)
    if source.batch == "reference" and source.epoch is not None:
        return net.snapshots.activations(source.epoch, source.position)
    if source.batch == "reference" and net.references:
        return net.references[source.position]
    return block_outputs(noiseless(net.architecture, net.weights), images(net, source.batch))[source.position]


def images(net: Checkpoint, batch: str) -> Tensor:
    """The normalised images behind a batch (R, C, H, W). UnavailableError where the data set is not on this machine."""
    found = dataset(net.dataset)
    if found is None or found.shape != net.shape:
        raise UnavailableError(f"The images of {net.title} are not on this machine{WITHOUT_IMAGES[batch]}")
    if batch == "reference":
        return net.normalise(reference_images(found))
    return net.normalise(found.test.x[fixed_order(len(found.test))[:REFERENCE_IMAGES]])


@lru_cache(maxsize=2)
def dataset(name: str) -> Dataset | None:
    """The data set where it is on disk."""
    try:
        return data.load(name, download=False)
    except DataError:
        return None


@lru_cache(maxsize=16)
def units(source: Source) -> Indices:
    """The flat indices of the units looked at: all, or a fixed choice of :data:`MOST_UNITS`."""
    count = clean(source)[0].numel()
    chosen = np.arange(count)
    return chosen if count <= MOST_UNITS else np.sort(np.random.default_rng(0).permutation(chosen)[:MOST_UNITS])


@kept_within(MOST_KEPT)
def before(source: Source) -> Matrix:
    """Covariance of the units looked at, without noise."""
    return covariance(looked_at(source))


@kept_within(MOST_KEPT)
def after(source: Source, technique: str, p: float) -> Matrix:
    """Their covariance behind a technique in training. UnavailableError."""
    layer, x = placed(source, technique, p)
    return covariance_after(layer, x, DRAWS, units(source))


@kept_within(MOST_KEPT)
def falling(source: Source, technique: str, p: float) -> CoDrop:
    """How often they fall together. UnavailableError."""
    if TECHNIQUES[technique].drops != "units":
        what = "drops weights, not units" if TECHNIQUES[technique].drops else "multiplies units and drops none"
        raise UnavailableError(f"{TECHNIQUES[technique].title} {what}. “Before and after” shows what it does.")
    layer, x = placed(source, technique, p)
    return co_drop(layer, x, DRAWS, units(source))


@kept_within(MOST_KEPT)
def beyond_chance(source: Source, technique: str, p: float) -> Matrix:
    """How much more often they fall together than if each fell on its own. UnavailableError."""
    return excess(falling(source, technique, p).frequency)


@lru_cache(maxsize=64)
def agreed(source: Source, technique: str, p: float, measure: str) -> Agreement:
    """How falling together agrees with the "covariance", the "correlation" or the covariance "after" dropout."""
    other = varying(after(source, technique, p)) if measure == "after" else related(source, measure)
    return agreement(other, falling(source, technique, p).frequency)


@lru_cache(maxsize=64)
def trend_of(source: Source, technique: str, p: float, measure: str) -> Trend:
    """How often pairs fall together over their "covariance" or "correlation"."""
    return trend(related(source, measure), falling(source, technique, p).frequency)


def related(source: Source, measure: str) -> Matrix:
    """Their "covariance" or "correlation", NaN for units that never change."""
    return varying(before(source)) if measure == "covariance" else correlated(source)


@kept_within(MOST_KEPT)
def correlated(source: Source) -> Matrix:
    """Correlation of the units looked at, without noise."""
    return as_correlation(before(source))


@kept_within(MOST_KEPT)
def sampled_correlation(source: Source) -> Matrix:
    """Correlation of the samples by which DropCorr ranks the units looked at; NaN where :func:`correlated` is."""
    layer, x = placed(source, "dropcorr", 0.5)
    assert isinstance(layer, DropCorr)
    found = as_correlation(sampled(layer, x, DRAWS, units(source)))
    return np.where(np.isnan(correlated(source)), np.nan, found)


@lru_cache(maxsize=16)
def ordered(source: Source, by: Order) -> Indices:
    """An order of the units looked at, by the weights as they are: it stays while epochs pass."""
    return order(looked_at(replace(source, epoch=None)), by)


@lru_cache(maxsize=64)
def eigenvalues(source: Source, technique: str | None, p: float) -> Matrix:
    """Variances along the directions of the covariance before (None) or after a technique, largest first."""
    if technique is None:
        return spectrum(looked_at(source))
    return np.linalg.eigvalsh(after(source, technique, p))[::-1]


@lru_cache(maxsize=16)
def drifting(net: str, stamp: int, position: int, refresh: int) -> Matrix:
    """How far the covariance has moved since its last refresh, for each snapshot."""
    snapshots = network(net, stamp).snapshots
    return drift([snapshots.activations(e, position) for e in range(len(snapshots))], refresh)


def looked_at(source: Source) -> Tensor:
    """The activations of the units looked at: (R, M)."""
    return clean(source).flatten(1)[:, torch.from_numpy(units(source))]


def placed(source: Source, technique: str, p: float) -> tuple[Dropout, Tensor]:
    """The dropout layer of ``technique`` at the position with this p, and what it is given there. UnavailableError."""
    net = network(source.net, source.stamp)
    model = net.model(None if technique == net.technique else technique, p)
    layer = dropouts(model)[source.position]
    layer.turn_to(p)
    if isinstance(layer, LayerDropout) and hasattr(layer, "layer"):
        return layer, given_to_wrapper(net, model, source, layer)
    if isinstance(layer, DropCorr):
        layer.set_reference(clean(source.estimated))
    return layer, clean(source)


def given_to_wrapper(net: Checkpoint, model: nn.Module, source: Source, layer: LayerDropout) -> Tensor:
    """The input of a layer that a technique wraps, which only images tell. UnavailableError."""
    if source.epoch is not None and source.epoch != len(net.snapshots) - 1:
        raise UnavailableError(
            f"{layer.title} acts inside its layer, and earlier epochs kept activations only: choose the last epoch."
        )
    try:
        x = activations(model, images(net, source.batch), source.position)
    except UnavailableError as reason:
        raise UnavailableError(f"{layer.title} acts inside its layer. {reason}") from None
    with torch.no_grad():
        given = layer.undisturbed(x[:1])[0].numel()
    if given != clean(source)[0].numel():
        raise UnavailableError(f"{layer.title} acts before normalisation and pooling here, on other units than these.")
    return x
