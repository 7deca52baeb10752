"""A figure that keeps its zoom, wears the page's theme, and says in words what it shows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from app.charts import Chart
from app.components import script, stylesheet
from app.routes import PLOTLY_URL

_HERE = Path(__file__).parent
HEIGHT, SQUARE_HEIGHT = 380, 480

_render = st.components.v2.component(
    "dropscope_plot",
    html='<figure class="ds-figure"></figure>',
    js=script(_HERE),
    css=stylesheet(_HERE),
    isolate_styles=False,
)


def plot(chart: Chart, *, key: str, hidden: Sequence[str] = (), height: int | None = None) -> None:
    """Draw a chart; ``hidden`` names the legend entries that start switched off, ``height`` is in CSS pixels."""
    _render(key=key, data=figure_data(chart, hidden, height) | {"plotly": PLOTLY_URL})


def figure_data(chart: Chart, hidden: Sequence[str] = (), height: int | None = None) -> dict[str, Any]:
    """What the browser-side part draws a chart from. A square one keeps within its height, which is the greater."""
    return {
        "figure": chart.json,
        "title": chart.title,
        "alt": chart.alt,
        "legend": [{"name": name, **look.to_dict()} for name, look in chart.legend.items()],
        "dark": dict(chart.dark),
        "hidden": list(hidden),
        "height": height or (SQUARE_HEIGHT if chart.square else HEIGHT),
        "square": chart.square,
    }


__all__ = ["figure_data", "plot"]
