"""DataFrame → Plotly figure. Colours are those for a light page: the component exchanges them on a dark one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from app.theme import Style, style_of_variant


@dataclass(frozen=True)
class Chart:
    """A figure with its ``title`` (units in it), what it shows in words (``alt``), and its ``legend``: name → style.

    ``dark`` gives other colours of the figure what takes their place on a dark page. A ``square`` one has room for a
    square of data and a colour bar.
    """

    figure: go.Figure
    title: str
    alt: str
    legend: Mapping[str, Style]
    dark: Mapping[str, str] = field(default_factory=dict)
    square: bool = False

    @cached_property
    def json(self) -> str:
        """The figure as Plotly reads it: made once, as a chart may be drawn many times."""
        return str(self.figure.to_json())


def accuracy_per_epoch(curves: pd.DataFrame, order: Sequence[str] = ()) -> Chart:
    """Mean validation accuracy with a band of one sd over seeds, of ``core.comparison.curves``.

    Variants in ``order`` come first in the legend.
    """
    parts = {str(variant): frame for variant, frame in curves.groupby("variant", sort=False)}
    names = [name for name in order if name in parts] + [name for name in parts if name not in order]
    legend = looks({name: parts[name]["technique"].iloc[0] for name in names})
    # All bands lie behind all lines.
    bands = [_band(name, parts[name], legend[name]) for name in names if (parts[name]["n"] > 1).any()]
    figure = go.Figure([*bands, *(_curve(name, parts[name], legend[name]) for name in names)])
    figure.update_layout(xaxis={"title": {"text": "Epoch"}, "rangemode": "tozero"}, template=None)
    last = curves.sort_values("epoch").groupby("variant", sort=False).tail(1)
    ends = [f"{row.variant} ends at {100 * row.mean:.1f} %" for row in last.itertuples(index=False)]
    title = "Validation accuracy per epoch (%)"
    return Chart(figure, title, f"{title}: {'; '.join(ends)}", legend)


def accuracy_against_time(summary: pd.DataFrame, unit: str) -> Chart:
    """Mean test accuracy against relative training time with error bars of one sd, of ``core.comparison.summary``.

    ``unit`` says to what times relate, as "× no dropout".
    """
    figure = go.Figure()
    legend = looks(dict(zip(summary["variant"], summary["technique"], strict=True)))
    for row in summary.itertuples(index=False):
        look = legend[row.variant]
        figure.add_scatter(
            x=[row.ratio], y=[100 * row.accuracy], mode="markers", marker=_marker(look, 12), legendgroup=row.variant,
            error_x=_bar(row.ratio_sd, look), error_y=_bar(100 * row.accuracy_sd, look),
            hovertemplate=f"{plotly_text(row.variant)}<br>%{{y:.1f}} % at %{{x:.2f}} × (n = {row.n})<extra></extra>",
        )  # fmt: skip
    figure.update_layout(
        xaxis={
            "title": {"text": f"Training time an epoch ({unit})"},
            "range": _span(summary["ratio"], summary["ratio_sd"], 0.2),
        },
        yaxis={"range": _span(100 * summary["accuracy"], 100 * summary["accuracy_sd"], 2.0)},
        template=None,
    )
    words = [f"{r.variant} {100 * r.accuracy:.1f} % at {r.ratio:.2f} times" for r in summary.itertuples(index=False)]
    title = "Test accuracy (%) against training time"
    return Chart(figure, title, f"{title}: {'; '.join(words)}", legend)


def looks(techniques: Mapping[str, str]) -> dict[str, Style]:
    """Variant → style, for variant → technique; the order they are given in makes no difference."""
    seen: dict[str, int] = {}
    found = {}
    for variant in sorted(techniques):
        technique = techniques[variant]
        found[variant] = style_of_variant(technique, seen.get(technique, 0))
        seen[technique] = seen.get(technique, 0) + 1
    return {variant: found[variant] for variant in techniques}


def plotly_text(text: object) -> str:
    """Plotly reads a little markup and ``%{…}`` in hover texts: names are shown as they are."""
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace("%", "&#37;")


def _span(mean: pd.Series, sd: pd.Series, least: float) -> list[float]:
    """A range around all bars, no narrower than ``least``: a small difference must not look like a large one."""
    low, high = float((mean - sd.fillna(0)).min()), float((mean + sd.fillna(0)).max())
    missing = max(0.0, least - (high - low))
    margin = 0.08 * max(high - low, least)
    return [low - missing / 2 - margin, high + missing / 2 + margin]


def _curve(name: str, frame: pd.DataFrame, look: Style) -> go.Scatter:
    return go.Scatter(
        x=frame["epoch"].to_numpy(), y=100 * frame["mean"].to_numpy(), customdata=frame["n"].to_numpy(),
        mode="lines+markers" if len(frame) <= 40 else "lines", legendgroup=name,
        line={"color": look.light, "width": 2, "dash": look.dash}, marker=_marker(look, 7),
        hovertemplate=f"{plotly_text(name)}<br>epoch %{{x}}: %{{y:.1f}} % (n = %{{customdata}})<extra></extra>",
    )  # fmt: skip


def _band(name: str, frame: pd.DataFrame, look: Style) -> go.Scatter:
    epoch, mean, sd = (frame[column].to_numpy() for column in ("epoch", "mean", "sd"))
    outline = 100 * np.concatenate([mean + sd, (mean - sd)[::-1]])
    return go.Scatter(
        x=np.concatenate([epoch, epoch[::-1]]), y=outline, fill="toself", fillcolor=look.light, line={"width": 0},
        mode="lines", opacity=0.16, hoverinfo="skip", legendgroup=name,
    )  # fmt: skip


def _marker(look: Style, size: int) -> dict[str, object]:
    open_shape = look.marker.endswith("open")
    return {
        "symbol": look.marker,
        "size": size,
        "color": look.light,
        "line": {"width": 2 if open_shape else 0, "color": look.light},
    }


def _bar(sd: float, look: Style) -> dict[str, object]:
    known = not pd.isna(sd)
    return {
        "type": "data", "array": [float(sd) if known else 0.0], "visible": known,
        "color": look.light, "thickness": 1.5, "width": 4,
    }  # fmt: skip
