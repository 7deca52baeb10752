"""The options of techniques as widgets, wherever a page offers them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import streamlit as st

from app.controls import Control, knob_control
from core.dropout import TECHNIQUES


def technique_options(name: str) -> dict[str, Any]:
    """Draw the options of a technique; those that differ from their defaults."""
    cls = TECHNIQUES[name]
    if not cls.knobs:
        return {}
    st.markdown(f"**{cls.title}**")
    st.caption(cls.mechanism)
    return changed(cls.knobs, {knob.name: knob_control(name, knob).draw() for knob in cls.knobs})


def option_controls(names: Iterable[str]) -> list[Control]:
    """The controls of all options of these techniques."""
    return [knob_control(name, knob) for name in names if name in TECHNIQUES for knob in TECHNIQUES[name].knobs]


def changed(knobs: Sequence[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Only the options that differ from their defaults, so that a config says what was chosen."""
    return {knob.name: values[knob.name] for knob in knobs if values.get(knob.name, knob.default) != knob.default}
