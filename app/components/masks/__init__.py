"""The masks of several techniques side by side, under a slider of p and a choice of draws that the browser answers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st
import torch
from torch import Tensor
from torch.nn import functional as F

from app.components import script, stylesheet
from app.components.packing import Body
from app.routes import PLOTLY_URL
from app.theme import style
from core.dropout import TECHNIQUES
from core.inspection import Field
from core.inspection.frequency import band

_HERE = Path(__file__).parent
# A weight matrix larger than this is sent as the density of what fell in it, and one unit's row in full.
MOST_WEIGHTS = 2**18
DENSITY = 64
# What the view is made of besides its head lines, as ``pack`` takes it.
PARTS = ("p", "draws", "cells", "count", "answer", "key", "order", "compare", "unit", "kept", "curve")
MASKS_ALONE = ("p", "draws", "cells", "count", "answer", "key", "order")

_render = st.components.v2.component(
    "dropscope_masks",
    html='<div class="ds-masks"></div>',
    js=script(_HERE, "cells", "payload", "paint"),
    css=stylesheet(_HERE),
    isolate_styles=False,
)


def masks(payload: bytes, *, key: str = "masks") -> dict[str, Any] | None:
    """Mount the view of a :func:`pack`; ``{"p", "draw", "unit", "sorted"}`` once a person has changed one of them.

    What comes back is a wish from a browser: the caller checks it.
    """
    view = _render(key=key, data=payload, default={"view": None}, on_view_change=lambda: None).view
    return view if isinstance(view, dict) else None


def pack(
    fields: Sequence[Field],
    kept: Mapping[str, Tensor],
    *,
    layer: str,
    classes: Sequence[str],
    frequency_draws: int,
    onward: bool = False,
    start: Mapping[str, float],
    unit: int = 0,
    parts: Sequence[str] = PARTS,
) -> bytes:
    """All that the browser needs of these techniques, which share image, weights, layer, draws and grid.

    Args:
        kept: technique → (P, N) how often each unit stays, of ``core.inspection.keep_frequency``; may lack some.
        layer: what the layer is called; what a person had chosen in it is kept as long as the name stays.
        frequency_draws: the number of draws behind ``kept``.
        start: p, draw and unit (from 0) to begin with; ``sorted`` orders the units by activation.
        unit: whose weights are sent in full where the matrix is too large.
        parts: of :data:`PARTS`, what is shown.
    """
    body = Body()
    techniques = [_technique(field, kept.get(field.technique), body, unit) for field in fields]
    first = fields[0]
    header = {
        "grid": first.grid,
        "draws": first.answers.shape[0],
        "layer": layer,
        "classes": list(classes),
        "clean": first.clean.tolist(),
        "band": band(first.grid, frequency_draws),
        "frequency_draws": frequency_draws,
        "onward": onward,
        "start": dict(start),
        "parts": list(parts),
        "plotly": PLOTLY_URL,
        "techniques": techniques,
    }
    return body.behind(header)


def _technique(field: Field, kept: Tensor | None, body: Body, unit: int) -> dict[str, Any]:
    cls = TECHNIQUES[field.technique]
    threshold = field.threshold
    of_units = threshold is not None and threshold.dim() == 3
    arrays: dict[str, Tensor | None] = {
        "activation": field.activation,
        "answers": field.answers,
        "confidence": field.confidence(),
        "factor": field.factor,
        "falls": field.falls,
        "output": field.output,
        "score": field.score,
        "threshold": threshold.flatten(0, -2) if threshold is not None else None,
        "kept": None if kept is None else kept.half(),
    }
    about: dict[str, Any] = {
        "name": field.technique,
        "title": cls.title or field.technique,
        "style": style(field.technique).to_dict(),
        "drops": cls.drops,
        "falls_when": cls.falls_when,
        "worked": cls.worked,
        "units": field.units,
        "threshold_of": "units" if of_units else "draws",
        "keeps": of_units and cls.drops == "units",
    }
    if field.weight is not None:
        unit = min(unit, len(field.weight) - 1)
        arrays |= _weights(field, unit)
        about |= {"weight_top": 3 * float(field.weight.std()), "weights": field.weight.numel(), "row_unit": unit}
    return about | {"arrays": body.add(arrays)}


def _weights(field: Field, unit: int) -> dict[str, Tensor | None]:
    """The matrix and where it falls; of a large one blocks for all draws and steps, and one unit's row."""
    if field.weight is None or field.falls is None or field.weight.numel() <= MOST_WEIGHTS:
        return {"weight": field.weight}
    out, inputs = field.weight.shape
    falls = field.falls.view(-1, out, inputs)
    return {
        "falls": None,
        "density": torch.stack([_blocks(falls <= step) for step in range(len(field.grid))], 1),
        "row_falls": falls[:, unit],
        "row_weight": field.weight[unit],
    }


def _blocks(fallen: Tensor) -> Tensor:
    """(D, h, w) share that fell in each block of (D, out, in), in steps of 1/255."""
    size = (min(DENSITY, fallen.shape[1]), min(DENSITY, fallen.shape[2]))
    return (F.adaptive_avg_pool2d(fallen.float(), size) * 255).round().to(torch.uint8)


__all__ = ["MASKS_ALONE", "PARTS", "masks", "pack"]
