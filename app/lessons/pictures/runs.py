"""What a lesson's text calls the runs that it trains, and how many images they have."""

from __future__ import annotations

from functools import lru_cache

from app.lessons.training import Training
from app.lessons.words import Fact
from core.config import Config
from core.data import load
from core.training.construction import data_for


def named(training: Training) -> dict[str, list[Config]]:
    """Name → its configs, a seed each.

    A name is the technique's; of one that is trained with several p with the first of them in per cent: standard_p20.
    """
    several = len(set(training.experiment.p)) > 1
    found: dict[str, list[Config]] = {}
    for config in training.configs:
        p = config.p[0] if isinstance(config.p, tuple) else config.p
        dose = "" if config.technique == "none" or not several else "_pdefault" if p is None else f"_p{100 * p:.0f}"
        found.setdefault(config.technique + dose, []).append(config)
    return found


def sizes(training: Training) -> dict[str, Fact]:
    """How many images a run learns, is validated on and tested on, and its epochs."""
    config = training.configs[0]
    images, validation, test = _images(config.train_size)
    return {"images": images, "validation_images": validation, "test_images": test, "epochs": config.epochs}


@lru_cache(maxsize=8)
def _images(train_size: int | None) -> tuple[int, int, int]:
    found = data_for(Config(train_size=train_size), load("digits"))
    return len(found.train), len(found.validation), len(found.test)
