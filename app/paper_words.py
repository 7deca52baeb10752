"""Settings, differences and verdicts in words; every number comes from the runs."""

from app.compare_table import signed
from app.names import techniques
from core.comparison import listed, seeds_of
from core.reproduce.paper import Claim
from core.reproduce.verdicts import FAILS, HOLDS, Pair, Verdict
from core.significance import FEWEST_PAIRS

MOST_TOLD = 3
APART = {
    "test": "Runs of one seed were trained for other numbers of epochs, or in another precision: they do not compare.",
    "validation": "Runs of one seed were trained in another precision: they do not compare.",
    "pace": "Runs of one seed were trained in another precision: they do not compare.",
    "time": "Runs of one seed were timed on other devices, or with other threads or precision: they do not compare.",
}


def title(setting: str) -> str:
    """What a person reads for a setting of ``core.reproduce.measured``: DropAct, alternate."""
    technique, _, rest = setting.partition(" ")
    return ", ".join([techniques().get(technique, technique), *rest.split()])


def amount(measure: str, value: float) -> str:
    """A difference of accuracies in points, of times as a factor."""
    return f"{10**value:.2f}" if measure == "time" else signed(100 * value)


def limit(claim: Claim) -> str:
    """The bound of a claim, as a difference is compared with it."""
    if claim.measure == "time":
        return f"{10**claim.bound:.3g}"
    return "0" if claim.bound == 0 else f"{signed(100 * claim.bound)} points"


def told(pair: Pair, measure: str, joint: bool = False) -> str:
    """A difference with its interval: Gaussian − DropAct +0.31 (+0.10 to +0.52)."""
    between = f"{title(pair.one)} {'/' if measure == 'time' else '−'} {title(pair.other)}"
    return f"{between} {value(pair, measure, joint)}"


def value(pair: Pair, measure: str, joint: bool = False) -> str:
    low, high = pair.joint if joint else pair.interval
    mean = amount(measure, pair.difference.mean)
    known = low == low
    return f"{mean} ({amount(measure, low)} to {amount(measure, high)})" if known else mean


def sentence(verdict: Verdict) -> str:
    """Why a claim stands as it does, with the numbers that decide."""
    claim, count = verdict.claim, len(verdict.pairs)
    if verdict.apart:
        return APART[claim.measure]
    if verdict.word == FAILS:
        return _against(verdict)
    if verdict.missing:
        return f"Not trained yet: {listed([title(name) for name in verdict.missing])}."
    if verdict.short:
        return f"Trained for {verdict.epoch} of the {claim.epochs} epochs that it takes."
    if verdict.n < FEWEST_PAIRS:
        return f"{seeds_of(verdict.n).capitalize()} so far; a verdict takes at least {FEWEST_PAIRS}."
    lowest = told(verdict.deciding, claim.measure)
    if count == 1:
        clearly = "clearly " if verdict.word == HOLDS else "not clearly "
        return f"{lowest}, {clearly}above {limit(claim)}."
    if verdict.word == HOLDS:
        return f"All {count} differences lie above {limit(claim)}; the lowest: {lowest}."
    short = sum(not pair.interval[0] > claim.bound for pair in verdict.pairs)
    return f"{short} of {count} differences are not clearly above {limit(claim)}; the lowest: {lowest}."


def _against(verdict: Verdict) -> str:
    """The differences that contradict a claim, the clearest first."""
    claim = verdict.claim
    against = sorted((pair for pair in verdict.pairs if pair.joint[1] < claim.bound), key=lambda pair: pair.joint[1])
    numbers = "; ".join(told(pair, claim.measure, joint=True) for pair in against[:MOST_TOLD])
    more = f"; and {len(against) - MOST_TOLD} more" if len(against) > MOST_TOLD else ""
    return f"Clearly below {limit(claim)}: {numbers}{more}."
