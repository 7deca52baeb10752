"""Two live curves and the list of what runs, fed by a read-only route and not by reruns of the page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from app.components import script, stylesheet
from app.routes import PLOTLY_URL

_HERE = Path(__file__).parent
VERBS = ("pause", "resume", "stop")

_render = st.components.v2.component(
    "dropscope_live_curves",
    html='<div class="ds-live"></div>',
    js=script(_HERE),
    css=stylesheet(_HERE),
    isolate_styles=False,
)


def live_curves(
    runs: Sequence[dict[str, Any]], *, started: str | None = None, key: str = "live"
) -> dict[str, Any] | None:
    """Mount the curves of the given runs; with none nothing is seen, and the first is drawn the sooner.

    ``runs``: one dict a run with ``id``, ``name`` (shown), ``detail`` (shown, may be empty) and ``style`` (as of
    ``theme.Style.to_dict``). ``started`` changes when runs were just started: a narrow screen then scrolls to them.
    Returns ``{"verb": "pause" | "resume" | "stop", "ids": [...]}`` in the one rerun after a press, else None. What
    comes back is a wish from a browser: the caller checks it.
    """
    data = {"runs": list(runs), "plotly": PLOTLY_URL, "started": started}
    return _render(key=key, data=data, on_wish_change=lambda: None).wish


__all__ = ["VERBS", "live_curves"]
