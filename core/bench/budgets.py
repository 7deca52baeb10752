"""What things may cost: each budget beside what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from core.bench.results import Amount, Finding, Growth, Paired, Result

PAPERS_SIZE = {"B": 100, "N": 1000}
PAGES = ("Explore", "Covariance", "Train", "Compare", "Lessons", "Paper")
RANKED = ("dropact", "dropinv", "dropcorr")


@dataclass(frozen=True)
class Budget:
    """A limit on a ratio, on the exponent of a growth, or on an amount.

    Attributes:
        what: it in words.
        bench, case, against, where: which finding it is about; ``against`` names what ``over`` is for a growth, and the
            unit of an amount.
        limit: the most that is allowed, or the least that is wanted where ``at_least``.
    """

    what: str
    bench: str
    case: str
    against: str
    limit: float
    where: Mapping[str, Any] = field(default_factory=dict)
    at_least: bool = False

    def concerns(self, finding: Finding) -> bool:
        """Whether it is about this finding."""
        same = (finding.bench, finding.case, _other(finding)) == (self.bench, self.case, self.against)
        return same and all(finding.where.get(key) == value for key, value in self.where.items())


@dataclass(frozen=True)
class Verdict:
    """A budget, what was measured (None: nothing was), its 95 % interval if it has one, and whether it is met."""

    budget: Budget
    measured: float | None
    low: float | None = None
    high: float | None = None

    @property
    def met(self) -> bool | None:
        """By the median; None where nothing was measured."""
        if self.measured is None:
            return None
        return self.measured >= self.budget.limit if self.budget.at_least else self.measured <= self.budget.limit


def verdicts(findings: Iterable[Finding], benches: Iterable[str], device: str) -> list[Verdict]:
    """Each budget of these benches on ``device``, with the finding that it is about."""
    found, wanted = list(findings), set(benches)
    return [_verdict(b, found) for b in BUDGETS if b.bench in wanted and b.where.get("device", device) == device]


def _verdict(budget: Budget, findings: list[Finding]) -> Verdict:
    for finding in findings:
        if budget.concerns(finding):
            if isinstance(finding, Growth):
                return Verdict(budget, finding.exponent)
            if isinstance(finding, Paired):
                return Verdict(budget, finding.against_spread)
            if isinstance(finding, Result):
                return Verdict(budget, finding.ratio, finding.low, finding.high)
            if isinstance(finding, Amount):
                return Verdict(budget, finding.value, finding.low, finding.high)
    return Verdict(budget, None)


def _other(finding: Finding) -> str:
    """What a finding is held against."""
    if isinstance(finding, Growth):
        return finding.over
    return finding.unit if isinstance(finding, Amount) else finding.against


def _layer(case: str, device: str, limit: float, against: str = "nn.Dropout", *, at_least: bool = False) -> Budget:
    what = f"{case}, forward and backward, against {against}"
    return Budget(what, "layers", case, against, limit, {**PAPERS_SIZE, "device": device}, at_least)


def _training(case: str, against: str, device: str, limit: float, *, at_least: bool = False) -> Budget:
    what = f"{case} against {against}, the paper's MNIST net, a step of training"
    return Budget(what, "training", case, against, limit, {"network": "mnist", "device": device}, at_least)


def _amount(what: str, case: str, unit: str, limit: float, *, at_least: bool = False) -> Budget:
    return Budget(what, "app", case, unit, limit, at_least=at_least)


def _precision(data: str, technique: str) -> Budget:
    what = f"bf16 against fp32, {technique} on {data}: difference of accuracy over the spread of seeds"
    return Budget(what, "precision", "bf16", "fp32", 1.0, {"data": data, "technique": technique})


BUDGETS: tuple[Budget, ...] = (
    _layer("standard", "cpu", 0.7),
    _layer("gaussian", "cpu", 1.0),
    *(_layer(name, "cpu", 1.25) for name in RANKED),
    _layer("standard", "cuda", 1.1),
    *(_layer(name, "cuda", 3.0) for name in ("gaussian", "variational", *RANKED)),
    *(_layer(f"{name}, captured", "cuda", 1.5, "nn.Dropout, captured") for name in ("standard", "gaussian", *RANKED)),
    _layer("dropcorr, eigendecomposition", "cpu", 50.0, "dropcorr", at_least=True),
    _layer("dropcorr, jittered Cholesky", "cpu", 10.0, "dropcorr", at_least=True),
    Budget("dropcorr: exponent of its growth with N", "layers", "dropcorr", "N", 1.05),
    *(_training(name, "standard", device, 1.05) for device in ("cpu", "cuda") for name in RANKED),
    _training("loop by hand", "standard", "cpu", 1.5, at_least=True),
    _training("loop by hand", "standard, bf16", "cpu", 3.5, at_least=True),
    _training("loop by hand", "standard", "cuda", 10.0, at_least=True),
    Budget("a run with one viewer against the same run alone", "app", "run with 1 viewer", "run alone", 1.05),
    _amount("the server's share of a core with 30 viewers of a live run", "server with 30 viewers", "cores", 0.1),
    _amount("from Start to the first live point, digits", "start to first point", "s", 1.0),
    Budget("the first screen against an empty Streamlit page", "app", "first screen", "empty page", 1.5),
    *(_amount(f"{page}: a press acknowledged, the page drawn anew", page, "s", 0.2) for page in PAGES),
    _amount("Explore: Next acknowledged by another image", "Explore, another image acknowledged", "s", 0.2),
    _amount("a stop", "stop", "s", 2.0),
    _amount("a stop by force of a run that hangs", "forced stop", "s", 10.0),
    Budget(
        "16 seeds at once against in turn, the paper's MNIST net",
        "seeds",
        "seeds at once",
        "seeds in turn",
        0.2,
        {"network": "mnist", "technique": "standard", "seeds": 16, "device": "cuda"},
    ),
    *(_precision("digits", name) for name in ("standard", *RANKED)),
    *(_precision("mnist", name) for name in ("standard", "dropcorr")),
)
