"""One batch of training as the browser draws it: the tensors of the step, packed."""

import math
from typing import Any

from app.components.packing import Body
from core.dropout import TECHNIQUES
from core.runs.steps import Batch, Place


def pack(batch: Batch) -> bytes:
    """A header and the tensors of ``batch``: first its images, then one part a dropout position."""
    body = Body()
    cls = TECHNIQUES.get(batch.technique)
    examples = {"images": batch.images, "answers": batch.answers.float()}
    header = {
        "step": batch.step,
        "epoch": batch.epoch,
        "title": cls.title if cls else "No dropout",
        "drops": batch.drops,
        "loss": _finite(batch.loss),
        "lr": batch.lr,
        "size": batch.size,
        "labels": list(batch.labels),
        "classes": list(batch.classes),
        "updates": [{"title": u.title, "norm": _finite(u.norm), "before": _finite(u.before)} for u in batch.updates],
        "techniques": [{"arrays": body.add(examples)}, *(_place(place, body) for place in batch.places)],
    }
    return body.behind(header)


def _place(place: Place, body: Body) -> dict[str, Any]:
    tensors = {"activation": place.x, "out": place.out, "scale": place.scale, "grad_out": place.grad_out,
               "grad_x": place.grad_x, "weight": place.weight}  # fmt: skip
    masks = {"mask": place.mask, "weight_mask": place.weight_mask}
    arrays = {name: None if tensor is None else tensor.float() for name, tensor in tensors.items()}
    arrays |= {name: None if mask is None else mask.byte() for name, mask in masks.items()}
    return {"title": place.title, "units": list(place.units), "p": place.p, "arrays": body.add(arrays)}


def _finite(value: float) -> float | None:
    """JSON knows no NaN and no infinity, as a step leaves them with which a run fails."""
    return value if math.isfinite(value) else None
