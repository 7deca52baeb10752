"""The accuracy of a network that is called again and again → a figure. Colours are those for a light page."""

import numpy as np
import plotly.graph_objects as go
from torch import Tensor

from app.charts import Chart
from app.theme import Style, style

TRAINING, EVALUATION = "Training mode, dropout on", "After eval(), dropout off"


def accuracy_of_calls(right: Tensor, right_off: Tensor, technique: str) -> Chart:
    """Right answers per call: ``right`` bool (calls, B) in training mode, ``right_off`` (calls, B) after eval()."""
    look, calm = style(technique), style("none")
    legend = {
        TRAINING: Style(look.light, look.dark, "circle", "dot"),
        EVALUATION: Style(calm.light, calm.dark, "diamond", "solid"),
    }
    figure = go.Figure()
    parts = {EVALUATION: 100 * right_off.double().mean(1).numpy(), TRAINING: 100 * right.double().mean(1).numpy()}
    for name, shares in parts.items():
        own = legend[name]
        figure.add_scatter(
            x=np.arange(1, len(shares) + 1), y=shares, mode="lines+markers", legendgroup=name,
            line={"color": own.light, "width": 1.5, "dash": own.dash},
            marker={"symbol": own.marker, "size": 9, "color": own.light},
            hovertemplate=f"Call %{{x}}, {name[0].lower()}{name[1:]}: %{{y:.1f}} %<extra></extra>",
        )  # fmt: skip
    figure.update_layout(
        xaxis={"title": {"text": "Call"}, "range": [0.5, len(right) + 0.5], "dtick": 1 if len(right) <= 20 else 5},
        template=None,
    )
    title = "Right answers of each call (%)"
    on, off = parts[TRAINING], parts[EVALUATION]
    alt = f"{title}: in training mode {on.min():.1f} to {on.max():.1f} %, after eval() {off.min():.1f} % each time"
    return Chart(figure, title, alt, legend)
