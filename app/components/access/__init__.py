"""Where a visitor enters the access code, which the browser sends by itself: it enters no state of a page."""

from pathlib import Path

import streamlit as st

from app.components import script, stylesheet
from app.entrance import URL

_HERE = Path(__file__).parent

_render = st.components.v2.component(
    "dropscope_access",
    html='<form class="ds-access"></form>',
    js=script(_HERE),
    css=stylesheet(_HERE),
    isolate_styles=False,
)


def access_form(*, held: bool, key: str = "access-form") -> None:
    """Mount the form; ``held``: the visitor has entered the code, and may only give it up."""
    _render(key=key, data={"url": URL, "held": held})


__all__ = ["access_form"]
