"""The live curves of Train, of runs that the lesson trains, and the losses and accuracies that they end at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from app import services
from app.components.live_curves import CURVES, PARTS, Excerpt, live_curves
from app.controls import plain_text
from app.lessons.lesson import Picture
from app.lessons.pictures import runs
from app.lessons.settings import Settings
from app.lessons.training import Look, Training, Wait
from app.lessons.words import Fact, Facts
from app.watching import TITLES, described, p_text
from core.config import Config
from core.runs import Run

SPOKEN = {
    **{name: f'.ds-curve[data-curve="{name}"]' for name in CURVES},
    **{name: f'.ds-chart[data-chart="{name}"]' for name in ("loss", "accuracy")},
    "key": ".ds-curves",
    "runs": ".ds-runs",
    "story": ".ds-loss-story",
}
OF_ALL = ("images", "validation_images", "test_images", "epochs")
OF_ONE = (
    "train", "quiet", "validation", "least", "least_epoch", "rise", "gap", "train_accuracy", "accuracy", "gain", "p",
)  # fmt: skip
USUAL = ("loss", "key", "runs")


@dataclass(frozen=True)
class Curves(Picture):
    """The curves of runs by their names; ``parts`` of the view are shown, with some of the ``kinds`` of curves."""

    training: Training
    runs: tuple[str, ...]
    kinds: tuple[str, ...]
    parts: tuple[str, ...]

    @property
    def spoken(self) -> Mapping[str, str]:
        kinds = self.kinds if "key" in self.parts else ()
        rows = {name: f".ds-runs > :nth-child({place})" for place, name in enumerate(self.runs, 1)}
        return {name: SPOKEN[name] for name in (*self.parts, *kinds)} | (rows if "runs" in self.parts else {})

    def names(self) -> frozenset[str]:
        return frozenset({*OF_ALL, *(f"{name}.{fact}" for name in self.runs for fact in OF_ONE)})

    def facts(self) -> Facts:
        """Means over seeds: cross entropies; accuracies in per cent, ``gain`` of it in points over the first run."""
        look = self._look()
        known = dict.fromkeys(self.names(), "…") | runs.sizes(self.training)
        if look.wait:
            return known
        ends = {name: self._end(name, look) for name in self.runs}
        for name, end in ends.items():
            end["gain"] = float(end["accuracy"]) - float(ends[self.runs[0]]["accuracy"])
            known |= {f"{name}.{fact}": value for fact, value in end.items()}
        return known

    def waits(self) -> Wait | None:
        return self._look().wait

    def draw(self, key: str) -> None:
        look = self._look()
        shown = look.runs
        # Of all the lesson trains, so that a run looks the same in every step.
        looks = described(self.training.look().runs)
        for run in shown:
            looks[run.id] |= {"detail": dose(run.config.get("p")), "fields": []}
        if look.wait and not shown:
            st.caption(plain_text(look.wait.sentence))
        alt = "" if look.wait else self._alt(self.facts())
        live_curves([looks[run.id] for run in shown], able=False, excerpt=Excerpt(self.parts, self.kinds, alt), key=key)

    def _look(self) -> Look:
        return self.training.look([config for name in self.runs for config in self._configs(name)])

    def _configs(self, name: str) -> list[Config]:
        return runs.named(self.training)[name]

    def _end(self, name: str, look: Look) -> dict[str, Fact]:
        own = [each.run for each in look.planned if each.run and each.config in self._configs(name)]
        return end_of(own)

    def _alt(self, facts: Facts) -> str:
        words = {"train": "training", "quiet": "training images with dropout off", "validation": "validation"}
        told = []
        for name in self.runs:
            config = self._configs(name)[0]
            ends = ", ".join(f"{words[kind]} {facts[f'{name}.{kind}']:.3f}" for kind in self.kinds)
            told.append(f"{' '.join(filter(None, [TITLES[config.technique], dose(config.p)]))}: {ends}")
        return f"losses after the last epoch: {'; '.join(told)}"


def read(given: Settings, training: Training | None) -> Curves:
    """The picture that a file describes. SettingError."""
    if training is None:
        raise given.wrong("kind", "curves are of what the lesson trains: say what under training at its top.")
    names = runs.named(training)
    return Curves(
        training, given.words("runs", names, names), given.words("curves", CURVES, CURVES),
        given.words("parts", PARTS, USUAL),
    )  # fmt: skip


def dose(p: Any) -> str:
    """What tells a run of the lesson from another of its technique."""
    return "" if p is None else f"p {p_text(p)}"


def end_of(own: Sequence[Run]) -> dict[str, Fact]:
    """What runs of one setting come to after their last epoch, and the lowest validation loss on the way."""
    columns = ("epoch", "loss", "accuracy", "train_eval_loss", "val_loss", "val_accuracy")
    records = services.store().metrics([run.id for run in own], kind="epoch", columns=columns)
    of_epoch = records.groupby(records["epoch"].round())[list(columns[1:])].mean()
    last, validation = of_epoch.iloc[-1], of_epoch["val_loss"]
    p = own[0].config.get("p")
    return {
        "train": float(last["loss"]),
        "quiet": float(last["train_eval_loss"]),
        "validation": float(last["val_loss"]),
        "least": float(validation.min()),
        "least_epoch": int(validation.idxmin()),
        "rise": float(last["val_loss"] / validation.min()),
        "gap": float(last["val_loss"] - last["train_eval_loss"]),
        "train_accuracy": 100 * float(last["accuracy"]),
        "accuracy": 100 * float(last["val_accuracy"]),
        "p": float(p) if isinstance(p, int | float) else 0.0,
    }
