"""What the paper reports and claims, and how each claim is read so that runs can decide it.

Gavier, *Activation Dropout, Inverse Dropout and Correlated Dropout*, section 4. The readings were fixed before any
result was seen: they say which settings are compared by which measure, and where the limit lies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations

from core.reproduce.plan import PAPERS_OWN

TEST_ACCURACY: dict[str, dict[str, float]] = {
    "mnist": {
        "dropact": 0.9843, "dropinv": 0.9910, "dropcorr": 0.9860, "standard": 0.9849, "gaussian": 0.9618,
        "variational": 0.9788,
    },
    "cifar10": {"dropact": 0.8316, "dropinv": 0.8157, "standard": 0.8140, "gaussian": 0.8415},
}  # fmt: skip
"""Tables 1 and 2: data set → technique → share of test images that are right; single runs."""

EPOCHS = {"mnist": 20, "cifar10": 100}
"""How long the curves of Figures 1 and 3 are, about."""

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper that runs can contradict.

    Attributes:
        key: its name, lasting.
        dataset: which runs it is about.
        text: what the paper says, in our words.
        where: the place in the paper.
        reading: the rule by which it is judged here.
        measure: a key of ``core.reproduce.measured.MEASURES``.
        pairs: settings (one, other); the claim is that one less other lies above ``bound`` in every pair.
        bound: in the unit of the measure.
        epochs: the fewest of training by which it can be judged.
    """

    key: str
    dataset: str
    text: str
    where: str
    reading: str
    measure: str
    pairs: Pairs
    bound: float = 0.0
    epochs: int = 1


def _below(low: str, others: tuple[str, ...]) -> Pairs:
    return tuple((other, low) for other in others if other != low)


def _above(high: str, others: tuple[str, ...]) -> Pairs:
    return tuple((high, other) for other in others if other != high)


_MNIST, _CIFAR = tuple(TEST_ACCURACY["mnist"]), tuple(TEST_ACCURACY["cifar10"])

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "slowest", "mnist", "DropAct has the greatest difficulty to raise the validation accuracy.",
        "section 4, Figure 1",
        "Averaged over the epochs, its validation accuracy lies below that of each other technique of the figure.",
        "pace", _below("dropact", _MNIST),
    ),
    Claim(
        "standard-first", "mnist", "Standard dropout achieves the highest validation accuracy.",
        "section 4, Figure 1", "In the last epoch it lies above each other technique of the figure.",
        "validation", _above("standard", _MNIST),
    ),
    Claim(
        "nearly-standard", "mnist", "Gaussian, DropCorr and DropInv validate almost as well as Standard.",
        "section 4, Figure 1", "In the last epoch none of them lies more than 1 point below Standard.",
        "validation", tuple((name, "standard") for name in ("gaussian", "dropcorr", "dropinv")), -0.01,
    ),
    Claim(
        "best-on-test", "mnist", "DropInv and DropCorr generalise best: they have the highest test accuracies.",
        "section 4, Table 1", "Each of the two lies above each of the other four techniques of the table.",
        "test", tuple((one, other) for one in ("dropinv", "dropcorr") for other in _MNIST
                      if other not in ("dropinv", "dropcorr")),
    ),
    Claim(
        "as-good-as-standard", "mnist", "The three new techniques perform as well as Standard dropout.",
        "abstract and section 5, Table 1", "On the test set none of them lies more than 1 point below it.",
        "test", tuple((name, "standard") for name in PAPERS_OWN), -0.01,
    ),
    Claim(
        "within-three", "mnist", "All techniques lie within about 3 points of the best.",
        "section 4, Table 1", "On the test set no technique of the table lies more than 3 points below another.",
        "test", tuple(permutations(_MNIST, 2)), -0.03,
    ),
    Claim(
        "thousandfold", "mnist", "DropCorr takes three orders of magnitude more training time.",
        "section 5, Figure 2",
        "As computed here, its epochs take more than 316 times those without dropout: nearer to a thousand times "
        "than to a hundred.",
        "time", (("dropcorr", "none"),), 2.5,
    ),
    Claim(
        "faster-than-gaussian", "mnist", "DropAct and DropInv train slightly faster than Gaussian and Variational.",
        "section 4, Figure 2", "Each of the two needs less time an epoch than each of the other two.",
        "time", tuple((slow, fast) for slow in ("gaussian", "variational") for fast in ("dropact", "dropinv")),
    ),
    Claim(
        "standard-free", "mnist", "Standard dropout trains in almost the same time as the network without dropout.",
        "section 4, Figure 2", "Its epochs take less than 1.1 times those without dropout.",
        "time", (("none", "standard"),), -math.log10(1.1),
    ),
    Claim(
        "slower-than-standard", "mnist", "The three new techniques take more training time than Standard dropout.",
        "abstract and section 5", "Each of the three needs more time an epoch.",
        "time", tuple((name, "standard") for name in PAPERS_OWN),
    ),
    Claim(
        "alternate", "mnist", "To alternate p with 0 between epochs could raise DropAct's validation accuracy.",
        "section 5, a proposal",
        "After the same number of epochs it validates better than with p in every epoch.",
        "validation", (("dropact alternate", "dropact"),),
    ),
    Claim(
        "refresh", "mnist", "DropCorr is faster if the covariance is estimated only every N epochs, with N growing.",
        "section 5, a proposal", "With N = 1, 2, 4 … its epochs take less time than with an estimate at every step.",
        "time", (("dropcorr", "dropcorr refreshed"),),
    ),
    Claim(
        "refresh-accuracy", "mnist", "An old covariance serves as well: it changes as slowly as the weights do.",
        "section 5, a proposal", "With N = 1, 2, 4 … it does not validate more than 1 point worse.",
        "validation", (("dropcorr refreshed", "dropcorr"),), -0.01,
    ),
    Claim(
        "cifar-slowest", "cifar10", "DropAct has the greatest difficulty to raise the validation accuracy.",
        "section 4, Figure 3",
        "Averaged over the epochs, its validation accuracy lies below that of each other technique of the figure.",
        "pace", _below("dropact", _CIFAR), epochs=EPOCHS["cifar10"],
    ),
    Claim(
        "cifar-gaussian-first", "cifar10", "Gaussian outperforms the rest at the end of training.",
        "section 4, Figure 3 and Table 2", "On the test set it lies above each other technique of the table.",
        "test", _above("gaussian", _CIFAR), epochs=EPOCHS["cifar10"],
    ),
    Claim(
        "cifar-dropact-catches-up", "cifar10", "After 100 epochs DropAct validates about as well as the others.",
        "section 4, Figure 3", "In the last epoch it lies no more than 3 points below any other.",
        "validation", _above("dropact", _CIFAR), -0.03, epochs=EPOCHS["cifar10"],
    ),
    Claim(
        "cifar-within-three", "cifar10", "All techniques lie within about 3 points of the best.",
        "section 4, Table 2", "On the test set no technique of the table lies more than 3 points below another.",
        "test", tuple(permutations(_CIFAR, 2)), -0.03, epochs=EPOCHS["cifar10"],
    ),
)  # fmt: skip
