"""Which runs reproduce the paper (Gavier, section 4). The plan was fixed before any of its results was seen.

Networks and settings are the paper's, which are the defaults of :class:`core.config.Config`; seeds 0, 1 and 2. Runs are
computed in bf16 where the device has instructions for it, else in fp32: never both among those of one seed. (At first
bf16 alone; that was widened after seed 0 and five runs of seed 1 on MNIST had been seen, for a processor without it. On
that one *main* of seeds 1 and 2 ran in fp32, and was seen; these runs gave way to the planned ones in bf16 on a
processor that has it, where seed 0 ran once more, so that all times are of one machine.)
p is the network's own, save Standout, whose p is 0.5 as its bias is 0 there.

- *main*: no dropout and the eight techniques, the paper's three at its word (:data:`LITERAL`).
- *drop count*: DropAct, DropInv and DropCorr with either reading of the drop count and three ways to scale the
  survivors, without the literal pair, which *main* has.
- *proposal*: what section 5 of the paper proposes, p alternating with 0 by epochs for the three, and a covariance that
  DropCorr estimates anew after 1, 2, 4, … epochs. Each is compared with its plain technique in *main*, at the same
  epoch, by validation accuracy in pairs of one seed.

MNIST: 5 epochs of *main*, 3 of the others. CIFAR-10: 100 epochs of all. All of *main* comes first, in each part all of
one seed before the next, so that a plan that ends early leaves comparisons that are whole.

Where there is no GPU, CIFAR-10 (JPEG) answers one question alone: whether the literal drop count trains that network.
The paper's three of *main* and *drop count*, 3 epochs, seed 0 first, DropAct and DropInv before DropCorr. (Known
before: one epoch of DropAct by either count, 10.0 and 32.5 % of the test set.) After seed 0 of these two had been seen,
seeds 1 and 2 were chosen for what decides, either count without rescaling.
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
COUNTS = ("layer", "active")
RESCALES = ("none", "uniform", "mass")
LITERAL = {"count": "layer", "rescale": "none"}
"""The paper at its word: k of all units, of which only active ones can fall, and survivors as they are."""
DEFAULTS = {name: {"count": "active" if name != "dropcorr" else "layer", "rescale": "none"} for name in PAPERS_OWN}
"""What the layers do where nothing is said; spelled out here, as to import them takes torch."""
TECHNIQUES = ("none", "standard", "dropconnect", "gaussian", "variational", "standout", *PAPERS_OWN)

EPOCHS: dict[str, dict[str, int]] = {
    "mnist": {MAIN: 5, DROP_COUNT: 3, PROPOSAL: 3},
    "cifar10": {MAIN: 100, DROP_COUNT: 100, PROPOSAL: 100},
}
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
    at_its_word = dict.fromkeys(PAPERS_OWN, LITERAL)
    main = [
        Variant(MAIN, name, p=0.5 if name == "standout" else None, knobs=at_its_word.get(name, {}))
        for name in TECHNIQUES
    ]
    choices = [{"count": count, "rescale": rescale} for count in COUNTS for rescale in RESCALES]
    drop_count = [
        Variant(DROP_COUNT, name, knobs=choice) for name in PAPERS_OWN for choice in choices if choice != LITERAL
    ]
    alternating = [Variant(PROPOSAL, name, knobs=LITERAL, schedule="alternate") for name in PAPERS_OWN]
    lasting = Variant(PROPOSAL, "dropcorr", knobs=LITERAL, refresh_epochs=1.0, refresh_growth=2.0)
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
        given = {"record_every": RECORD_EVERY, **self.settings, **variant.settings()}
        data = self.folder or self.dataset
        return Config(dataset=data, network=self.dataset, seed=seed, epochs=epochs, **given).validated()


def experiment_of(dataset: str) -> str:
    """The name under which the runs for a data set are kept together."""
    return f"paper-{dataset}"


def precision_on(device: str) -> str:
    """The precision of the plan on the device of this name: "bf16" or "fp32". ConfigError where there is none."""
    from core.environment import choose_device, computes_bf16

    return "bf16" if computes_bf16(choose_device(device)) else "fp32"


def variant_of(config: Mapping[str, Any]) -> Variant | None:
    """The variant that a run with this config is of; None for a run that is none of the plan's."""
    told = {name: config.get(name, getattr(_PLAIN, name)) for name in _PLAIN.settings()}
    told["knobs"] = _spelled_out(told["technique"], told["knobs"])
    return next((each for each in variants() if each.settings() == told), None)


_PLAIN = Variant(MAIN, Config.technique)


def _spelled_out(technique: str, knobs: Mapping[str, Any]) -> dict[str, Any]:
    """Options that are left to their defaults make no other variant."""
    return {**DEFAULTS.get(technique, {}), **knobs}
