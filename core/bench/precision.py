"""What half precision does to accuracy: the same runs in fp32 and in bf16, seed by seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pandas as pd
import torch

from core.bench.results import Paired
from core.bench.timing import CONFIDENCE
from core.config import Config
from core.data import Dataset, load
from core.significance import paired_difference
from core.training import Trainer

DIGITS = tuple(Config(technique=name, epochs=20) for name in ("standard", "dropact", "dropinv", "dropcorr"))
MNIST = tuple(Config(dataset="mnist", width=0.15, technique=name, epochs=2) for name in ("standard", "dropcorr"))


@dataclass(frozen=True)
class Plan:
    """What to train: each of ``runs`` from so many ``seeds``, in both precisions."""

    device: torch.device
    runs: tuple[Config, ...] = DIGITS + MNIST
    seeds: int = 5


def measure(plan: Plan) -> Iterator[Paired]:
    """bf16 less fp32 in test accuracy, as they come: equal seeds share initial weights and order of examples."""
    for config in plan.runs:
        yield difference(replace(config, device=str(plan.device)), load(config.dataset), plan.seeds)


def difference(config: Config, data: Dataset, seeds: int) -> Paired:
    """The test accuracies of ``config`` in bf16 against those in fp32."""
    halved, full = (
        pd.Series({seed: accuracy(replace(config, precision=p, seed=seed), data) for seed in range(seeds)})
        for p in ("bf16", "fp32")
    )
    paired = paired_difference(halved, full)
    low, high = paired.interval(CONFIDENCE)
    where = {"data": config.dataset, "width": config.width, "technique": config.technique, "epochs": config.epochs}
    where |= {"device": torch.device(config.device).type, "threads": torch.get_num_threads()}
    means = float(full.mean()), float(full.std(ddof=1))
    return Paired("precision", "bf16", "fp32", where, "test accuracy", paired.n, *means, paired.mean, low, high)


def accuracy(config: Config, data: Dataset) -> float:
    """Share of the test images that a network trained with ``config`` classifies rightly."""
    *_, end = Trainer(replace(config, record_every=1e9), data).run()
    assert end.test_accuracy is not None, end.reason
    return end.test_accuracy
