"""What Compare says of runs over seeds: its table with differences and intervals, its sentence, and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd
import streamlit as st

from app import seed_charts
from app.compare_table import shown_summary
from app.components.plot import plot
from app.controls import plain_text
from app.html_table import html_table
from app.lessons.lesson import Picture
from app.lessons.pictures import seeds
from app.lessons.pictures.seeds import TABLES, TITLES
from app.lessons.settings import Settings
from app.lessons.training import Training
from app.lessons.words import Fact, Facts
from core import baseline, comparison

SPOKEN = {
    "seeds": '[class*="st-key-lesson-seeds"] .ds-figure',
    "differences": '[class*="st-key-lesson-differences"] .ds-figure',
    "table": '[class*="st-key-lesson-table"] .ds-table',
    "verdict": '[class*="st-key-lesson-verdict"] p',
}
OF_ALL = ("techniques", "seeds", "images", "image", "best", "verdict", "baseline")
OF_ONE = (
    "accuracy", "sd", "lowest", "highest", "spread", "difference", "low", "high", "width", "p_value", "percent",
    "ahead", "level", "images_more",
)  # fmt: skip
COLUMNS_OF_TIME = ["Training time, mean ± sd", "Relative time"]
HEIGHT, HEIGHT_OF_AXIS, HEIGHT_OF_ONE = 320, 90, 110


@dataclass(frozen=True)
class Comparison(Picture):
    """Some techniques of a shipped table, over so many ``seeds`` behind those that are skipped."""

    table: str
    techniques: tuple[str, ...]
    pinned: str
    seeds: int
    skip: int
    parts: tuple[str, ...]

    @property
    def spoken(self) -> Mapping[str, str]:
        return {name: selector for name, selector in SPOKEN.items() if name in self.parts}

    def names(self) -> frozenset[str]:
        return frozenset({*OF_ALL, *(f"{name}.{fact}" for name in self.techniques for fact in OF_ONE)})

    def facts(self) -> Facts:
        """Accuracies are in per cent, differences to the baseline in points; NaN where seeds are too few."""
        rows, tests = self._rows(), self._tests()
        summary = comparison.summary(rows)
        images = seeds.test_images()
        found: dict[str, Fact] = {
            "techniques": len(self.techniques),
            "seeds": int(rows["seed"].nunique()),
            "images": images,
            "image": 100 / images,
            "best": str(summary["variant"].iloc[0]),
            "baseline": TITLES[self.pinned],
            "verdict": baseline.verdict(tests, TITLES[self.pinned]),
        }
        for name in self.techniques:
            own = _of_one(rows, tests, TITLES[name], TITLES[self.pinned])
            own["images_more"] = round(float(own["difference"]) * images / 100)
            found |= {f"{name}.{fact}": value for fact, value in own.items()}
        return found

    def draw(self, key: str) -> None:
        # One part of the picture for the page, whatever is in it.
        with st.container():
            for part in self.parts:
                with st.container(key=f"lesson-{part}-{key}"):
                    self._draw(part, key)

    def _draw(self, part: str, key: str) -> None:
        rows, tests, pinned = self._rows(), self._tests(), TITLES[self.pinned]
        if part == "seeds":
            plot(seed_charts.accuracy_by_seed(rows), key=f"seeds-{key}", height=HEIGHT)
        elif part == "differences":
            chart = seed_charts.differences(rows, tests, pinned, self._span())
            plot(chart, key=f"differences-{key}", height=HEIGHT_OF_AXIS + HEIGHT_OF_ONE * len(tests))
        elif part == "table":
            shown = shown_summary(comparison.summary(rows), tests, pinned).drop(columns=COLUMNS_OF_TIME)
            if rows["seed"].nunique() == 1:
                shown = shown.drop(columns="p").rename(columns=lambda name: name.removesuffix(", mean ± sd"))
            st.html(html_table(shown, "Test accuracy"))
        else:
            st.markdown(plain_text(baseline.verdict(tests, pinned)))

    def _span(self) -> tuple[float, float]:
        """How far the differences of all seeds of the table reach, whichever are shown."""
        scores = seeds.rows(self.table).pivot_table(index="seed", columns="technique", values="test_accuracy")
        apart = 100 * scores[list(self.techniques)].sub(scores[self.pinned], axis=0)
        return float(apart.min().min()), float(apart.max().max())

    def _rows(self) -> pd.DataFrame:
        rows = seeds.rows(self.table)
        chosen = sorted(rows["seed"].unique())[self.skip : self.skip + self.seeds]
        return rows[rows["technique"].isin(self.techniques) & rows["seed"].isin(chosen)]

    def _tests(self) -> pd.DataFrame:
        return baseline.against(self._rows(), TITLES[self.pinned])


def read(given: Settings, _training: Training | None) -> Comparison:
    """The picture that a file describes. SettingError."""
    table = given.word("table", TABLES)
    rows = seeds.rows(table)
    most = int(rows["seed"].nunique())
    techniques = given.words("techniques", dict.fromkeys(rows["technique"]), dict.fromkeys(rows["technique"]))
    if len(techniques) < 2:
        raise given.wrong("techniques", "It takes two techniques to compare.")
    skip = given.whole("skip", 0, most - 1, 0)
    count = given.whole("seeds", 1, most - skip, most - skip)
    pinned = given.word("baseline", techniques, techniques[0])
    return Comparison(table, techniques, pinned, count, skip, given.words("parts", SPOKEN, ("table", "verdict")))


def _of_one(rows: pd.DataFrame, tests: pd.DataFrame, variant: str, pinned: str) -> dict[str, Fact]:
    scores = comparison.by_seed(rows).set_index("seed").groupby("variant")["test_accuracy"]
    own, base = 100 * scores.get_group(variant), 100 * scores.get_group(pinned)
    test = tests.set_index("variant").reindex([variant]).iloc[0]
    apart = (own - base).round(6)
    low, high = 100 * test["low"], 100 * test["high"]
    return {
        "accuracy": float(own.mean()),
        "sd": float(own.std(ddof=1)),
        "lowest": float(own.min()),
        "highest": float(own.max()),
        "spread": float(own.max() - own.min()),
        "difference": float(apart.mean()),
        "low": float(low),
        "high": float(high),
        "width": float(high - low),
        "p_value": float(test["p_value"]),
        "percent": 100 * float(test["p_value"]),
        "ahead": int((apart > 0).sum()),
        "level": int((apart == 0).sum()),
    }
