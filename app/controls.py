"""Settings → widgets, bound to the page's address.

Streamlit drops a bad value of the address silently: ``notices`` names it.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import streamlit as st

# What was wrong in the address is told for so long, whatever is pressed meanwhile.
TOLD_SECONDS = 10.0


class Control(Protocol):
    """A setting that knows its widget and can tell whether a value from the address fits."""

    key: str

    def problem(self, values: Sequence[str]) -> str | None:
        """One sentence on why these values of the address do not fit, or None."""
        ...

    def draw(self) -> Any:
        """Make the widget; returns its value."""
        ...


@dataclass(frozen=True)
class Choice:
    """One of ``options`` (value → what is shown, which is also what the address carries)."""

    key: str
    label: str
    options: Mapping[str, str]
    default: str
    help: str | None = None

    def problem(self, values: Sequence[str]) -> str | None:
        return _unknown(self, values[:1])

    def draw(self) -> str:
        names = list(self.options)
        return st.selectbox(
            self.label, names, names.index(self.default), format_func=_shown(self.options), key=self.key,
            help=self.help, bind="query-params",
        )  # fmt: skip


@dataclass(frozen=True)
class Segments(Choice):
    """One of a few ``options``, shown all at once."""

    def draw(self) -> str:
        return st.segmented_control(
            self.label, list(self.options), default=self.default, required=True, format_func=_shown(self.options),
            key=self.key, help=self.help, bind="query-params",
        )  # fmt: skip


@dataclass(frozen=True)
class Steps(Choice):
    """One of ``options`` along a line."""

    def draw(self) -> str:
        return st.select_slider(
            self.label, list(self.options), self.default, format_func=_shown(self.options), key=self.key,
            help=self.help, bind="query-params",
        )  # fmt: skip


@dataclass(frozen=True)
class Choices:
    """Any of ``options``, shown all at once."""

    key: str
    label: str
    options: Mapping[str, str]
    default: tuple[str, ...]
    help: str | None = None

    def problem(self, values: Sequence[str]) -> str | None:
        return _unknown(self, [value for value in values if value])

    def draw(self) -> list[str]:
        chosen = st.pills(
            self.label, list(self.options), selection_mode="multi", default=list(self.default),
            format_func=_shown(self.options), key=self.key, help=self.help, wrap=True, bind="query-params",
        )  # fmt: skip
        return [name for name in self.options if name in chosen]


@dataclass(frozen=True)
class Picks(Choices):
    """Any of many ``options``, or of some that people wrote: shown as text only, in a list that opens."""

    placeholder: str | None = None

    def draw(self) -> list[str]:
        return st.multiselect(
            self.label, list(self.options), list(self.default), format_func=_shown(self.options), key=self.key,
            help=self.help, placeholder=self.placeholder, bind="query-params",
        )  # fmt: skip


@dataclass(frozen=True)
class Number:
    """A number in [``low``, ``high``]; ``optional`` allows an empty field, which then shows ``placeholder``."""

    key: str
    label: str
    default: float | int | None
    low: float | int | None = None
    high: float | int | None = None
    step: float | int | None = None
    format: str | None = None
    help: str | None = None
    placeholder: str | None = None
    integer: bool = False
    optional: bool = False

    def problem(self, values: Sequence[str]) -> str | None:
        text = values[0] if values else ""
        if self.optional and not text:
            return None
        kind = int if self.integer else float
        try:
            value = kind(text)
        except ValueError:
            return f"{_quoted(text)} in the address is not a number, so {self._name} is as it was."
        if not self._fits(value):
            return f"{_quoted(text)} in the address does not lie {self._range()}, so {self._name} is as it was."
        return None

    def draw(self) -> float | int | None:
        cast = int if self.integer else float
        bounds = [None if x is None else cast(x) for x in (self.low, self.high)]
        value = None if self.default is None else cast(self.default)
        step = None if self.step is None and not self.integer else cast(self.step or 1)
        return st.number_input(
            self.label, *bounds, value, step, self.format, self.key, self.help, placeholder=self.placeholder,
            bind="query-params",
        )  # fmt: skip

    @property
    def _name(self) -> str:
        return f"“{self.label}”"

    def _fits(self, value: float) -> bool:
        return value == value and (self.low is None or value >= self.low) and (self.high is None or value <= self.high)

    def _range(self) -> str:
        if self.high is None:
            return f"at or above {self.low:,g}"
        return f"between {self.low:,g} and {self.high:,g}" if self.low is not None else f"at or below {self.high:,g}"


@dataclass(frozen=True)
class Slider(Number):
    """A number between ``low`` and ``high``, by hand."""

    def draw(self) -> float | int:
        return st.slider(
            self.label, self.low, self.high, self.default, self.step, self.format, self.key, self.help,
            bind="query-params",
        )  # fmt: skip


@dataclass(frozen=True)
class Switch:
    """On or off."""

    key: str
    label: str
    default: bool
    help: str | None = None

    def problem(self, values: Sequence[str]) -> str | None:
        text = values[0] if values else ""
        if text.lower() in ("true", "false"):
            return None
        return f"{_quoted(text)} in the address is neither true nor false, so “{self.label}” is as it was."

    def draw(self) -> bool:
        return st.toggle(self.label, self.default, key=self.key, help=self.help, bind="query-params")


@dataclass(frozen=True)
class Text:
    """A line of text."""

    key: str
    label: str
    default: str = ""
    help: str | None = None
    placeholder: str | None = None
    most: int = 1000

    def problem(self, values: Sequence[str]) -> str | None:
        return None

    def draw(self) -> str:
        return st.text_input(
            self.label, self.default, max_chars=self.most, key=self.key, help=self.help, placeholder=self.placeholder,
            bind="query-params",
        ).strip()  # fmt: skip


def address() -> dict[str, list[str]]:
    """The values that the page's address carries, by key."""
    return {key: st.query_params.get_all(key) for key in st.query_params}


def notices(address: Mapping[str, Sequence[str]], controls: Iterable[Control]) -> list[str]:
    """One sentence for each value of the address that fits no control; to be asked before the widgets are made."""
    problems = (control.problem(address[control.key]) for control in controls if control.key in address)
    return [problem for problem in problems if problem]


def misfits(address: Mapping[str, Sequence[str]], controls: Iterable[Control]) -> list[str]:
    """What ``notices`` finds now, and what it found for these controls in this visit's last seconds.

    What does not fit is taken out of the address at once, so the next run of the page knows nothing of it.
    """
    controls, now = list(controls), time.monotonic()
    said: dict[str, tuple[float, str]] = st.session_state.setdefault("notices", {})
    for control in controls:
        for sentence in notices(address, [control]):
            said[control.key] = (now, sentence)
    kept = [said[control.key] for control in controls if control.key in said]
    return [sentence for at, sentence in kept if now - at < TOLD_SECONDS]


def warn(sentences: Sequence[str]) -> None:
    """Show what ``misfits`` found, all in one place; nothing where it found nothing."""
    if sentences:
        st.warning("  \n".join(plain_text(sentence) for sentence in sentences), icon=":material/link_off:")


def plain_text(text: object) -> str:
    """Text safe to show where Markdown is read: names and paths stay as they are."""
    shown = str(text)
    for mark in "\\`*_[]<>$:#~|":
        shown = shown.replace(mark, f"\\{mark}")
    return shown


def html_text(text: object) -> str:
    """Text safe to show where HTML is read."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def knob_control(technique: str, knob: Any) -> Control:
    """The control of one option of a technique, from its ``core.dropout.Knob``; its key is ``technique.option``."""
    key, label = f"{technique}.{knob.name}", knob.name.replace("_", " ").capitalize()
    if knob.choices:
        return Choice(key, label, {word: word for word in knob.choices}, knob.default, knob.help)
    if isinstance(knob.default, bool):
        return Switch(key, label, knob.default, knob.help)
    return Number(
        key, label, knob.default, knob.low, knob.high, knob.step, help=knob.help, integer=knob.integer,
        optional=knob.optional, placeholder="automatic" if knob.optional else None,
    )  # fmt: skip


def _shown(options: Mapping[str, str]) -> Any:
    return lambda name: options.get(name, name)


def _unknown(control: Choice | Choices, values: Sequence[str]) -> str | None:
    wrong = [value for value in values if value not in control.options.values()]
    if not wrong:
        return None
    names = ", ".join(control.options.values())
    return f"{_quoted(wrong[0])} in the address is no choice of “{control.label}”; there are {names}."


def _quoted(text: str) -> str:
    return "“" + (text if len(text) <= 40 else text[:39] + "…") + "”"
