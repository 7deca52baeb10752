"""The small place at the top of every page where a visitor from the network enters the access code."""

import streamlit as st

from app import access
from app.components.access import access_form

LOOKING = "You may look and explore. With the access code you may also start, stop, change and delete runs."
CHANGING = "You entered the access code: you may start, stop, change and delete runs."


def admission() -> None:
    """Drawn only where a code is asked for."""
    if not access.needed():
        return
    held = access.permitted()
    label, icon = ("Unlocked", ":material/lock_open:") if held else ("Enter code", ":material/lock:")
    with st.container(key="admission"), st.popover(label, icon=icon):
        st.markdown(CHANGING if held else LOOKING)
        access_form(held=held)
