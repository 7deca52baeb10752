"""Two live curves and the list of what runs, fed by a read-only route and not by reruns of the page."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from app.components import script, stylesheet
from app.controls import Choice, Number, Switch
from app.routes import PLOTLY_URL

_HERE = Path(__file__).parent
VERBS = ("pause", "resume", "stop", "step-batch", "step-epoch", "adjust")

PARTS = ("loss", "accuracy", "key", "runs", "story")
CURVES = ("train", "quiet", "validation")

_render = st.components.v2.component(
    "dropscope_live_curves",
    html='<div class="ds-live"></div>',
    js=script(_HERE, "cells", "payload", "paint"),
    css=stylesheet(_HERE),
    isolate_styles=False,
)


@dataclass(frozen=True)
class Excerpt:
    """A part of the view: some of ``PARTS`` with some of ``CURVES``; ``alt`` says in words what the charts show."""

    parts: Sequence[str]
    curves: Sequence[str]
    alt: str = ""


def live_curves(
    runs: Sequence[dict[str, Any]],
    *,
    able: bool = True,
    started: str | None = None,
    refused: Mapping[str, Any] | None = None,
    excerpt: Excerpt | None = None,
    key: str = "live",
) -> dict[str, Any] | None:
    """Mount the curves of the given runs; with none nothing is seen, and the first is drawn the sooner.

    Args:
        runs: one dict a run with ``id``, ``name`` (shown), ``detail`` (shown, may be empty), ``technique``, ``style``
            (of ``theme.Style.to_dict``) and ``fields``, the settings that may change while it trains (:func:`field`).
        able: whether the visitor may change runs; without, the buttons for it are not there.
        started: changes when runs were just started: a narrow screen then scrolls to them.
        refused: ``{"turn", "ids", "sentence"}``: why the last wish cannot be met; a new ``turn`` is shown.
        excerpt: what of the view is shown, the same for as long as it is mounted; None for all.

    Returns ``{"verb": one of VERBS, "ids": [...]}`` in the one rerun after a press, else None; with "adjust" come
    ``"changes"`` of p, lr and knobs, with a wish that means runs which are not shown too ``"all"``. What comes back
    is a wish from a browser: the caller checks it.
    """
    data = {"runs": list(runs), "plotly": PLOTLY_URL, "able": able, "started": started, "refused": refused}
    data |= {"excerpt": asdict(excerpt) if excerpt else None}
    return _render(key=key, data=data, on_wish_change=lambda: None).wish


def field(control: Choice | Number | Switch, name: str, value: Any, *, knob: bool = False) -> dict[str, Any]:
    """A control as the panel of a run draws it, with the value that the run was begun with."""
    about = {"name": name, "label": control.label, "help": control.help, "value": value, "knob": knob}
    if isinstance(control, Choice):
        return about | {"kind": "choice", "options": list(control.options)}
    if isinstance(control, Number):
        bounds = {"low": control.low, "high": control.high, "step": control.step, "optional": control.optional}
        return about | bounds | {"kind": "numbers" if isinstance(value, list | tuple) else "number"}
    return about | {"kind": "switch"}


__all__ = ["CURVES", "PARTS", "VERBS", "Excerpt", "field", "live_curves"]
