"""An experiment → one config a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import product
from typing import Any

from core.config import Config, ConfigError
from core.marked_yaml import Place
from core.runs.schema import plain_name, to_json

P = float | tuple[float, ...] | None

LONGEST_NAME = 200
MOST_RUNS = 10_000

# What differs between the runs or is told apart by technique; every other field of a config all runs share.
_VARIED = ("dataset", "network", "technique", "p", "seed", "knobs")
SETTINGS = tuple(setting.name for setting in fields(Config) if setting.name not in _VARIED)
# The word with which a complaint about a config begins → the part of the experiment that it came from.
_AXES = {"network": "networks", "p": "p", "seed": "seeds"}


class ExperimentError(ConfigError):
    """What is wrong with an experiment; ``at`` leads to the place: ("p", 1) is the second of its values of p."""

    def __init__(self, sentence: str, at: Place = ()) -> None:
        super().__init__(sentence)
        self.at = at


@dataclass(frozen=True)
class Experiment:
    """Techniques × p × seeds × networks on one data set.

    Attributes:
        name: what its runs have in common; "" for nothing.
        dataset, settings: what all runs share. ``settings`` has some of :data:`SETTINGS`; the others are the paper's.
        networks, techniques, p, seeds: what is varied, each value as in :class:`core.config.Config`. "none" has no p,
            so it is trained once for all of them; refresh_epochs goes to DropCorr alone.
        knobs: options by technique.
    """

    name: str = ""
    dataset: str = Config.dataset
    networks: Sequence[str] = (Config.network,)
    techniques: Sequence[str] = (Config.technique,)
    p: Sequence[P] = (None,)
    seeds: Sequence[int] = (Config.seed,)
    settings: Mapping[str, Any] = field(default_factory=dict)
    knobs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many runs these are, without checking them."""
        noisy = len({*self.techniques} - {"none"}) * len({*self.p}) + ("none" in self.techniques)
        return noisy * len({*self.networks}) * len({*self.seeds})

    def configs(self) -> list[Config]:
        """One checked config a run, no two alike: all of the first seed, then of the next, so that early ones compare.

        Raises :class:`ExperimentError`.
        """
        self._check()
        axes = (self.seeds, self.networks, self.techniques, self.p)
        made = [self._config(*indices) for indices in product(*(range(len(axis)) for axis in axes))]
        return list({to_json(config.to_dict()): config for config in made}.values())

    def _check(self) -> None:
        from core.dropout import TECHNIQUES

        if len(self.name) > LONGEST_NAME or plain_name(self.name) != self.name:
            raise ExperimentError(f"A name is one line of at most {LONGEST_NAME} characters.", ("name",))
        axes = {"networks": self.networks, "techniques": self.techniques, "p": self.p, "seeds": self.seeds}
        for axis, values in axes.items():
            if not values:
                raise ExperimentError(f"There is nothing to train: {axis} has no value.", (axis,))
        for index, name in enumerate(self.techniques):
            if name not in ("none", *TECHNIQUES):
                known = ", ".join(("none", *TECHNIQUES))
                raise ExperimentError(f"There is no technique {name!r}; choose among {known}.", ("techniques", index))
        for name in self.knobs:
            if name not in self.techniques:
                raise ExperimentError(f"knobs are given for {name!r}, which is not trained.", ("knobs", name))
        number = math.prod(map(len, axes.values()))
        if number > MOST_RUNS:
            raise ExperimentError(f"These are {number:,} runs; an experiment has at most {MOST_RUNS:,}.")

    def _config(self, seed: int, network: int, technique: int, p: int) -> Config:
        """The config of the seed, network, technique and p at these indices."""
        name = self.techniques[technique]
        shared = dict(self.settings)
        if name != "dropcorr" and "dropcorr" in self.techniques:
            shared.pop("refresh_epochs", None)
        try:
            config = Config(
                dataset=self.dataset,
                network=self.networks[network],
                technique=name,
                p=None if name == "none" else self.p[p],
                seed=self.seeds[seed],
                knobs=dict(self.knobs.get(name, {})),
                **shared,
            ).validated()
            _check_positions(config)
        except ConfigError as error:
            place = self._place(str(error), name, {"seeds": seed, "networks": network, "p": p})
            raise ExperimentError(str(error), place) from None
        return config

    def _place(self, complaint: str, technique: str, indices: Mapping[str, int]) -> Place:
        """Where the value stands that is complained of: complaints begin with what they are about."""
        word = complaint.split()[0]
        if axis := _AXES.get(word):
            return axis, indices[axis]
        if word in self.settings:
            return (word,)
        own = self.knobs.get(technique, {})
        return ("knobs", technique, word) if word in own else ("knobs", technique) if own else ()


def _check_positions(config: Config) -> None:
    """Whether p has a value for each dropout position, where the network is known before its data are."""
    from models import NETWORKS
    from models.parts import probabilities

    network = NETWORKS.get(config.dataset if config.network == "auto" else config.network)
    if network is not None:
        try:
            probabilities(network.title, network.default_p, config.p)
        except ValueError as error:
            raise ConfigError(f"p does not fit the network: {error}") from None
