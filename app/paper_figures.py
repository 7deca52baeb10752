"""The paper's figures from our runs → charts. Colours are those for a light page."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from app.charts import Chart, looks, plotly_text
from app.paper_words import title
from app.theme import Style, style_of_variant
from core.comparison import listed
from core.reproduce.choices import dead, setting
from core.reproduce.plan import COUNTS

PAPER = Style("#1F2430", "#E6E8EE", "diamond-open", "dot")
PAPER_NAME = "The paper, one run"


def beside_the_paper(summary: pd.DataFrame, paper: Mapping[str, float], table: str) -> Chart:
    """Test accuracies: ours with one sd over seeds, of ``core.comparison.summary``, and the paper's."""
    ours = summary.set_index("technique")
    names = [*paper, *(name for name in ours.index if name not in paper)]
    trained = [name for name in names if name in ours.index]
    legend = looks({title(name): name for name in trained})
    figure = go.Figure()
    for name in trained:
        row, look = ours.loc[name], legend[title(name)]
        outline = {"width": 1.5, "color": look.light}
        sd = 0.0 if pd.isna(row["accuracy_sd"]) else float(row["accuracy_sd"])
        figure.add_scatter(
            x=[title(name)], y=[100 * row["accuracy"]], mode="markers", legendgroup=title(name),
            marker={"symbol": look.marker, "size": 11, "color": look.light, "line": outline},
            error_y={"type": "data", "array": [100 * sd], "color": look.light, "thickness": 1.5, "width": 4},
            hovertemplate=f"{plotly_text(title(name))}<br>%{{y:.2f}} % (n = {row['n']})<extra></extra>",
        )  # fmt: skip
    figure.add_scatter(
        x=[title(name) for name in paper], y=[100 * share for share in paper.values()], mode="markers",
        legendgroup=PAPER_NAME, hovertemplate="%{x} in the paper<br>%{y:.2f} %<extra></extra>",
        marker={"symbol": PAPER.marker, "size": 12, "color": PAPER.light, "line": {"width": 2, "color": PAPER.light}},
    )  # fmt: skip
    # A category keeps its place also while its mark is switched off.
    axis = {"categoryorder": "array", "categoryarray": [title(name) for name in names], "tickangle": -30}
    figure.update_layout(xaxis={**axis, "type": "category", "range": [-0.5, len(names) - 0.5]}, template=None)
    heading = f"Test accuracy (%) beside {table}"
    told = [f"{title(name)} " + (f"{100 * ours.loc[name, 'accuracy']:.2f} %" if name in trained else "not trained")
            + (f", paper {100 * paper[name]:.2f} %" if name in paper else "") for name in names]  # fmt: skip
    return Chart(figure, heading, f"{heading}: {'; '.join(told)}", {**legend, PAPER_NAME: PAPER})


def dead_over_epochs(measured: pd.DataFrame, technique: str, epoch: int) -> Chart:
    """The share of examples that each layer leaves without an active unit, under both drop counts, nothing rescaled.

    Layers that left none are told in the words alone.
    """
    figure = go.Figure()
    legend, told = {}, []
    for turn, count in enumerate(COUNTS):
        shares = dead(measured, setting(technique, count, "none"), epoch)
        for position, own in shares.groupby("position"):
            name = f"Layer {position}, count={count}"
            told.append(f"{name} at most {100 * own['mean'].max():.2f} %")
            if not own["mean"].any():
                continue
            sd = own["sd"].fillna(0)
            up, down = (100 * np.minimum(sd, room).to_numpy() for room in (1 - own["mean"], own["mean"]))
            look = legend[name] = style_of_variant(technique, 2 * (int(position) - 1) + turn)
            figure.add_scatter(
                x=own["epoch"].to_numpy(), y=100 * own["mean"].to_numpy(), mode="lines+markers", legendgroup=name,
                line={"color": look.light, "width": 2, "dash": look.dash},
                marker={"symbol": look.marker, "size": 7, "color": look.light},
                error_y={"type": "data", "symmetric": False, "array": up, "arrayminus": down, "color": look.light,
                         "thickness": 1.5, "width": 4},
                hovertemplate=f"{name}<br>epoch %{{x}}: %{{y:.2f}} %<extra></extra>",
            )  # fmt: skip
    figure.update_layout(
        xaxis={"title": {"text": "Epoch"}, "rangemode": "tozero", "dtick": max(1, epoch // 5)},
        yaxis={"rangemode": "tozero"}, template=None,
    )  # fmt: skip
    heading = f"{title(technique)}: dead examples (%)"
    return Chart(figure, heading, f"{heading}: {'; '.join(told) or 'not told'}", legend)


def named(chart: Chart, found: pd.DataFrame) -> Chart:
    """A chart that says from which data it is, also where it is saved as a picture."""
    return replace(chart, title=f"{data_of(found)}: {chart.title}", alt=f"{data_of(found)}: {chart.alt}")


def data_of(found: pd.DataFrame) -> str:
    """What the data set is called, a re-encoding as such."""
    return listed(sorted(set(found["data"])))
