"""What guides through a lesson: keys, the parts that a text speaks of, and the progress that the browser keeps."""

from collections.abc import Mapping
from pathlib import Path

import streamlit as st

from app.components import script, stylesheet

_HERE = Path(__file__).parent

_render = st.components.v2.component(
    "dropscope_lesson",
    html='<p class="ds-lesson-said" role="status"></p>',
    js=script(_HERE, "progress"),
    css=stylesheet(_HERE),
    isolate_styles=False,
)


def guide(lesson: str, step: int, title: str, *, answered: bool, told: bool, spoken: Mapping[str, str]) -> None:
    """Mount it on a step (from 1); ``spoken``: name of a part of the picture → CSS selector.

    ``told``: the answer is on the page, which an ``answered`` question may have to wait for.

    Arrow keys press the buttons in the containers ``lesson-back`` and ``lesson-next``, digits those of the answers.
    """
    data = {"lesson": lesson, "step": step, "title": title, "answered": answered, "told": told, "spoken": dict(spoken)}
    _render(key="lesson-guide", data=data)


__all__ = ["guide"]
