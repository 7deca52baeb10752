"""The answers of many passes → a figure. Colours are those for a light page."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from app.charts import Chart, plotly_text
from app.theme import Style, style
from core.inspection import Answers

Numbers = npt.NDArray[np.float64]

# A class is drawn if it ever gets more than this, and then the likeliest of those.
WORTH_DRAWING, MOST_DRAWN = 0.01, 10
RANGE = (0.05, 0.95)
EACH, MIDDLE = "One pass", "Mean, and 5 to 95 % of the passes"


def chart(answers: Answers, classes: Sequence[str], technique: str) -> Chart:
    """A strip for each class that counts: every pass a point, above them their mean and range."""
    look = style(technique)
    shown = drawn(answers)
    p = 100 * answers.probabilities[:, shown].numpy()
    mean = 100 * answers.mean[shown].numpy()
    low, high = (100 * answers.quantiles(*RANGE)[:, shown]).numpy()
    names = [plotly_text(classes[k]) for k in shown]
    strips = [_strip(p[:, row], row, name, look) for row, name in enumerate(names)]
    figure = go.Figure([*strips, _ranges(low, high, look), _means(mean, low, high, names, look)])
    figure.update_layout(
        xaxis={"title": {"text": "Probability (%)"}, "range": [-3, 103]},
        yaxis={
            "title": {"text": "Class"}, "tickvals": list(range(len(names))), "ticktext": names, "showgrid": False,
            "range": [len(names) - 0.5, -0.5], "fixedrange": True,
        },
        template=None,
    )  # fmt: skip
    title = "Probability of each class in every pass (%)"
    words = [
        f"{classes[k]} {m:.0f} % on average, mostly {a:.0f} to {b:.0f} %"
        for k, m, a, b in zip(shown, mean, low, high, strict=True)
    ]
    legend = {
        EACH: Style(look.light, look.dark, "circle", "dot"),
        MIDDLE: Style(look.light, look.dark, "diamond", "solid"),
    }
    return Chart(figure, title, f"{title}: {'; '.join(words)}", legend)


def drawn(answers: Answers) -> list[int]:
    """The classes that ever get more than 1 %, the ten likeliest of them at most, in their own order."""
    able = answers.probabilities.amax(0) > WORTH_DRAWING
    likeliest = answers.mean.masked_fill(~able, -1).argsort(descending=True, stable=True)[:MOST_DRAWN]
    return sorted(k for k in likeliest.tolist() if able[k])


def height(answers: Answers) -> int:
    """CSS pixels that the figure needs."""
    return 100 + 34 * len(drawn(answers))


def _strip(p: Numbers, row: int, name: str, look: Style) -> go.Scatter:
    number = np.arange(1, len(p) + 1)
    # The golden ratio spreads points that follow one another over the height of the strip.
    height = (number * 0.618033988749895) % 1.0
    return go.Scatter(
        x=p.astype(np.float32), y=(row - 0.08 + 0.4 * height).astype(np.float32), customdata=number, mode="markers",
        legendgroup=EACH,
        marker={"size": 5, "color": look.light, "opacity": 0.4},
        hovertemplate=f"Pass %{{customdata}}<br>{name}: %{{x:.1f}} %<extra></extra>",
    )  # fmt: skip


def _ranges(low: Numbers, high: Numbers, look: Style) -> go.Scatter:
    # One line with gaps.
    x = np.stack([low, high, np.full_like(low, np.nan)], 1).ravel()
    y = np.repeat(np.arange(len(low)) - 0.28, 3)
    return go.Scatter(x=x, y=y, mode="lines", legendgroup=MIDDLE, hoverinfo="skip",
                      line={"width": 3, "color": look.light})  # fmt: skip


def _means(mean: Numbers, low: Numbers, high: Numbers, names: Sequence[str], look: Style) -> go.Scatter:
    words = [
        f"{name}: {m:.1f} % on average<br>5 to 95 % of the passes: {a:.1f} to {b:.1f} %"
        for name, m, a, b in zip(names, mean, low, high, strict=True)
    ]
    return go.Scatter(
        x=mean, y=np.arange(len(mean)) - 0.28, text=words, mode="markers", legendgroup=MIDDLE,
        marker={"size": 11, "symbol": "diamond", "color": look.light}, hovertemplate="%{text}<extra></extra>",
    )  # fmt: skip
