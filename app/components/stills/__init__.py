"""Masks that stand still, each with a title: what one pass or one draw did to the units of a layer."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import streamlit as st
from torch import Tensor

from app.components import script, stylesheet
from app.components.packing import Body

_HERE = Path(__file__).parent

_render = st.components.v2.component(
    "dropscope_stills",
    html='<div class="ds-stills"></div>',
    js=script(_HERE, "cells", "payload", "paint"),
    css=stylesheet(_HERE),
    isolate_styles=False,
)


class Still(NamedTuple):
    """One mask: units of shape ``units``, ``activation`` (N,), and ``fallen`` bool (N,) or ``factor`` (N,)."""

    title: str
    alt: str
    units: tuple[int, ...]
    activation: Tensor
    fallen: Tensor | None = None
    factor: Tensor | None = None


def stills(panels: Sequence[Still], *, key: str) -> None:
    """Draw the masks side by side, on one scale of activations."""
    body = Body()
    parts = []
    for panel in panels:
        arrays = {
            "activation": panel.activation.float(),
            "fallen": None if panel.fallen is None else panel.fallen.byte(),
            "factors": None if panel.factor is None else panel.factor.float(),
        }
        about = {"title": panel.title, "alt": panel.alt, "units": panel.units}
        parts.append(about | {"arrays": body.add(arrays)})
    _render(key=key, data=body.behind({"techniques": parts}))


__all__ = ["Still", "stills"]
