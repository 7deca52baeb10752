"""The options of techniques as widgets, wherever a page offers them."""

from collections.abc import Iterable
from typing import Any

import streamlit as st

from app.controls import Control, knob_control
from app.experiment import changed
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
