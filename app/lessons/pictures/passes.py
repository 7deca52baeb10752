"""Monte Carlo dropout of Explore: the answers of many passes on one image, or on what a person draws."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st
from torch import Tensor

from app import monte_carlo, pictures
from app.components.plot import plot
from app.components.stills import stills
from app.controls import plain_text
from app.lessons.lesson import Picture
from app.lessons.pictures import networks
from app.lessons.settings import Settings
from app.lessons.training import Training
from app.lessons.words import Facts
from app.monte_carlo import Question, Reply
from app.monte_carlo_charts import chart, height
from core.data import DataError
from core.dropout import TECHNIQUES

SPOKEN = {
    "image": '[class*="st-key-lesson-sight"] img',
    "answers": ".ds-figure",
    "masks": ".ds-stills",
    "sheet": ".ds-sketch",
}
NAMES = (
    "passes", "label", "says", "sure", "votes", "others", "right_votes", "mean_sure", "doubt", "noise_doubt",
    "most_doubt",
)  # fmt: skip


@dataclass(frozen=True)
class Passes(Picture):
    """Passes of a network with its own technique; ``parts`` are shown. With "sheet" a person may draw an image."""

    net: str
    image: int
    p: float
    passes: int
    parts: tuple[str, ...]

    @property
    def spoken(self) -> Mapping[str, str]:
        return {name: selector for name, selector in SPOKEN.items() if name in self.parts}

    def names(self) -> frozenset[str]:
        return frozenset(NAMES)

    def facts(self) -> Facts:
        """Shares are in per cent, doubt in bits."""
        net = networks.checkpoint(self.net)
        answers = self._asked(networks.pixels(self.net, self.image)).answers
        label = networks.gallery(self.net).labels[self.image]
        clean = net.model().eval()(net.normalise(networks.pixels(self.net, self.image))).softmax(1)[0].detach()
        best = int(clean.argmax())
        made = len(answers.probabilities)
        return {
            "passes": made,
            "label": label,
            "says": net.classes[best],
            "sure": 100 * float(clean[best]),
            "votes": int(answers.votes[best]),
            "others": made - int(answers.votes[best]),
            "right_votes": int(answers.votes[net.classes.index(label)]),
            "mean_sure": 100 * float(answers.mean[best]),
            "doubt": answers.predictive_entropy,
            "noise_doubt": answers.mutual_information,
            "most_doubt": math.log2(len(net.classes)),
        }

    def draw(self, key: str) -> None:
        self._draw(key, sheet=False)

    def live(self, key: str) -> None:
        """As :meth:`draw`, and on the sheet a person may draw another image."""
        self._draw(key, sheet="sheet" in self.parts)

    def _draw(self, key: str, *, sheet: bool) -> None:
        net = networks.checkpoint(self.net)
        gallery = networks.gallery(self.net)
        x = networks.pixels(self.net, self.image)
        caption = f"{gallery.title} {self.image}: {gallery.labels[self.image]}"
        with st.container(key=f"lesson-sight-{key}"):
            place = st.container()
            if sheet and (own := self._drawn()) is not None:
                x, caption = own, "Your drawing"
            with place:
                pictures.show(x, caption)
        with st.container():
            self._draw_answers(self._asked(x), net.classes, key)

    def _draw_answers(self, reply: Reply, classes: tuple[str, ...], key: str) -> None:
        technique = networks.checkpoint(self.net).technique
        if "answers" in self.parts:
            plot(chart(reply.answers, classes, technique), key=f"passes-{key}", height=min(240, height(reply.answers)))
            st.markdown(monte_carlo.sentence(reply.answers, classes, technique))
        if "masks" in self.parts:
            stills(reply.panels, key=f"stills-{key}")

    def _drawn(self) -> Tensor | None:
        try:
            found = pictures.drawn()
            return None if found is None else pictures.remembered(*found, "crop", networks.checkpoint(self.net)).x
        except DataError as error:
            st.error(plain_text(error), icon=":material/error:")
            return None

    def _asked(self, x: Tensor) -> Reply:
        net = networks.checkpoint(self.net)
        own = tuple(sorted(net.knobs.items()))
        return monte_carlo.asked(Question(net, pictures.digest(x), net.technique, own, self.p, self.passes, 0, x))


def read(given: Settings, _training: Training | None) -> Passes:
    """The picture that a file describes. SettingError."""
    net = given.word("net", networks.nets(TECHNIQUES), "digits-standard")
    return Passes(
        net, networks.image_of(given, net), given.number("p", 0, 1, networks.checkpoint(net).p[0]),
        given.whole("passes", 10, 1000, 200), given.words("parts", SPOKEN, ("image", "answers")),
    )  # fmt: skip
