"""Values as they are written on a command line."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from core.dropout import Knob

_SWITCH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def probabilities(text: str | None) -> float | tuple[float, ...] | None:
    """One number, or a tuple of those with commas between them."""
    if text is None:
        return None
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise click.UsageError(f"--p is a number, or several such as 0.2,0.3, not {text!r}.") from None
    return numbers if "," in text else numbers[0]


def knobs_of(technique: str, words: Sequence[str]) -> dict[str, Any]:
    """NAME=VALUE as values of the technique's knobs; what it does not know is left for the config to refuse."""
    from core.dropout import TECHNIQUES

    known = {knob.name: knob for knob in TECHNIQUES[technique].knobs} if technique in TECHNIQUES else {}
    values: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise click.UsageError(f"A knob is written NAME=VALUE, such as count=active, not {word!r}.")
        name = name.strip().replace("-", "_")
        values[name] = knob_value(known[name], text.strip()) if name in known else text
    return values


def knob_value(knob: Knob, text: str) -> Any:
    """``text`` as a value of the kind that the knob takes, or itself, for the knob's own check to refuse."""
    if knob.choices and text in knob.choices:
        return text
    if knob.optional and text.lower() == "none":
        return None
    if isinstance(knob.default, bool):
        return _SWITCH.get(text.lower(), text)
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text
