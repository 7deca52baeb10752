"""The lessons to choose from, with what a person has done of each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from app.components import script, stylesheet

_HERE = Path(__file__).parent

_render = st.components.v2.component(
    "dropscope_lesson_list",
    html='<ol class="ds-lessons"></ol>',
    js=script(_HERE, "progress"),
    css=stylesheet(_HERE),
    isolate_styles=False,
)


def lesson_list(lessons: Sequence[Mapping[str, Any]]) -> str | None:
    """Mount it: ``key``, ``number``, ``title``, ``about``, ``minutes`` and ``steps`` of each; the key of one chosen.

    It comes from a browser: the caller checks it.
    """
    chosen = _render(key="lesson-list", data={"lessons": list(lessons)}, on_open_change=lambda: None).open
    return chosen if isinstance(chosen, str) else None


__all__ = ["lesson_list"]
