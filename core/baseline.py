"""Techniques against one that was pinned beforehand: paired differences over seeds, with intervals and p-values.

Against a baseline that was not picked for its result, only the comparisons with it count, so fewer than the pairs of
``core.comparison.against_best``, and smaller differences show. Pinning the best or the worst after looking picks by
the result: then only ``core.comparison.verdict`` holds.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from core.comparison import LEVEL, by_seed, listed, seeds_of
from core.significance import FEWEST_PAIRS, Difference, holm, paired_difference

COLUMNS = ["variant", "pairs", "difference", "low", "high", "p_value"]


def default(rows: pd.DataFrame) -> str | None:
    """What to compare with unless a person pins another: no dropout, else Standard, else the first by name.

    Of several settings of one technique the first by name. None where no run has a test accuracy.
    """
    tested = rows.dropna(subset=["test_accuracy"])
    for technique in ("none", "standard"):
        own = tested.loc[tested["technique"] == technique, "variant"]
        if not own.empty:
            return str(own.min())
    return None if tested.empty else str(tested["variant"].min())


def against(rows: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Per other variant its test accuracy less the baseline's, over the ``pairs``: the seeds that both have.

    ``p_value`` is that of a paired t test, Holm-corrected for the number of variants with at least three pairs; the
    intervals from ``low`` to ``high`` hold all at once with 95 % (Bonferroni), so one without 0 in it never stands
    beside a p above 0.05. Both are missing with fewer pairs, and where the difference is the same in every seed.
    """
    grouped = by_seed(rows).set_index("seed").groupby("variant", sort=False)["test_accuracy"]
    scores = {str(variant): values for variant, values in grouped}
    base = scores.pop(baseline, pd.Series(dtype=float))
    found = {variant: paired_difference(values, base) for variant, values in scores.items()}
    family = [variant for variant, difference in found.items() if difference.n >= FEWEST_PAIRS]
    raw = [found[variant].p_value for variant in family]
    # One that does not vary has no p, yet counts: whether it varies is itself read off the data.
    corrected = dict(zip(family, holm([1.0 if math.isnan(p) else p for p in raw]), strict=True))
    level = 1 - LEVEL / max(1, len(family))
    parts = [_row(variant, found[variant], corrected.get(variant, math.nan), level) for variant in found]
    return pd.DataFrame(parts, columns=COLUMNS)


def judged(tests: pd.DataFrame) -> int:
    """The number of comparisons for which the p-values and intervals of ``against`` are corrected."""
    return int((tests["pairs"] >= FEWEST_PAIRS).sum())


def verdict(tests: pd.DataFrame, baseline: str) -> str:
    """What ``against`` allows to say, in one to three plain sentences; empty where there is nothing to compare."""
    if tests.empty:
        return ""
    few = tests[tests["pairs"] < FEWEST_PAIRS]
    same = tests[(tests["pairs"] >= FEWEST_PAIRS) & tests["p_value"].isna()]
    open_ = tests[tests["p_value"] >= LEVEL]
    said = []
    for word, found in (("better", tests["difference"] > 0), ("worse", tests["difference"] < 0)):
        names = list(tests.loc[found & (tests["p_value"] < LEVEL), "variant"])
        if names:
            said.append(f"{listed(names)} {_is(names)} {word} than {baseline} by more than chance allows.")
    if not open_.empty:
        said.append(f"Between {baseline} and {listed(list(open_['variant']))} these seeds do not decide.")
    if not same.empty:
        names = list(same["variant"])
        differ = "differs" if len(names) == 1 else "differ"
        said.append(f"{listed(names)} {differ} by the same in every seed: there is no spread to judge that by.")
    if not few.empty:
        names, least = list(few["variant"]), int(few["pairs"].min())
        shared = "no seed is" if least == 0 else "one seed is" if least == 1 else f"{seeds_of(least)} are"
        said.append(
            f"For {listed(names)} no ranking against {baseline} is possible: {shared} common to both, and it takes at "
            f"least {FEWEST_PAIRS}."
        )
    return " ".join(said)


def _row(variant: str, difference: Difference, p: float, level: float) -> dict[str, Any]:
    low, high = difference.interval(level)
    p = p if difference.varies else math.nan
    return dict(zip(COLUMNS, (variant, difference.n, difference.mean, low, high, p), strict=True))


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
