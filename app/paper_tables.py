"""The paper's tables from our runs, as a person reads them."""

import math
from collections.abc import Mapping

import pandas as pd

from app.compare_table import difference, signed, spread
from app.paper_words import amount, title, value
from core.reproduce.verdicts import Verdict


def accuracies(summary: pd.DataFrame, paper: Mapping[str, float]) -> pd.DataFrame:
    """Test accuracies and times of ``core.comparison.summary`` beside the ``paper``'s, in its order, then ours."""
    ours = summary.set_index("technique")
    names = [*paper, *(name for name in ours.index if name not in paper)]
    rows = []
    for name in names:
        there = name in ours.index
        mean, sd, ratio = (float(ours.loc[name, key]) if there else math.nan
                           for key in ("accuracy", "accuracy_sd", "ratio"))  # fmt: skip
        rows.append(
            {
                "Technique": title(name),
                "Paper (%)": f"{100 * paper[name]:.2f}" if name in paper else "–",
                "Ours ± sd (%)": share(mean, sd),
                "Seeds": str(int(ours.loc[name, "n"])) if there else "0",
                "Ours − paper": signed(100 * (mean - paper[name])) if there and name in paper else "–",
                "Time (×)": "–" if math.isnan(ratio) else f"{ratio:.2f}",
            }
        )
    return pd.DataFrame(rows)


def differences(verdict: Verdict) -> pd.DataFrame:
    """The differences behind a verdict, the lowest first."""
    measure = verdict.claim.measure
    rows = []
    for pair in sorted(verdict.pairs, key=lambda pair: pair.difference.mean):
        row = {
            "Difference": f"{title(pair.one)} {'/' if measure == 'time' else '−'} {title(pair.other)}",
            "Ours (95 %)": value(pair, measure) if pair.difference.n else "–",
            "All at once": value(pair, measure, joint=True) if pair.difference.n else "–",
            "Seeds": str(pair.difference.n),
        }
        rows.append(row if pair.paper is None else row | {"Paper": amount(measure, pair.paper)})
    return pd.DataFrame(rows)


def choices_made(found: pd.DataFrame) -> pd.DataFrame:
    """``core.reproduce.choices.choices`` as a person reads it."""
    return pd.DataFrame(
        {
            "Technique": [title(name) for name in found["technique"]],
            "Count": found["count"],
            "Rescale": found["rescale"],
            "Seeds": found["n"].astype(str),
            "Validation accuracy (%)": [
                share(mean, sd) for mean, sd in zip(found["accuracy"], found["sd"], strict=True)
            ],
            "Less the literal": [
                "literal" if row.setting == row.technique else difference(row.difference, row.low, row.high)
                for row in found.itertuples(index=False)
            ],
            "Dead examples (%)": ["–" if math.isnan(dead) else f"{100 * dead:.2f}" for dead in found["dead"]],
        }
    )


def share(mean: float, sd: float) -> str:
    """A share of 1 in percent with its sd; the sign of percent stands in the heading."""
    return spread(100 * mean, 100 * sd, "", digits=2).strip()
