"""What a network takes for what → figure. Colours are those for a light page."""

import numpy as np
import plotly.graph_objects as go

from app.charts import Chart, plotly_text
from app.covariance_charts import BLANK, SEQUENTIAL
from core.confusion import Confusion

# Up to so many classes every cell has room for its number.
MOST_NUMBERED = 20
# The share of a class's images that must be mistaken for the darkest colour.
DARKEST = 0.1


def confusion_chart(found: Confusion, name: str) -> Chart:
    """Mistakes of ``name`` by colour and number; right answers, which would outshine them, on the blank diagonal."""
    counts, classes = found.counts, [plotly_text(label) for label in found.classes]
    right = np.eye(len(classes), dtype=bool)
    wrong = np.where(right | (counts == 0), np.nan, counts.astype(float))
    # A single mistake is no dark one, however rare the others are.
    most = max(float(np.nanmax(wrong, initial=1.0)), DARKEST * float(counts.sum(axis=1).max(initial=1)))
    stops = np.linspace(0, 1, len(SEQUENTIAL))
    numbered = len(classes) <= MOST_NUMBERED
    cells = go.Heatmap(
        z=np.where(right, np.nan, counts.astype(np.float32)), x=list(range(len(classes))), y=list(range(len(classes))),
        customdata=counts, zmin=0.0, zmax=most, hoverongaps=False, showscale=not numbered,
        colorscale=[[stop, light] for stop, (light, _) in zip(stops, SEQUENTIAL, strict=True)],
        colorbar={"thickness": 10, "outlinewidth": 0, "xpad": 6, "ypad": 0, "tickfont": {"size": 11}, "nticks": 6},
        hoverinfo="skip" if numbered else None, xgap=1, ygap=1,
    )  # fmt: skip
    figure = go.Figure([cells, *(_numbers(counts, classes, most) if numbered else ())])
    ticks = {"tickmode": "array", "tickvals": list(range(len(classes))), "ticktext": classes} if numbered else {}
    span = [-0.5, len(classes) - 0.5]
    shared = {"showgrid": False, "constrain": "domain", "zeroline": False} | ticks
    figure.update_layout(
        xaxis={**shared, "title": {"text": "Answer"}, "range": span},
        yaxis={**shared, "title": {"text": "True class"}, "range": span[::-1], "scaleanchor": "x"},
        plot_bgcolor=BLANK[0], margin={"l": 30, "r": 8, "t": 8, "b": 40}, template=None,
    )  # fmt: skip
    title = f"{name}: test images by true class and answer"
    worst = [f"{true} taken for {answer} {n} times" for true, answer, n, _ in found.mistakes(3)]
    alt = f"{title}: {100 * found.accuracy:.1f} % are right; {'; '.join(worst) or 'no mistake'}"
    return Chart(figure, title, alt, {}, dict([BLANK, *SEQUENTIAL]), square=True)


def _numbers(counts: np.ndarray, classes: list[str], most: float) -> list[go.Scatter]:
    """The number of every cell that has one, legible on its colour: text of the page's own, or of its ground."""
    i, j = np.nonzero(counts)
    deep = (i != j) & (counts[i, j] > 0.55 * most)
    cells = zip(i, j, strict=True)
    told = [f"{classes[a]} taken for {classes[b]}: {counts[a, b]} of {counts[a].sum()}" for a, b in cells]
    return [
        go.Scatter(
            x=j[which], y=i[which], text=counts[i, j][which], mode="text", textfont={"size": 12} | colour,
            customdata=np.array(told, dtype=object)[which], hovertemplate="%{customdata}<extra></extra>",
        )
        for which, colour in ((~deep, {}), (deep, {"color": "#FEFEFE"}))
    ]  # fmt: skip
