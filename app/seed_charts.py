"""Runs seed by seed → figures: what each reached, and how far it lies from the baseline's run of the same seed.

Colours are those for a light page.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from app.charts import Chart, looks, plotly_text
from app.compare_table import difference
from app.theme import Style
from core import comparison

ZERO = Style("#1F2430", "#E6E8EE", "line-ns", "dot")


def accuracy_by_seed(rows: pd.DataFrame) -> Chart:
    """Test accuracies of ``core.variants.table``: a mark each, seeds along the axis, the best mean first in the key."""
    scores = comparison.by_seed(rows)
    order = list(scores.groupby("variant")["test_accuracy"].mean().sort_values(ascending=False, kind="stable").index)
    legend = looks({name: scores.loc[scores["variant"] == name, "technique"].iloc[0] for name in order})
    figure = go.Figure()
    for name in order:
        own, look = scores[scores["variant"] == name].sort_values("seed"), legend[name]
        figure.add_scatter(
            x=own["seed"].to_numpy(), y=100 * own["test_accuracy"].to_numpy(), mode="lines+markers", legendgroup=name,
            line={"color": look.light, "width": 1, "dash": look.dash}, marker=_marker(look, 10),
            hovertemplate=f"{plotly_text(name)}, seed %{{x}}: %{{y:.2f}} %<extra></extra>",
        )  # fmt: skip
    figure.update_layout(xaxis={"title": {"text": "Seed"}, "dtick": 1}, template=None)
    title = "Test accuracy of each seed (%)"
    told = [f"{name}: {_listed(100 * scores.loc[scores['variant'] == name, 'test_accuracy'])}" for name in order]
    return Chart(figure, title, f"{title}: {'; '.join(told)}", legend)


def differences(rows: pd.DataFrame, tests: pd.DataFrame, pinned: str, span: tuple[float, float] | None = None) -> Chart:
    """What ``core.baseline.against`` judges: the difference in each seed, and above it the mean with its interval.

    ``span``: what the axis reaches over at least, in percentage points, for figures that are to be compared.
    """
    scores = comparison.by_seed(rows)
    legend = looks(
        {name: scores.loc[scores["variant"] == name, "technique"].iloc[0] for name in dict.fromkeys(scores["variant"])}
    )
    legend = {name: legend[name] for name in tests["variant"]}
    base = scores[scores["variant"] == pinned].set_index("seed")["test_accuracy"]
    figure = go.Figure()
    for place, row in enumerate(tests.itertuples(index=False)):
        own = scores[scores["variant"] == row.variant].set_index("seed")["test_accuracy"]
        apart = 100 * (own - base).dropna()
        _strip(figure, row, apart, place, legend[row.variant])
    figure.add_vline(x=0, line={"color": ZERO.light, "width": 1.5, "dash": ZERO.dash})
    figure.update_layout(
        xaxis={
            "title": {"text": f"Percentage points above or below {pinned}"},
            "autorangeoptions": {"include": [0.0, *(span or ())]},
        },
        yaxis={
            "tickvals": list(range(len(tests))), "ticktext": [plotly_text(name) for name in tests["variant"]],
            "showgrid": False, "range": [len(tests) - 0.5, -0.5], "fixedrange": True,
        },
        template=None,
    )  # fmt: skip
    title = f"Difference to {pinned}, seed by seed (percentage points)"
    told = [f"{r.variant} {difference(r.difference, r.low, r.high)}" for r in tests.itertuples(index=False)]
    return Chart(figure, title, f"{title}, mean and interval: {'; '.join(told)}", legend, {ZERO.light: ZERO.dark})


def _strip(figure: go.Figure, row: tuple, apart: pd.Series, place: int, look: Style) -> None:  # type: ignore[type-arg]
    """A row: seeds below, spread so that none hides another; the mean with its interval above."""
    name = row.variant  # type: ignore[attr-defined]
    # The golden ratio spreads points that follow one another over the height of the strip.
    height = (np.arange(1, len(apart) + 1) * 0.618033988749895) % 1.0
    figure.add_scatter(
        x=apart.to_numpy(), y=place + 0.05 + 0.3 * height, customdata=apart.index.to_numpy(), mode="markers",
        legendgroup=name, marker=_marker(look, 9) | {"opacity": 0.7},
        hovertemplate="Seed %{customdata}: %{x:+.2f} points<extra></extra>",
    )  # fmt: skip
    mean, low, high = (100 * getattr(row, part) for part in ("difference", "low", "high"))
    known = not np.isnan(low)
    figure.add_scatter(
        x=[mean], y=[place - 0.2], mode="markers", legendgroup=name,
        marker={"symbol": "diamond", "size": 13, "color": look.light},
        error_x={"type": "data", "array": [high - mean if known else 0.0], "visible": known, "color": look.light,
                 "thickness": 3, "width": 8},
        hovertemplate=f"{plotly_text(name)}, mean: %{{x:+.2f}} points<extra></extra>",
    )  # fmt: skip


def _marker(look: Style, size: int) -> dict[str, object]:
    outline = {"width": 2 if look.marker.endswith("open") else 0, "color": look.light}
    return {"symbol": look.marker, "size": size, "color": look.light, "line": outline}


def _listed(values: Sequence[float] | pd.Series) -> str:
    return ", ".join(f"{value:.1f}" for value in values)
