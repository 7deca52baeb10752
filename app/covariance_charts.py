"""Matrices over pairs of units → figures; and what goes with them. Colours are those for a light page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import plotly.graph_objects as go

from app.charts import Chart
from app.theme import Style, style
from core.inspection.covariance import Indices, Matrix
from core.inspection.together import Trend

BLANK = ("#ECEEF2", "#262C39")
# Light and dark, from the lowest value to the highest; what is 0 has the ground of the page.
DIVERGING = (
    ("#0B3A6F", "#BFE0FF"), ("#2C6FB3", "#5AA3EC"), ("#8DB8DF", "#23548C"), ("#FFFFFF", "#0E1117"),
    ("#F0A988", "#83371F"), ("#C94F31", "#E8754F"), ("#741A0C", "#FFD0BC"),
)  # fmt: skip
SEQUENTIAL = (
    ("#FEFEFE", "#0E1118"), ("#C9E5E0", "#123A3E"), ("#7FBFB7", "#1E6C6C"), ("#378982", "#2FA89C"),
    ("#175358", "#86E4CF"), ("#06282F", "#EAFFF6"),
)  # fmt: skip
# The share of pairs whose value lies beyond the end of the colours.
BEYOND = 0.005


# Two units, by their names on the axes.
Pair = tuple[str, str]
MARK = ("#1B2130", "#FFFFFF")


@dataclass(frozen=True)
class Scale:
    """Colours for values up to ``limit``: from -limit with 0 in the middle if ``diverging``, else from 0."""

    limit: float
    diverging: bool

    @property
    def colours(self) -> Sequence[tuple[str, str]]:
        return DIVERGING if self.diverging else SEQUENTIAL


@dataclass(frozen=True)
class Axis:
    """What both axes of a matrix show: ``title``, what ``each`` row is, and the rows' ``names``."""

    title: str
    each: str
    names: Sequence[str]


def scale_of(matrices: Sequence[Matrix], *, diverging: bool, limit: float | None = None) -> Scale:
    """A scale for these matrices together, by their pairs: what stands on the diagonals may be larger."""
    if limit is None:
        sizes = [np.abs(m[~np.eye(len(m), dtype=bool)]) for m in matrices]
        known = np.concatenate([size[np.isfinite(size)] for size in sizes])
        limit = float(np.quantile(known, 1 - BEYOND)) if len(known) else 0.0
    return Scale(limit or 1.0, diverging)


def heatmap(matrix: Matrix, axis: Axis, scale: Scale, *, title: str, unit: str, alt: str) -> Chart:
    """A matrix over pairs of units; pairs without a value stay blank."""
    stops = np.linspace(0, 1, len(scale.colours))
    cells = go.Heatmap(
        z=matrix.astype(np.float32), x=list(axis.names), y=list(axis.names),
        zmin=-scale.limit if scale.diverging else 0.0, zmax=scale.limit, hoverongaps=False,
        colorscale=[[stop, light] for stop, (light, _) in zip(stops, scale.colours, strict=True)],
        colorbar={"thickness": 10, "outlinewidth": 0, "xpad": 6, "ypad": 0, "tickfont": {"size": 11}, "nticks": 6},
        hovertemplate=f"{axis.each} %{{y}} and %{{x}}<br>%{{z:.3~g}} {unit}<extra></extra>",
    )  # fmt: skip
    shared = {"type": "category", "showgrid": False, "nticks": 6, "tickangle": 0, "constrain": "domain"}
    figure = _figure(
        [cells],
        xaxis={**shared, "title": {"text": axis.title}},
        yaxis={**shared, "autorange": "reversed", "scaleanchor": "x"},
        plot_bgcolor=BLANK[0], margin={"l": 30, "r": 0, "t": 8, "b": 40},
    )  # fmt: skip
    return Chart(figure, title, alt, {}, dict([BLANK, *scale.colours]), square=True)


def with_marks(chart: Chart, marked: Mapping[str, Pair]) -> Chart:
    """A heatmap of single units with marks around pairs, on both sides of the diagonal: plotly's symbol → pair."""
    for symbol, (first, second) in marked.items():
        chart.figure.add_trace(go.Scatter(
            x=[first, second], y=[second, first], mode="markers", hoverinfo="skip", showlegend=False,
            marker={"symbol": symbol, "size": 14, "color": MARK[0], "line": {"width": 2, "color": MARK[0]}},
        ))  # fmt: skip
    # A mark near the edge would have plotly keep free what lies around it.
    last = len(chart.figure.data[0].x) - 0.5
    chart.figure.update_layout(xaxis_range=[-0.5, last], yaxis={"range": [last, -0.5], "autorange": False})
    return replace(chart, dark={**chart.dark, MARK[0]: MARK[1]})


def falling_over(trends: Mapping[str, Trend], titles: Mapping[str, str], measure: str, unit: str) -> Chart:
    """How often pairs fall together over a ``measure`` between them: technique → its trend, one line each."""
    lines = [
        go.Scatter(
            x=trend.value, y=100 * trend.frequency, customdata=trend.pairs, mode="lines+markers",
            legendgroup=titles[name], line={"color": look.light, "width": 2, "dash": look.dash},
            marker={"symbol": look.marker, "size": 7, "color": look.light},
            hovertemplate=f"{titles[name]}<br>{measure} %{{x:.2g}}: %{{y:.1f}} % of masks"
                          "<br>mean of %{customdata:,} pairs<extra></extra>",
        )
        for name, trend, look in ((name, trend, style(name)) for name, trend in trends.items())
    ]  # fmt: skip
    title = f"Pairs that fall together (% of masks) over their {measure}, by twentieths"
    figure = _figure(
        lines,
        xaxis={"title": {"text": f"{measure.capitalize()} of the pair ({unit})"}},
        yaxis={"rangemode": "tozero"},
    )
    ends = [
        f"{titles[name]} from {100 * trend.frequency[0]:.1f} to {100 * trend.frequency[-1]:.1f}"
        for name, trend in trends.items()
        if len(trend.value)
    ]
    return Chart(figure, title, f"{title}: {'; '.join(ends)}.", {titles[name]: style(name) for name in trends})


def spectra(lines: Mapping[str, tuple[Matrix, Style]]) -> Chart:
    """Eigenvalues of covariances, largest first, on a logarithmic scale: name → eigenvalues and look."""
    known = {name: values[values > 1e-5 * max(values[0], 1e-30)] for name, (values, _) in lines.items()}
    traces = [
        go.Scatter(
            x=np.arange(1, len(known[name]) + 1), y=known[name], mode="lines", legendgroup=name,
            line={"color": look.light, "width": 2, "dash": look.dash},
            hovertemplate=f"{name}<br>direction %{{x}}: %{{y:.3~g}}<extra></extra>",
        )
        for name, (_, look) in lines.items()
    ]  # fmt: skip
    figure = _figure(
        traces,
        xaxis={"title": {"text": "Direction, by variance"}, "rangemode": "tozero"},
        yaxis={"type": "log", "exponentformat": "power", "dtick": 1},
    )
    title = "Spectrum: variance along each direction (activation²)"
    ends = [f"{name}, largest {values[0]:.3g}" for name, (values, _) in lines.items()]
    legend = {name: look for name, (_, look) in lines.items()}
    dark = {look.light: look.dark for look in legend.values()}
    return Chart(figure, title, f"{title}: {'; '.join(ends)}.", legend if len(legend) > 1 else {}, dark)


def drift_curve(epochs: Sequence[float], drift: Matrix, now: int, refresh: int) -> Chart:
    """How far the covariance has moved since its last estimate, over the epochs, with a ring around the one shown."""
    look = style("dropcorr")
    curve = go.Scatter(
        x=np.asarray(epochs), y=100 * drift, mode="lines+markers", marker={"size": 5, "color": look.light},
        line={"color": look.light, "width": 2}, hovertemplate="epoch %{x}: %{y:,.0f} %<extra></extra>",
    )  # fmt: skip
    ring = go.Scatter(
        x=[epochs[now]], y=[100 * drift[now]], mode="markers", hoverinfo="skip",
        marker={"size": 14, "symbol": "circle-open", "color": look.light, "line": {"width": 2, "color": look.light}},
    )  # fmt: skip
    y: dict[str, object] = {"rangemode": "tozero"}
    if leaves_chart(drift, refresh):
        most = float(np.nanmax(drift[refresh:], initial=0.0)) or 0.01
        y["range"] = [-4 * most, 115 * most]
    figure = _figure([curve, ring], xaxis={"title": {"text": "Epoch"}, "rangemode": "tozero"}, yaxis=y)
    title = "Drift of the covariance since its last estimate (% of its size)"
    alt = f"{title}: {100 * drift[now]:,.0f} % at epoch {epochs[now]:g}, at most {100 * np.nanmax(drift):,.0f} %."
    return Chart(figure, title, alt, {}, {look.light: look.dark})


def leaves_chart(drift: Matrix, refresh: int) -> bool:
    """Whether the drift from the first estimate, that of the untrained network, would dwarf all that comes after."""
    first, later = (np.nanmax(part, initial=0.0) for part in (drift[:refresh], drift[refresh:]))
    return refresh < len(drift) and bool(first > 5 * later)


def unit_axis(order: Indices, size: int, words: str) -> Axis:
    """Axis over units in that ``order``, or over blocks of ``size`` neighbours in it; ``words`` say by what."""
    if size == 1:
        return Axis(f"Unit, {words}", "units", [str(unit) for unit in order])
    starts = range(0, len(order), size)
    last = len(order) - 1
    return Axis(f"Block of {size} units, {words}", "places", [f"{a}–{min(a + size - 1, last)}" for a in starts])


def _figure(traces: Sequence[go.Scatter | go.Heatmap], **layout: object) -> go.Figure:
    """A figure in one go and without plotly's template, which takes a third of the time of a later update."""
    return go.Figure(traces, layout={**layout, "template": "none"})
