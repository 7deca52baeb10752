"""The numbers of the Paper page from the CSV once more, by other means: the csv module, numpy and scipy's t test."""

import csv
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
from scipy.stats import ttest_1samp

SIX = ("dropact", "dropinv", "dropcorr", "standard", "gaussian", "variational")
FOUR = ("dropact", "dropinv", "standard", "gaussian")
NEW = ("dropact", "dropinv", "dropcorr")

# Claim → measure, pairs (one, other) and the bound that one less other has to exceed.
CLAIMS: dict[str, tuple[str, list[tuple[str, str]], float]] = {
    "slowest": ("pace", [(other, "dropact") for other in SIX[1:]], 0),
    "standard-first": ("validation", [("standard", other) for other in SIX if other != "standard"], 0),
    "nearly-standard": ("validation", [(n, "standard") for n in ("gaussian", "dropcorr", "dropinv")], -0.01),
    "best-on-test": (
        "test",
        [(n, o) for n in ("dropinv", "dropcorr") for o in ("dropact", "standard", "gaussian", "variational")],
        0,
    ),
    "as-good-as-standard": ("test", [(n, "standard") for n in NEW], -0.01),
    "within-three": ("test", list(permutations(SIX, 2)), -0.03),
    "thousandfold": ("time", [("dropcorr", "none")], 2.5),
    "faster-than-gaussian": (
        "time", [(s, f) for s in ("gaussian", "variational") for f in ("dropact", "dropinv")], 0
    ),
    "standard-free": ("time", [("none", "standard")], -math.log10(1.1)),
    "slower-than-standard": ("time", [(n, "standard") for n in NEW], 0),
    "alternate": ("validation", [("dropact alternate", "dropact")], 0),
    "refresh": ("time", [("dropcorr", "dropcorr refreshed")], 0),
    "refresh-accuracy": ("validation", [("dropcorr refreshed", "dropcorr")], -0.01),
    "cifar-slowest": ("pace", [(other, "dropact") for other in FOUR[1:]], 0),
    "cifar-gaussian-first": ("test", [("gaussian", other) for other in FOUR[:3]], 0),
    "cifar-dropact-catches-up": ("validation", [("dropact", other) for other in FOUR[1:]], -0.03),
    "cifar-within-three": ("test", list(permutations(FOUR, 2)), -0.03),
}  # fmt: skip

Rows = list[dict[str, str]]


@dataclass
class Told:
    """One difference: seeds, mean, and the ends of its own and of the joint interval."""

    n: int
    mean: float
    own: tuple[float, float]
    joint: tuple[float, float]


def runs(path: Path) -> dict[str, dict[int, Rows]]:
    """Setting → seed → the rows of its epochs, of runs that reached their last."""
    found: dict[str, dict[int, Rows]] = defaultdict(lambda: defaultdict(list))
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            found[_name(row)][int(row["seed"])].append(row)
    return {
        name: {seed: rows for seed, rows in seeds.items() if int(rows[-1]["epoch"]) == int(rows[0]["epochs"])}
        for name, seeds in found.items()
    }


def _name(row: dict[str, str]) -> str:
    if row["group"] == "main":
        return row["technique"]
    if row["group"] == "proposal":
        return row["technique"] + (" alternate" if row["schedule"] == "alternate" else " refreshed")
    return f"{row['technique']} count={row['count']} rescale={row['rescale']}"


def common_epoch(found: dict[str, dict[int, Rows]], names: Sequence[str]) -> int:
    return min((int(rows[0]["epochs"]) for name in names for rows in found.get(name, {}).values()), default=0)


def number(rows: Rows, measure: str, epoch: int) -> float:
    if measure == "test":
        return float(rows[-1]["test_accuracy"])
    if measure == "pace":
        return float(np.mean([float(row["val_accuracy"]) for row in rows[:epoch]]))
    row = rows[epoch - 1]
    assert int(row["epoch"]) == epoch
    return math.log10(float(row["train_seconds"])) if measure == "time" else float(row["val_accuracy"])


def differences(found: dict[str, dict[int, Rows]], key: str) -> dict[tuple[str, str], Told]:
    """Every difference of a claim; nan where three seeds in common are missing."""
    measure, pairs, _ = CLAIMS[key]
    epoch = common_epoch(found, [name for pair in pairs for name in pair])
    return {pair: difference(found, *pair, measure, epoch, len(pairs)) for pair in pairs}


def difference(found: dict[str, dict[int, Rows]], one: str, other: str, measure: str, epoch: int, of: int) -> Told:
    both = sorted(found.get(one, {}).keys() & found.get(other, {}).keys())
    values = [number(found[one][s], measure, epoch) - number(found[other][s], measure, epoch) for s in both]
    if len(values) < 3:
        return Told(len(values), float(np.mean(values)) if values else math.nan, (math.nan,) * 2, (math.nan,) * 2)
    test = ttest_1samp(values, 0)
    own, joint = (test.confidence_interval(level) for level in (0.95, 1 - 0.05 / of))
    return Told(len(values), float(np.mean(values)), (own.low, own.high), (joint.low, joint.high))


def apart(found: dict[str, dict[int, Rows]], key: str) -> bool:
    """Whether runs of one seed differ in more than the setting."""
    measure, pairs, _ = CLAIMS[key]
    same = {"time": ("device_name", "device", "threads"), "test": ("epochs",)}.get(measure, ())
    rows = [run[0] for one in {n for pair in pairs for n in pair} for run in found.get(one, {}).values()]
    kinds = {(row["seed"], row["precision"], *(row[column] for column in same)) for row in rows}
    return len(kinds) > len({row["seed"] for row in rows})


def short(found: dict[str, dict[int, Rows]], key: str) -> bool:
    """The claims about CIFAR-10 are about trainings of a hundred epochs."""
    return key.startswith("cifar") and common_epoch(found, [n for pair in CLAIMS[key][1] for n in pair]) < 100


def verdict(found: dict[str, dict[int, Rows]], key: str) -> str:
    bound = CLAIMS[key][2]
    told = differences(found, key).values()
    if apart(found, key) or short(found, key):
        return "cannot be told"
    if any(each.joint[1] < bound for each in told):
        return "does not hold"
    return "holds" if all(each.own[0] > bound for each in told) else "cannot be told"


def accuracy(found: dict[str, dict[int, Rows]], name: str, measure: str, epoch: int = 0) -> tuple[float, float, int]:
    """Mean, sd (n - 1; nan for one) and number of seeds."""
    values = [number(rows, measure, epoch) for rows in found[name].values()]
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else math.nan, len(values)
