"""Matrices over pairs of units as figures: of the activations, and of what falls together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app import covariance_charts as charts
from app import pair_tables as tables
from app import pairs
from app.covariance_charts import Pair
from app.pairs import FALLING, Shown
from core.inspection.covariance import Matrix, as_correlation, block_size, blocks, varying

BY = {"index": "by index", "variance": "largest variance first", "cluster": "by clustering"}
UNITS = {"covariance": "activation²", "correlation": "−1 to 1"}


@dataclass(frozen=True)
class Panel:
    """One matrix: its ``title`` with the ``unit`` in it, what it shows in words, and whether it has negative values."""

    key: str
    title: str
    unit: str
    alt: str
    matrix: Matrix
    diverging: bool


def panels(shown: Shown, able: Sequence[str]) -> list[Panel]:
    """The activations without dropout, and beside them each technique."""
    before = pairs.before(shown.source)
    if shown.view == FALLING:
        return [activations_panel(shown, before, "without dropout", "before"),
                *(falling_panel(shown, name) for name in able)]  # fmt: skip
    found = [activations_panel(shown, before, "before dropout", "before")]
    for name in able:
        after = pairs.after(shown.source, name, shown.p)
        found.append(activations_panel(shown, after, f"after {tables.title(name)}", f"after-{name}"))
    return found


def activations_panel(shown: Shown, covariance: Matrix, when: str, key: str) -> Panel:
    matrix = varying(covariance) if shown.measure == "covariance" else as_correlation(covariance)
    title = f"{shown.measure.capitalize()} {when} ({UNITS[shown.measure]})"
    values = tables.pair_values(matrix)
    share = f"{100 * np.mean(values > 0):.0f} % of the pairs are above 0" if len(values) else "no unit varies"
    return Panel(key, title, UNITS[shown.measure], f"{title}, {BY[shown.order]}: {share}.", matrix, True)


def falling_panel(shown: Shown, name: str) -> Panel:
    title, unit = f"{tables.title(name)}: pairs that fall together (% of masks)", "% of masks"
    matrix = pairs.falling(shown.source, name, shown.p).frequency
    if shown.excess:
        title, unit = f"{tables.title(name)}: together more than by chance (% of masks)", "% of masks above chance"
        matrix = pairs.beyond_chance(shown.source, name, shown.p)
    r = pairs.agreed(shown.source, name, shown.p, shown.measure)
    alt = (
        f"{title}, {BY[shown.order]}, p {shown.p:g}. Its correlation with the {shown.measure} is {tables.interval(r)}."
    )
    return Panel(f"falling-{name}", title, unit, alt, 100 * matrix, shown.excess)


def sample_panel(shown: Shown) -> Panel:
    """What DropCorr draws: the correlation of its samples s, for which none of a covariance was formed."""
    matrix = pairs.sampled_correlation(shown.source)
    count = pairs.DRAWS * len(pairs.looked_at(shown.source))
    title, unit = f"Correlation of {count:,} samples s (−1 to 1)", UNITS["correlation"]
    apart = np.abs(tables.pair_values(matrix) - tables.pair_values(pairs.correlated(shown.source)))
    alt = f"{title}, {BY[shown.order]}: at most {apart.max(initial=0.0):.2f} from that of the activations."
    return Panel("sample", title, unit, alt, matrix, True)


def figures(shown: Shown, panels: Sequence[Panel], marked: Mapping[str, Pair] | None = None) -> list[charts.Chart]:
    """A figure each, those of one unit in the same colours; ``marked``: plotly's name of a mark → the pair it is on."""
    order = pairs.ordered(shown.source, shown.order)
    axis = charts.unit_axis(order, block_size(len(order)), BY[shown.order])
    made = []
    for panel in panels:
        alike = [other.matrix for other in panels if other.unit == panel.unit] if shown.one_scale else [panel.matrix]
        limit = 1.0 if panel.unit == UNITS["correlation"] else None
        scale = charts.scale_of(alike, diverging=panel.diverging, limit=limit)
        matrix, unit = blocks(panel.matrix, order), "" if limit else panel.unit
        chart = charts.heatmap(matrix, axis, scale, title=panel.title, unit=unit, alt=panel.alt)
        made.append(charts.with_marks(chart, marked) if marked else chart)
    return made
