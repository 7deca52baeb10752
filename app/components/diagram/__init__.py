"""How a technique decides, drawn from the numbers that the masks on the same page show at this moment."""

from pathlib import Path

import streamlit as st

from app.components import script, stylesheet

_HERE = Path(__file__).parent

_render = st.components.v2.component(
    "dropscope_diagram",
    html='<figure class="ds-diagram"></figure>',
    js=script(_HERE, "cells"),
    css=stylesheet(_HERE),
    isolate_styles=False,
)


def diagram(technique: str, *, key: str) -> None:
    """The units of the layer by activation and by what decides on them; it follows the view of ``masks``."""
    _render(key=key, data={"technique": technique})


__all__ = ["diagram"]
