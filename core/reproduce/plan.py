"""Which runs reproduce the paper (Gavier, section 4). The plan was fixed before any of its results was seen.

Networks and settings are the paper's, which are the defaults of :class:`core.config.Config`, in bf16; seeds 0, 1 and 2.
p is the network's own, save Standout, whose p is 0.5 as its bias is 0 there.

- *main*: no dropout and the eight techniques.
- *drop count*: DropAct, DropInv and DropCorr with either reading of the drop count and three ways to scale the
  survivors, without the pair (layer, none), which *main* has.
- *proposal*: what section 5 of the paper proposes, p alternating with 0 by epochs for the three, and a covariance that
  DropCorr estimates anew after 1, 2, 4, … epochs. Each is compared with its plain technique in *main*, at the same
  epoch, by validation accuracy in pairs of one seed.

MNIST: 5 epochs of *main*, 3 of the others. CIFAR-10: 100 epochs of all. All of *main* comes first, in each part all of
one seed before the next, so that a plan that ends early leaves comparisons that are whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from core.config import Config, ConfigError

DATASETS = ("mnist", "cifar10")
MAIN, DROP_COUNT, PROPOSAL = GROUPS = ("main", "drop count", "proposal")
SEEDS = (0, 1, 2)
PAPERS_OWN = ("dropact", "dropinv", "dropcorr")
TECHNIQUES = ("none", "standard", "dropconnect", "gaussian", "variational", "standout", *PAPERS_OWN)

EPOCHS: dict[str, dict[str, int]] = {
    "mnist": {MAIN: 5, DROP_COUNT: 3, PROPOSAL: 3},
    "cifar10": {MAIN: 100, DROP_COUNT: 100, PROPOSAL: 100},
}
PRECISION = "bf16"
# Five seconds between two points of a curve: what counts are the epochs.
RECORD_EVERY = 5.0


@dataclass(frozen=True)
class Variant:
    """A technique with what it is trained with; the other settings all variants of a data set share."""

    group: str
    technique: str
    p: float | None = None
    knobs: Mapping[str, Any] = field(default_factory=dict)
    schedule: str = Config.schedule
    refresh_epochs: float | None = Config.refresh_epochs
    refresh_growth: float = Config.refresh_growth

    def settings(self) -> dict[str, Any]:
        """What distinguishes it, as fields of :class:`Config`."""
        return {name: value for name, value in asdict(self).items() if name != "group"}


def variants() -> list[Variant]:
    """All variants, group by group."""
    main = [Variant(MAIN, name, p=0.5 if name == "standout" else None) for name in TECHNIQUES]
    drop_count = [
        Variant(DROP_COUNT, name, knobs=_without_defaults(count=count, rescale=rescale))
        for name in PAPERS_OWN
        for count in ("layer", "active")
        for rescale in ("none", "uniform", "mass")
        if (count, rescale) != ("layer", "none")
    ]
    alternating = [Variant(PROPOSAL, name, schedule="alternate") for name in PAPERS_OWN]
    lasting = Variant(PROPOSAL, "dropcorr", refresh_epochs=1.0, refresh_growth=2.0)
    return [*main, *drop_count, *alternating, lasting]


@dataclass(frozen=True)
class Plan:
    """The runs to be made for one of the paper's data sets: its whole plan, or a part of it.

    Attributes:
        dataset: "mnist" or "cifar10".
        folder: images to take in the place of the data set's own, as a re-encoding of CIFAR-10.
        epochs: of all groups; None for the plan's.
        techniques, groups: which of them.
        settings: others of :class:`Config`, as the device.
    """

    dataset: str
    folder: str | None = None
    seeds: Sequence[int] = SEEDS
    epochs: int | None = None
    techniques: Sequence[str] = TECHNIQUES
    groups: Sequence[str] = GROUPS
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def experiment(self) -> str:
        """The experiment that the runs belong to."""
        return experiment_of(self.dataset)

    def configs(self) -> list[Config]:
        """One config a run, in the order in which they are to be made; ConfigError where there is none."""
        chosen = [each for each in variants() if each.technique in self.techniques and each.group in self.groups]
        if not chosen:
            raise ConfigError(
                f"There is nothing to train: {', '.join(self.groups)} has no run of {', '.join(self.techniques)}."
            )
        first = [each for each in chosen if each.group == MAIN]
        later = [each for each in chosen if each.group != MAIN]
        return [self._config(each, seed) for part in (first, later) for seed in self.seeds for each in part]

    def _config(self, variant: Variant, seed: int) -> Config:
        epochs = self.epochs or EPOCHS[self.dataset][variant.group]
        given = {"precision": PRECISION, "record_every": RECORD_EVERY, **self.settings, **variant.settings()}
        data = self.folder or self.dataset
        return Config(dataset=data, network=self.dataset, seed=seed, epochs=epochs, **given).validated()


def experiment_of(dataset: str) -> str:
    """The name under which the runs for a data set are kept together."""
    return f"paper-{dataset}"


def variant_of(config: Mapping[str, Any]) -> Variant | None:
    """The variant that a run with this config is of; None for a run that is none of the plan's."""
    told = {name: config.get(name, getattr(_PLAIN, name)) for name in _PLAIN.settings()}
    told["knobs"] = _without_defaults(**told["knobs"])
    return next((each for each in variants() if each.settings() == told), None)


_PLAIN = Variant(MAIN, Config.technique)


def _without_defaults(**knobs: Any) -> dict[str, Any]:
    """Options that are spelled out although they are the default make no other variant."""
    plain = {"count": "layer", "rescale": "none"}
    return {name: value for name, value in knobs.items() if plain.get(name) != value}
