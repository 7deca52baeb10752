"""The paper's figures from our runs → charts. Colours are those for a light page."""

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from app.charts import Chart, looks, plotly_text
from app.paper_words import title
from app.theme import Style
from core.reproduce.choices import dead

PAPER = Style("#1F2430", "#E6E8EE", "diamond-open", "dot")
PAPER_NAME = "The paper, one run"


def beside_the_paper(summary: pd.DataFrame, paper: Mapping[str, float], table: str) -> Chart:
    """Test accuracies: ours with one sd over seeds, of ``core.comparison.summary``, and the paper's."""
    names = [*(name for name in paper if name in set(summary["technique"])),
             *(name for name in summary["technique"] if name not in paper)]  # fmt: skip
    ours = summary.set_index("technique")
    legend = looks({title(name): name for name in names})
    figure = go.Figure()
    for name in names:
        row, look = ours.loc[name], legend[title(name)]
        outline = {"width": 1.5, "color": look.light}
        sd = 0.0 if pd.isna(row["accuracy_sd"]) else float(row["accuracy_sd"])
        figure.add_scatter(
            x=[title(name)], y=[100 * row["accuracy"]], mode="markers", legendgroup=title(name),
            marker={"symbol": look.marker, "size": 11, "color": look.light, "line": outline},
            error_y={"type": "data", "array": [100 * sd], "color": look.light, "thickness": 1.5, "width": 4},
            hovertemplate=f"{plotly_text(title(name))}<br>%{{y:.2f}} % (n = {row['n']})<extra></extra>",
        )  # fmt: skip
    known = [name for name in names if name in paper]
    figure.add_scatter(
        x=[title(name) for name in known], y=[100 * paper[name] for name in known], mode="markers",
        legendgroup=PAPER_NAME, hovertemplate="%{x} in the paper<br>%{y:.2f} %<extra></extra>",
        marker={"symbol": PAPER.marker, "size": 12, "color": PAPER.light, "line": {"width": 2, "color": PAPER.light}},
    )  # fmt: skip
    # A category keeps its place also while its mark is switched off.
    axis = {"categoryorder": "array", "categoryarray": [title(name) for name in names], "tickangle": -30}
    figure.update_layout(xaxis={**axis, "type": "category", "range": [-0.5, len(names) - 0.5]}, template=None)
    heading = f"Test accuracy (%) beside {table}"
    told = [f"{title(name)} {100 * ours.loc[name, 'accuracy']:.2f} %"
            + (f", paper {100 * paper[name]:.2f} %" if name in paper else "") for name in names]  # fmt: skip
    return Chart(figure, heading, f"{heading}: {'; '.join(told)}", {**legend, PAPER_NAME: PAPER})


def dead_over_epochs(measured: pd.DataFrame, names: Mapping[str, str], epoch: int) -> Chart:
    """The share of examples left without an active unit, in the worst layer of each setting → technique."""
    legend = looks({title(name): technique for name, technique in names.items()})
    figure = go.Figure()
    told = []
    for name in names:
        shares = dead(measured, name, epoch).groupby("epoch")["mean"].max()
        look = legend[title(name)]
        figure.add_scatter(
            x=shares.index.to_numpy(), y=100 * shares.to_numpy(), mode="lines+markers", legendgroup=title(name),
            line={"color": look.light, "width": 2, "dash": look.dash},
            marker={"symbol": look.marker, "size": 7, "color": look.light},
            hovertemplate=f"{plotly_text(title(name))}<br>epoch %{{x}}: %{{y:.2f}} %<extra></extra>",
        )  # fmt: skip
        if not shares.empty:
            told.append(f"{title(name)} at most {100 * shares.max():.2f} %")
    figure.update_layout(
        xaxis={"title": {"text": "Epoch"}, "rangemode": "tozero"}, yaxis={"rangemode": "tozero"}, template=None
    )
    heading = "Examples left without an active unit (%), in the worst layer"
    return Chart(figure, heading, f"{heading}: {'; '.join(told) or 'not told'}", legend)
