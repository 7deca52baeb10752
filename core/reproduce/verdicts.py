"""What runs allow to say about each claim of the paper.

The rule, stated before the results but for one thing: that machine and precision must be alike within a seed,
and not over all seeds, came after seed 0 and five runs of seed 1 on MNIST. A claim is about differences, one
setting less another, each to lie above a bound. Runs of the same seed share initial weights and the order of
images, so differences are taken seed by seed. The claim

- *holds* if every difference lies above its bound by its own 95 % interval: all have to, so no correction is due,
- *does not hold* if one lies below the bound by intervals that hold all at once with 95 % (Bonferroni), as any will do,
- and else *cannot be told*, as with fewer than three seeds, runs of one seed that differ in more than the setting, or
  a training that is shorter than what the claim speaks of.

Claims are judged one by one, without a correction for their number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from core.comparison import LEVEL
from core.reproduce.measured import alike, last_common_epoch, scores
from core.reproduce.paper import CLAIMS, TEST_ACCURACY, Claim
from core.significance import FEWEST_PAIRS, Difference, paired_difference

HOLDS, FAILS, OPEN = "holds", "does not hold", "cannot be told"


@dataclass(frozen=True)
class Pair:
    """One difference of a claim, ``one`` less ``other``.

    ``interval`` holds for it alone, ``joint`` for all of its claim at once; both are missing where nothing can be said.
    ``paper`` is the difference between the paper's own test accuracies, where it has them.
    """

    one: str
    other: str
    difference: Difference
    interval: tuple[float, float]
    joint: tuple[float, float]
    paper: float | None


@dataclass(frozen=True)
class Verdict:
    """How a claim stands: ``word`` is HOLDS, FAILS or OPEN.

    Attributes:
        n: the fewest seeds that a pair has in common.
        epoch: the epoch that the measure was taken at, or up to; 0 without runs.
        missing: settings without a finished run.
        apart: whether it asks for runs that differ in more than the setting.
    """

    claim: Claim
    word: str
    pairs: tuple[Pair, ...]
    n: int
    epoch: int
    missing: tuple[str, ...]
    apart: bool = False

    @property
    def short(self) -> bool:
        """Whether the training was too short to judge it."""
        return self.epoch < self.claim.epochs

    @property
    def deciding(self) -> Pair:
        """The pair that stands worst against the bound."""
        known = [pair for pair in self.pairs if pair.difference.n]
        return min(known or self.pairs, key=_margin)


def judge(claim: Claim, measured: pd.DataFrame) -> Verdict:
    """A claim against runs of its data set, of ``core.reproduce.measured.with_settings``."""
    names = list(dict.fromkeys(name for pair in claim.pairs for name in pair))
    epoch = last_common_epoch(measured, names)
    values = {name: scores(measured, name, claim.measure, epoch) for name in names}
    level = 1 - LEVEL / len(claim.pairs)
    pairs = []
    for one, other in claim.pairs:
        difference = paired_difference(values[one], values[other])
        told = difference.interval(1 - LEVEL), difference.interval(level)
        pairs.append(Pair(one, other, difference, *told, _in_the_paper(claim, one, other)))
    missing = tuple(name for name in names if values[name].empty)
    apart = not alike(measured, names, claim.measure)
    word = OPEN if apart or epoch < claim.epochs else _word(pairs, claim.bound)
    return Verdict(claim, word, tuple(pairs), min(pair.difference.n for pair in pairs), epoch, missing, apart)


def judged(dataset: str, measured: pd.DataFrame) -> list[Verdict]:
    """All claims about a data set, in the order of the paper."""
    return [judge(claim, measured) for claim in CLAIMS if claim.dataset == dataset]


def _word(pairs: Sequence[Pair], bound: float) -> str:
    if any(pair.difference.n >= FEWEST_PAIRS and pair.joint[1] < bound for pair in pairs):
        return FAILS
    if all(pair.difference.n >= FEWEST_PAIRS and pair.interval[0] > bound for pair in pairs):
        return HOLDS
    return OPEN


def _margin(pair: Pair) -> float:
    low = pair.interval[0]
    return pair.difference.mean if math.isnan(low) else low


def _in_the_paper(claim: Claim, one: str, other: str) -> float | None:
    table = TEST_ACCURACY[claim.dataset]
    return table[one] - table[other] if claim.measure == "test" and one in table and other in table else None
