"""The matrices of Covariance: which units vary together, which fall together, and what DropCorr draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import streamlit as st

from app import pair_panels, pairs
from app.components.plot import plot
from app.controls import Control, Slider, plain_text
from app.covariance_charts import Pair
from app.lessons.lesson import Picture
from app.lessons.pictures import networks
from app.lessons.settings import Settings
from app.lessons.training import Training
from app.lessons.words import Fact, Facts
from app.pairs import FALLING, Shown, Source
from core.config import Config
from core.dropout import TECHNIQUES
from core.inspection.covariance import LARGEST_SHOWN, ORDERS, Order

# Only units can fall together.
ABLE = tuple(name for name, cls in TECHNIQUES.items() if cls.drops == "units")
PANELS = {"activations": "before", "sample": "sample"} | {name: f"falling-{name}" for name in ABLE}
SPOKEN = {name: f'[class*="st-key-lesson-pair-{key}-"] .ds-figure' for name, key in PANELS.items()} | {
    "p": ".st-key-p",
    "marks": '[class*="st-key-lesson-pair-"] .scatterlayer .point',
}
OF_ALL = (
    "images", "units", "still", "pairs", "p", "k", "masks", "first", "second", "correlation", "against_first",
    "against_second", "against", "chance", "sampled", "entries", "batch", "product", "literal", "wide",
    "wide_product", "wide_literal", "saving",
)  # fmt: skip
OF_ONE = ("together", "against_together", "falls", "agreement")
BATCH = Config.batch_size
TIMES_AS_WIDE = 10
# In CSS pixels, for one figure alone: what stands beside another is smaller.
HEIGHT = 460


@dataclass(frozen=True)
class Pairs(Picture):
    """Techniques on the reference images of one layer; ``parts`` are shown, by their names in ``SPOKEN``.

    "marks" are on two pairs: the one that correlates most, and the one that correlates most negatively.
    """

    net: str
    layer: int
    techniques: tuple[str, ...]
    p: float
    order: Order
    parts: tuple[str, ...]

    @property
    def spoken(self) -> Mapping[str, str]:
        return {name: SPOKEN[name] for name in self.parts}

    @property
    def controls(self) -> Sequence[Control]:
        return [Slider("p", "Drop probability p", self.p, 0.0, 1.0, 0.05, "%.2f")] if "p" in self.parts else []

    def names(self) -> frozenset[str]:
        return frozenset({*OF_ALL, *(f"{name}.{fact}" for name in self.techniques for fact in OF_ONE)})

    def facts(self) -> Facts:
        """Shares are in per cent, costs in multiplications."""
        images, units = pairs.looked_at(self.source).shape
        return self._of_pairs() | {
            "images": images,
            "units": units,
            "still": int(np.isnan(np.diag(pairs.correlated(self.source))).sum()),
            "pairs": units * (units - 1) // 2,
            "p": self.p,
            "k": int(self.p * units + 1e-9),
            "masks": pairs.DRAWS * images,
            "chance": 100 * self.p**2,
            "entries": units**2,
            "batch": BATCH,
            "product": product(BATCH, units),
            "literal": literal(BATCH, units),
            "wide": TIMES_AS_WIDE * units,
            "wide_product": product(BATCH, TIMES_AS_WIDE * units),
            "wide_literal": literal(BATCH, TIMES_AS_WIDE * units),
            "saving": literal(BATCH, TIMES_AS_WIDE * units) / product(BATCH, TIMES_AS_WIDE * units),
        }

    def draw(self, key: str) -> None:
        shown = self.shown
        panels = [*pair_panels.panels(shown, self.techniques), pair_panels.sample_panel(shown)]
        wanted = {PANELS[part] for part in self.parts if part in PANELS}
        # Figures of one unit share their colours, also with those that another step shows.
        drawn = [
            (panel, chart)
            for panel, chart in zip(panels, pair_panels.figures(shown, panels, self._marked()), strict=True)
            if panel.key in wanted
        ]
        with st.container(key=f"lesson-pairs-{key}"):
            for panel, chart in drawn:
                with st.container(key=f"lesson-pair-{panel.key}-{key}"):
                    plot(chart, key=f"{panel.key}-{key}", height=HEIGHT)
            st.caption(plain_text(self._caption()))

    def live(self, key: str) -> None:
        """As :meth:`draw`, with p as the person has it."""
        (p,) = [control.draw() for control in self.controls] or [self.p]
        replace(self, p=p).draw(key)

    @property
    def source(self) -> Source:
        return Source(self.net, 0, self.layer)

    @property
    def shown(self) -> Shown:
        return Shown(self.source, self.techniques, self.p, FALLING, "correlation", self.order, False, True)

    def _of_pairs(self) -> dict[str, Fact]:
        """Of the pair that correlates most, and of the one that does so most negatively, called against."""
        correlation = np.triu(np.nan_to_num(pairs.correlated(self.source)), 1)
        most, least = extremes(correlation)
        first, second = pairs.units(self.source)[list(most)]
        against_first, against_second = pairs.units(self.source)[list(least)]
        found: dict[str, Fact] = {
            "first": int(first),
            "second": int(second),
            "correlation": float(correlation[most]),
            "against_first": int(against_first),
            "against_second": int(against_second),
            "against": float(correlation[least]),
            "sampled": float(pairs.sampled_correlation(self.source)[most]),
        }
        for name in self.techniques:
            frequency = 100 * pairs.falling(self.source, name, self.p).frequency
            found |= {
                f"{name}.together": float(frequency[most]),
                f"{name}.against_together": float(frequency[least]),
                f"{name}.falls": float(np.diag(frequency).mean()),
                f"{name}.agreement": pairs.agreed(self.source, name, self.p, "correlation").r,
            }
        return found

    def _marked(self) -> dict[str, Pair]:
        """Nothing where it is not asked for, or cells are blocks of many pairs."""
        if "marks" not in self.parts or len(pairs.units(self.source)) > LARGEST_SHOWN:
            return {}
        found = self._of_pairs()
        return {
            "circle-open": (str(found["first"]), str(found["second"])),
            "square-open": (str(found["against_first"]), str(found["against_second"])),
        }

    def _caption(self) -> str:
        found = self.facts()
        said = [f"Each cell is a pair of the {found['units']} units, over {found['images']} images."]
        if self._marked():
            said.append(
                f"Circle: units {found['first']} and {found['second']}. "
                f"Square: units {found['against_first']} and {found['against_second']}."
            )
        if found["still"]:
            said.append(f"Blank: the {found['still']} units that never change.")
        return " ".join(said)


def read(given: Settings, _training: Training | None) -> Pairs:
    """The picture that a file describes. SettingError."""
    net = networks.net_of(given)
    techniques = given.words("techniques", ABLE)
    parts = given.words("parts", SPOKEN, ("marks", "activations", *techniques))
    for part in parts:
        if part in ABLE and part not in techniques:
            raise given.wrong("parts", f"parts name {part}, which is not among the techniques.")
    order: Order = given.word("order", ORDERS, "cluster")  # type: ignore[assignment]
    return Pairs(net, networks.layer_of(given, net).index, techniques, given.number("p", 0, 1, 0.2), order, parts)


def extremes(matrix: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    """Where the largest and the smallest entry stand."""
    width = matrix.shape[1]
    (a, b), (c, d) = divmod(int(matrix.argmax()), width), divmod(int(matrix.argmin()), width)
    return (a, b), (c, d)


def product(batch: int, units: int) -> int:
    """Multiplications in s = Xᵀz for every example of a batch X (batch, units)."""
    return batch * batch * units


def literal(batch: int, units: int) -> int:
    """Multiplications on the way by S, triangles computed once: S = XᵀX, its Cholesky factor L, each example's L·z."""
    triangle = units * (units + 1) // 2
    return batch * triangle + (units**3 - units) // 6 + batch * triangle
