"""What a browser needs of running training: states and the points that it has not got yet, as plain JSON values."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from core.runs import Run, RunStore

MAX_RUNS = 64
# A run with more records than this is thinned for a browser that asks from the start; epochs always stay.
MAX_POINTS = 4000
_MEASURES = ("epoch", "train_seconds", "loss", "accuracy", "val_loss", "val_accuracy")


def snapshot(store: RunStore, ids: Sequence[str], since: int) -> dict[str, Any]:
    """``{"seq": …, "runs": {id: state with its records newer than ``since`` as columns}}`` for those that exist.

    ``seq`` is what to ask from the next time.
    """
    known = {run.id: run for run in store.list(ids=ids)}
    frame = store.metrics(list(known), columns=_MEASURES, since=since)
    parts = dict(list(frame.groupby("run", sort=False)))
    return {
        "seq": max(since, int(frame["seq"].max()) if len(frame) else 0),
        "runs": {key: state(run) | {"points": points(parts.get(key))} for key, run in known.items()},
    }


def state(run: Run) -> dict[str, Any]:
    """A run as its row in the page shows it; what is not known yet is None."""
    latest, final = run.latest, run.final
    epochs = run.config.get("epochs")
    epoch = latest.get("epoch")
    return {
        "status": run.status,
        "reason": run.reason,
        "epochs": epochs,
        "epoch": epoch,
        "images_per_s": latest.get("images_per_s"),
        "eta_s": eta(latest, epochs) if run.status == "running" else None,
        "device": device(run),
        "test_accuracy": final.get("test_accuracy"),
        "train_seconds": final.get("train_seconds"),
    }


def eta(latest: dict[str, Any], epochs: float | None) -> float | None:
    """Seconds until the last epoch ends, if the rest goes as fast as what was done; None before anything was."""
    epoch = latest.get("epoch")
    spent = (latest.get("train_seconds") or 0.0) + (latest.get("eval_seconds") or 0.0)
    if not epoch or not epochs or not spent:
        return None
    return max(0.0, spent / epoch * (epochs - epoch))


def device(run: Run) -> str | None:
    """The device as a person reads it, None before the run has one."""
    kind = run.environment.get("device")
    if kind is None:
        return None
    return {"cpu": "the CPU", "mps": "the Apple GPU"}.get(kind) or str(run.environment.get("device_name") or kind)


def points(frame: pd.DataFrame | None) -> dict[str, list[Any]]:
    """Records as columns, oldest first, thinned where there are very many."""
    if frame is None:
        return {"kind": [], "step": [], "seconds": [], **{name: [] for name in _MEASURES if name != "train_seconds"}}
    if len(frame) > MAX_POINTS:
        stride = math.ceil(len(frame) / MAX_POINTS)
        frame = frame[(frame["kind"] != "step") | (pd.RangeIndex(len(frame)) % stride == 0)]
    columns: dict[str, list[Any]] = {"kind": frame["kind"].tolist(), "step": frame["step"].tolist()}
    for name in _MEASURES:
        columns[name.removeprefix("train_")] = _json(frame[name])
    return columns


def _json(column: pd.Series) -> list[float | None]:
    """JSON knows no NaN and no infinity."""
    return [value if math.isfinite(value) else None for value in column.astype(float).tolist()]
