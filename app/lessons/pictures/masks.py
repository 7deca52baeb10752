"""The masks of Explore: techniques side by side on one image, and the numbers that they show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st
import torch
from torch import Tensor

from app import looks, mask_view, pictures
from app.components.masks import PARTS, masks, pack
from app.controls import Control
from app.lessons.lesson import Picture
from app.lessons.pictures import networks
from app.lessons.settings import Settings
from app.lessons.training import Training
from app.lessons.words import Fact, Facts
from app.looks import Scene
from app.mask_view import DRAW, ORDER, UNIT, P, Seen
from core.dropout import TECHNIQUES, check_knobs
from core.dropout.ranked import how_many
from core.inspection import Field
from core.inspection.fields import COUNTS_OF_DRAWS

SPOKEN = {
    "image": '[class*="st-key-lesson-sight"] img',
    "p": ".ds-p",
    "draws": ".ds-draws",
    "cells": ".ds-panel canvas",
    "count": ".ds-count",
    "answer": ".ds-bars",
    "key": ".ds-cell-key",
    "order": ".ds-order",
    "unit": ".ds-detail-strip",
    "kept": ".ds-kept",
    "curve": ".ds-moved",
} | {name: f'.ds-panel[data-technique="{name}"]' for name in TECHNIQUES}
OF_ALL = (
    "units",
    "active",
    "p",
    "keep",
    "scale",
    "expected",
    "k",
    "k_active",
    "draws",
    "total",
    "says",
    "sure",
    "variance",
)
OF_ONE = (
    "fallen", "active_fallen", "resting_fallen", "stays", "left", "fewest", "most", "says", "sure", "mean_sure",
    "right", "total", "mean_total", "strongest", "weakest", "least_factor", "greatest_factor", "mean_factor",
    "sd_factor", "weights", "weights_fallen", "zeroed",
)  # fmt: skip
USUAL = ("p", "draws", "cells", "count", "key")


@dataclass(frozen=True)
class Masks(Picture):
    """Techniques on one image at one p and draw; ``parts`` of the view are shown, by their names in ``SPOKEN``."""

    net: str
    layer: int
    image: int
    techniques: tuple[str, ...]
    options: tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]
    p: float
    drawn: int
    parts: tuple[str, ...]
    sorted: bool

    @property
    def spoken(self) -> Mapping[str, str]:
        shown = {"image", *self.parts, *self.techniques}
        return {name: selector for name, selector in SPOKEN.items() if name in shown}

    def names(self) -> frozenset[str]:
        return frozenset({*OF_ALL, *(f"{name}.{fact}" for name in self.techniques for fact in OF_ONE)})

    def facts(self) -> Facts:
        fields = [looks.field_of(self.scene, name, self.options_of(name)) for name in self.techniques]
        found = _of_all(fields[0], self.p, networks.checkpoint(self.net).classes)
        for field in fields:
            kept = looks.kept_of(self.scene, field.technique, self.options_of(field.technique))
            told = _of_one(field, kept, self.p, self.drawn, networks.checkpoint(self.net).classes)
            found |= {f"{field.technique}.{name}": value for name, value in told.items()}
        return found

    @property
    def controls(self) -> Sequence[Control]:
        scene, first = self.scene, self.techniques[0]
        unit = replace(UNIT, high=looks.most_units(scene.net, scene.stamp, scene.position))
        draw = replace(DRAW, high=len(looks.field_of(scene, first, self.options_of(first)).answers))
        able: dict[str, Control] = {"p": P, "draws": draw, "cells": unit, "order": ORDER}
        return [control for part, control in able.items() if part in self.parts]

    def draw(self, key: str) -> None:
        self._draw(key, self.start)

    def live(self, key: str) -> None:
        """As :meth:`draw`, with p, draw, unit and order as the address has them, which follows what is changed."""
        begun, seen = f"begun-{key}", f"seen-{key}"
        if f"masks-{key}" not in st.session_state:  # the view is new
            st.session_state[begun] = st.session_state[seen] = mask_view.asked(self.start, self.controls)
        wish = self._draw(key, st.session_state[begun], st.session_state[seen]["unit"])
        st.session_state[seen] = mask_view.checked(wish, st.session_state[seen])
        mask_view.remember(st.session_state[seen], self.start, self.controls)

    @property
    def start(self) -> Seen:
        return {"p": self.p, "draw": self.drawn, "unit": -1, "sorted": self.sorted}

    def _draw(self, key: str, start: Seen, unit: int = 0) -> dict[str, Any] | None:
        net = networks.checkpoint(self.net)
        fields = [looks.field_of(self.scene, name, self.options_of(name)) for name in self.techniques]
        kept = {}
        if "kept" in self.parts or "unit" in self.parts:
            counted = {name: looks.kept_of(self.scene, name, self.options_of(name)) for name in self.techniques}
            kept = {name: share for name, share in counted.items() if share is not None}
        with st.container(key=f"lesson-sight-{key}"):
            number = networks.gallery(self.net)
            pictures.show(
                networks.pixels(self.net, self.image), f"{number.title} {self.image}: {number.labels[self.image]}"
            )
        return masks(
            pack(fields, kept, layer=key, classes=net.classes, frequency_draws=looks.draws_behind(self.scene),
                 start=start, unit=max(0, unit), parts=self.parts),
            key=f"masks-{key}",
        )  # fmt: skip

    @property
    def scene(self) -> Scene:
        x = networks.pixels(self.net, self.image)
        return Scene(self.net, 0, self.layer, pictures.digest(x), False, x)

    def options_of(self, technique: str) -> dict[str, Any]:
        return dict(dict(self.options).get(technique, ()))


def read(given: Settings, _training: Training | None) -> Masks:
    """The picture that a file describes. SettingError."""
    net = networks.net_of(given)
    techniques = given.words("techniques", TECHNIQUES)
    place = networks.layer_of(given, net)
    return Masks(
        net, place.index, networks.image_of(given, net), techniques, _options(given, techniques),
        given.number("p", 0, 1, 0.2), given.whole("draw", 1, max(COUNTS_OF_DRAWS), 1) - 1,
        given.words("parts", PARTS, USUAL), given.word("order", ("layer", "activation"), "layer") == "activation",
    )  # fmt: skip


def _options(given: Settings, techniques: tuple[str, ...]) -> tuple[tuple[str, tuple[tuple[str, Any], ...]], ...]:
    said = given.raw("options", {})
    if not isinstance(said, dict) or not all(isinstance(knobs, dict) for knobs in said.values()):
        raise given.wrong("options", "options are written by technique, such as standard: {vanilla: true}.")
    for technique, knobs in said.items():
        if technique not in techniques:
            raise given.wrong("options", f"options name {technique}, which is not among the techniques.")
        try:
            check_knobs(technique, knobs)
        except ValueError as error:
            raise given.wrong("options", str(error)) from None
    return tuple((name, tuple(sorted(knobs.items()))) for name, knobs in sorted(said.items()))


def _of_all(field: Field, p: float, classes: tuple[str, ...]) -> dict[str, Fact]:
    units = field.activation.numel()
    return {
        "units": units,
        "active": int((field.activation > 0).sum()),
        "p": p,
        "keep": 1 - p,
        "scale": 1 / (1 - p) if p < 1 else float("inf"),
        "variance": p / (1 - p) if p < 1 else float("inf"),
        "expected": p * units,
        "k": how_many(p, units),
        "k_active": how_many(p, int((field.activation > 0).sum())),
        "draws": len(field.answers),
        "total": float(field.activation.sum()),
        "says": classes[int(field.clean.argmax())],
        "sure": 100 * float(field.clean.max()),
    }


def _of_one(field: Field, kept: Tensor | None, p: float, drawn: int, classes: tuple[str, ...]) -> dict[str, Fact]:
    """Facts of one technique at a p of its grid; shares are in per cent."""
    step = min(range(len(field.grid)), key=lambda i: abs(field.grid[i] - p))
    answers = field.answers[:, step]  # (D, K)
    best = field.clean.argmax()
    found: dict[str, Fact] = {
        "says": classes[int(answers[drawn].argmax())],
        "sure": 100 * float(answers[drawn, best]),
        "mean_sure": 100 * float(answers[:, best].mean()),
        "right": int((answers.argmax(1) == best).sum()),
    }
    found |= _of_weights(field, step, drawn) if field.weight is not None else _of_units(field, step, drawn)
    active = field.activation > 0
    if kept is not None:
        weakest = torch.where(active, field.activation, torch.inf).argmin()
        found |= {
            "strongest": 100 * float(kept[step, field.activation.argmax()]),
            "weakest": 100 * float(kept[step, weakest]),
        }
    return dict.fromkeys(OF_ONE, 0) | found


def _of_weights(field: Field, step: int, drawn: int) -> dict[str, Fact]:
    assert field.falls is not None
    assert field.weight is not None
    assert field.output is not None
    active = field.activation > 0
    out = field.output[:, step].float()  # (D, N)
    factors = out[drawn][active] / field.activation[active]
    return {
        "weights": field.weight.numel(),
        "weights_fallen": int((field.falls[drawn] <= step).sum()),
        "zeroed": int((factors == 0).sum()),
        **_spread(factors),
        "total": float(out[drawn].sum()),
        "mean_total": float(out.sum(1).mean()),
    }


def _of_units(field: Field, step: int, drawn: int) -> dict[str, Fact]:
    draws, units = len(field.answers), field.activation.numel()
    active = field.activation > 0
    fallen = torch.zeros(draws, units, dtype=torch.bool) if field.falls is None else field.falls <= step
    factor = field.factor[:, step].float()
    factor = (factor[:, None] if factor.dim() == 1 else factor).expand(draws, units)
    out = torch.where(fallen, 0.0, field.activation * factor)
    counts = fallen.sum(1)
    return {
        "fallen": int(counts[drawn]),
        "active_fallen": int((fallen[drawn] & active).sum()),
        "resting_fallen": int((fallen[drawn] & ~active).sum()),
        "left": int((out[drawn] != 0).sum()),
        "stays": int(units - counts[drawn]),
        "fewest": int(counts.min()),
        "most": int(counts.max()),
        "zeroed": int((out[drawn][active] == 0).sum()),
        **_spread(factor[drawn][active & ~fallen[drawn]]),
        "total": float(out[drawn].sum()),
        "mean_total": float(out.sum(1).mean()),
    }


def _spread(factors: Tensor) -> dict[str, Fact]:
    if factors.numel() < 2:
        return {}
    return {
        "least_factor": float(factors.min()),
        "greatest_factor": float(factors.max()),
        "mean_factor": float(factors.mean()),
        "sd_factor": float(factors.std()),
    }
