"""A sheet to draw a digit on, with pointer, finger, pen or keyboard."""

import base64
import binascii
from pathlib import Path

import streamlit as st

from app.components import script, stylesheet
from core.data import DataError
from core.data.uploads import MAX_BYTES

_HERE = Path(__file__).parent
_START = "data:image/png;base64,"

_render = st.components.v2.component(
    "dropscope_sketch",
    html='<div class="ds-sketch"></div>',
    js=script(_HERE),
    css=stylesheet(_HERE),
    isolate_styles=False,
)


def sketch(*, key: str) -> bytes | None:
    """Mount the sheet; the drawing as a PNG, dark on white, or None while it is empty.

    It comes from a browser, and so may be any bytes: read it with ``core.data.uploads.read_upload``. Raises DataError
    where it is not even the text that a browser would send.
    """
    return decoded(_render(key=key, on_drawing_change=lambda: None).drawing)


def decoded(drawing: object) -> bytes | None:
    """The file in a data URL; None for an empty or missing one. Raises DataError."""
    if drawing is None or drawing == "":
        return None
    try:
        if not isinstance(drawing, str) or not drawing.startswith(_START) or len(drawing) > 2 * MAX_BYTES:
            raise ValueError
        return base64.b64decode(drawing[len(_START) :], validate=True)
    except (ValueError, binascii.Error):
        raise DataError("The drawing did not arrive as an image; clear the sheet and draw again.") from None


__all__ = ["sketch"]
