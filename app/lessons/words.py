"""Texts with facts in them, and what must hold of facts."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Fact = int | float | str
Facts = Mapping[str, Fact]

_NAME = r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*"
_FACT = re.compile(r"\{\{\s*(" + _NAME + r")\s*(?::\s*([^{}\s]+)\s*)?\}\}")
_ANY = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_POINTER = re.compile(r"\]\(#([^)\s]*)\)")
_SIDE = r"\s*(" + _NAME + r"|-?\d+(?:\.\d+)?)\s*"
_CHECK = re.compile(_SIDE + r"(<=|>=|==|<|>)" + _SIDE)
_RELATIONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge, "==": operator.eq,
}  # fmt: skip


class WordsError(ValueError):
    """Words that cannot be understood; the message is one sentence."""


@dataclass(frozen=True)
class Check:
    """A comparison of two facts, or of a fact and a number: ``dropact.strongest < 50``."""

    left: str
    relation: str
    right: str

    def holds(self, facts: Facts) -> bool:
        return _RELATIONS[self.relation](_value(self.left, facts), _value(self.right, facts))

    def names(self) -> set[str]:
        return {side for side in (self.left, self.right) if side[0].isalpha()}


def check(text: str) -> Check:
    """The comparison that ``text`` writes. WordsError."""
    found = _CHECK.fullmatch(text)
    if not found:
        raise WordsError(f"{text!r} is no comparison of two facts, such as standard.fallen < 30.")
    return Check(*found.groups())


def names_in(text: str) -> list[str]:
    """The facts that ``text`` asks for, as ``{{standard.fallen}}`` or ``{{scale:.2f}}``. WordsError."""
    for inside in _ANY.findall(text):
        found = _FACT.fullmatch("{{" + inside + "}}")
        if not found:
            raise WordsError(f"{{{{{inside}}}}} is no fact; write {{{{p}}}}, or {{{{p:.2f}}}} for two decimals.")
        _check_format(found[2])
    return [name for name, _ in _FACT.findall(text)]


def pointers_in(text: str) -> list[str]:
    """The parts of the picture that ``text`` points at, as ``[the slider](#p)``."""
    return _POINTER.findall(text)


def filled(text: str, facts: Facts) -> str:
    """``text`` with the facts in their places: whole numbers in full, others with two decimals if it says no more."""
    return _FACT.sub(lambda match: _written(facts[match[1]], match[2]), text)


def _written(value: Fact, form: str | None) -> str:
    if isinstance(value, str):
        return value
    return format(value, form or ("," if isinstance(value, int) else ".2f")).replace("-", "−")


def _check_format(form: str | None) -> None:
    try:
        format(1.0, form or "")
    except ValueError:
        raise WordsError(f"{form!r} is no way to write a number; .2f gives two decimals, .0f none.") from None


def _value(side: str, facts: Facts) -> float:
    return float(facts[side] if side[0].isalpha() else side)
