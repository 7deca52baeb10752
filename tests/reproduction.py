"""Made-up results of a reproduction: what ``core.reproduce.results.read`` gives, with numbers of known verdicts."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.reproduce.plan import EPOCHS, Variant, variants
from core.reproduce.results import COLUMNS

# How well, in shares of 1, and how fast, in seconds an epoch: far apart where a verdict is to be clear.
ACCURACY = {
    "none": 0.985, "standard": 0.988, "dropconnect": 0.986, "gaussian": 0.9872, "variational": 0.9868,
    "standout": 0.984, "dropact": 0.965, "dropinv": 0.9873, "dropcorr": 0.9871,
}  # fmt: skip
SECONDS = {"none": 10.0, "standard": 10.4, "gaussian": 11.0, "variational": 11.5, "dropact": 12.0, "dropinv": 12.1}
NOISE = 0.0004


def made_up(
    dataset: str = "mnist", seeds: Sequence[int] = (0, 1, 2), only: Iterable[str] | None = None
) -> pd.DataFrame:
    """The rows of all variants of the plan, or of the techniques ``only``; the same at every call."""
    draw = np.random.default_rng(7)
    rows = []
    for variant in variants():
        for seed in seeds:
            noise = draw.normal(size=4)
            if only is None or variant.technique in only:
                rows += _run(variant, dataset, seed, noise)
    positions = sorted(name for name in rows[0] if name.startswith("dead_"))
    return pd.DataFrame(rows, columns=[*COLUMNS, *positions])


def _run(variant: Variant, dataset: str, seed: int, noise: np.ndarray) -> list[dict[str, Any]]:
    own = variant.technique in ("dropact", "dropinv", "dropcorr")
    count, rescale = (
        variant.knobs.get(key, plain) if own else "" for key, plain in (("count", "layer"), ("rescale", "none"))
    )
    end = ACCURACY[variant.technique] + 0.002 * (count == "active") + 0.001 * (rescale == "mass") + NOISE * noise[0]
    end += 0.004 * (variant.schedule == "alternate" and variant.technique == "dropact")
    seconds = SECONDS.get(variant.technique, 13.0) * (0.8 if variant.refresh_epochs else 1.0) * (1 + 0.004 * noise[1])
    dead = 0.02 * (variant.technique == "dropact" and count == "layer")
    epochs = EPOCHS["mnist"][variant.group]
    about = {
        "dataset": dataset, "data": "MNIST", "group": variant.group, "technique": variant.technique, "p": "0.2",
        "count": count, "rescale": rescale, "schedule": variant.schedule, "refresh_epochs": variant.refresh_epochs,
        "refresh_growth": variant.refresh_growth, "seed": seed, "epochs": epochs, "device_name": "Made-up",
        "device": "cpu", "threads": "2", "precision": "bf16", "python": "3.13", "torch": "2.13",
        "torchvision": "0.28", "commit": "abc",
    }  # fmt: skip
    told = []
    for epoch in range(1, epochs + 1):
        score = end - 0.02 / epoch + NOISE * noise[2] / epoch
        told.append(
            {
                **about, "epoch": epoch, "loss": 0.1 / epoch, "accuracy": score, "val_loss": 0.09,
                "val_accuracy": score, "train_eval_loss": 0.08, "dropped": 0.2, "active_dropped": 0.2,
                "dead": dead / 2, "dead_1": dead / epoch, "dead_2": 0.0,
                "train_seconds": seconds * epoch, "eval_seconds": float(epoch),
                "test_accuracy": end + NOISE * noise[3] if epoch == epochs else None, "test_loss": 0.05,
            }
        )  # fmt: skip
    return told


def write(path: Path, rows: pd.DataFrame) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows.to_csv(path, index=False)
