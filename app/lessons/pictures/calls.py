"""A shipped network that is called again and again on its test images, with and without ``eval()``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import pandas as pd
import streamlit as st
import torch
from torch import Tensor

from app.call_charts import accuracy_of_calls
from app.components.plot import plot
from app.html_table import html_table
from app.lessons.lesson import Picture
from app.lessons.pictures import networks
from app.lessons.settings import Settings
from app.lessons.training import Training
from app.lessons.words import Facts
from core.dropout import TECHNIQUES
from core.inspection import called

SPOKEN = {
    "calls": ".ds-figure",
    "again": '[class*="st-key-lesson-again"] button',
    "answers": '[class*="st-key-lesson-answers"] .ds-table',
}
NAMES = (
    "p", "images", "calls", "accuracy", "mean", "lowest", "highest", "lost", "changed", "ever_changed", "eval_changed",
)  # fmt: skip
MOST_CALLS, MOST_MORE = 100, 100
# Of the images whose answers differ, so many are listed with so many calls.
LISTED, CALLS_LISTED = 5, 4
HEIGHT = 320


@dataclass(frozen=True)
class Calls(Picture):
    """``calls`` of a network with this p; ``parts`` are shown. With "again" a person may call it once more."""

    net: str
    p: float
    calls: int
    parts: tuple[str, ...]

    @property
    def spoken(self) -> Mapping[str, str]:
        return {name: selector for name, selector in SPOKEN.items() if name in self.parts}

    def names(self) -> frozenset[str]:
        return frozenset(NAMES)

    def facts(self) -> Facts:
        """Accuracies are in per cent, ``lost`` in points, the rest counts images; ``changed``: in the second call."""
        on, off, labels = self._answers(self.calls), self._answers(self.calls, training=False), _labels(self.net)
        shares = 100 * (on == labels).double().mean(1)
        accuracy = 100 * float((off[0] == labels).double().mean())
        return {
            "p": self.p,
            "images": len(labels),
            "calls": self.calls,
            "accuracy": accuracy,
            "mean": float(shares.mean()),
            "lowest": float(shares.min()),
            "highest": float(shares.max()),
            "lost": accuracy - float(shares.mean()),
            "changed": int((on[0] != on[1]).sum()),
            "ever_changed": int((on != on[0]).any(0).sum()),
            "eval_changed": int((off != off[0]).any(0).sum()),
        }

    def draw(self, key: str) -> None:
        more = st.session_state.setdefault("lesson-calls-more", {})
        # One part of the picture for the page, whatever is in it.
        with st.container():
            place = st.container()
            if "again" in self.parts and st.button(
                "Call it again", key=f"lesson-again-{key}", icon=":material/refresh:"
            ):
                more[key] = min(MOST_MORE, more.get(key, 0) + 1)
            with place:
                self._draw(self.calls + more.get(key, 0), key)

    def _draw(self, made: int, key: str) -> None:
        on, off, labels = self._answers(made), self._answers(made, training=False), _labels(self.net)
        if "calls" in self.parts:
            chart = accuracy_of_calls(on == labels, off == labels, networks.checkpoint(self.net).technique)
            plot(chart, key=f"calls-{key}", height=HEIGHT)
        if "answers" in self.parts:
            with st.container(key=f"lesson-answers-{key}"):
                st.html(html_table(self._listed(on, off, labels), "Answers to the same images"))

    def _listed(self, on: Tensor, off: Tensor, labels: Tensor) -> pd.DataFrame:
        """The first images that the last calls answer differently, an image a row."""
        recent = on[-CALLS_LISTED:]
        changing = torch.nonzero((recent != recent[0]).any(0)).flatten()[:LISTED].tolist()
        classes = networks.checkpoint(self.net).classes
        columns = {"Test image": changing, "Label": [classes[labels[i]] for i in changing]}
        first = len(on) - len(recent) + 1
        columns |= {
            f"Call {first + turn}": [classes[answers[i]] for i in changing] for turn, answers in enumerate(recent)
        }
        return pd.DataFrame(columns | {"After eval()": [classes[off[0, i]] for i in changing]})

    def _answers(self, calls: int, *, training: bool = True) -> Tensor:
        return _answers(self.net, self.p, calls, training)


def read(given: Settings, _training: Training | None) -> Calls:
    """The picture that a file describes. SettingError."""
    net = given.word("net", networks.nets(TECHNIQUES), "digits-standard")
    return Calls(
        net, given.number("p", 0, 1, networks.checkpoint(net).p[0]), given.whole("calls", 2, MOST_CALLS, 10),
        given.words("parts", SPOKEN, ("calls", "answers")),
    )  # fmt: skip


def _labels(net: str) -> Tensor:
    """The class of each test image: (B,)."""
    classes = networks.checkpoint(net).classes
    return torch.tensor([classes.index(label) for label in networks.gallery(net).labels])


@lru_cache(maxsize=32)
def _answers(net: str, p: float, calls: int, training: bool) -> Tensor:
    """What each call answers: (calls, B). More calls begin with the same ones."""
    checkpoint = networks.checkpoint(net)
    x = checkpoint.normalise(networks.gallery(net).x)
    return called(checkpoint.model(), x, calls=calls, training=training, p=p)
