"""What the Train page asks for → one config a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.config import Config

FOLDER = "folder"


@dataclass(frozen=True)
class Experiment:
    """Techniques × seeds on one data set; ``knobs``: options by technique, ``shared``: all other settings."""

    dataset: str
    techniques: Sequence[str]
    first_seed: int = 0
    repeats: int = 1
    knobs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    shared: Mapping[str, Any] = field(default_factory=dict)

    def configs(self) -> list[Config]:
        """One config a run: every technique of the first seed, then of the next, so that early results compare."""
        return [
            Config(dataset=self.dataset, technique=name, seed=seed, knobs=dict(self.knobs.get(name, {})), **self.shared)
            for seed in range(self.first_seed, self.first_seed + self.repeats)
            for name in self.techniques
        ]


def changed(knobs: Sequence[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Only the options that differ from their defaults, so that a config says what was chosen."""
    return {knob.name: values[knob.name] for knob in knobs if values.get(knob.name, knob.default) != knob.default}
