"""What a browser needs of running training: states and the points that it has not got yet, as plain JSON values."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from core.jobs.places import Turn
from core.runs import Run, RunStore, steps

MAX_RUNS = 64
# A run with more records than this is thinned for a browser that asks from the start; epochs always stay.
MAX_POINTS = 4000
Columns = dict[str, Any]
_MEASURES = (
    "epoch", "train_seconds", "loss", "accuracy", "train_eval_loss", "val_loss", "val_accuracy", "dropped",
    "active_dropped", "dead",
)  # fmt: skip


def snapshot(
    store: RunStore, ids: Sequence[str], since: int, turns: Callable[[], Mapping[str, Turn]] = dict
) -> dict[str, Any]:
    """``{"seq": …, "runs": {id: state with its records newer than ``since`` as columns}}`` for those that exist.

    ``seq`` is what to ask from the next time. ``turns`` is asked where one of the runs waits.
    """
    known = {run.id: run for run in store.list(ids=ids)}
    # Most answers hold little or nothing new, and many browsers ask: a table is built only where there is something.
    fresh = [key for key, run in known.items() if run.seq > since]
    table = store.metrics(fresh, columns=_MEASURES, since=since) if fresh else None
    parts = {} if table is None else _parts(table)
    queue = turns() if any(run.status == "queued" for run in known.values()) else {}
    return {
        "seq": since if table is None else int(table["seq"].to_numpy().max(initial=since)),
        "runs": {
            key: state(run, queue.get(key)) | {"batch": batch_written(store, key), "points": points(parts.get(key))}
            for key, run in known.items()
        },
    }


def batch_written(store: RunStore, run_id: str) -> float | None:
    """When the tensors of a run's last step on one batch were written, None where there are none."""
    try:
        return (store.folder(run_id) / steps.FILE).stat().st_mtime
    except OSError:
        return None


def _parts(table: pd.DataFrame) -> dict[str, Columns]:
    """Run → its rows as arrays by column."""
    codes, names = table["run"].cat.codes.to_numpy(), list(table["run"].cat.categories)
    kinds = table["kind"].cat
    columns: Columns = {name: table[name].to_numpy() for name in ("step", *_MEASURES)}
    columns["kind"] = np.asarray(kinds.categories, dtype=object)[kinds.codes.to_numpy()]
    if len(names) == 1:
        return {names[0]: columns}
    return {name: {key: c[codes == code] for key, c in columns.items()} for code, name in enumerate(names)}


def state(run: Run, turn: Turn | None = None) -> dict[str, Any]:
    """A run as its row in the page shows it; what is not known yet is None."""
    latest, final = run.latest, run.final
    epochs = run.config.get("epochs")
    epoch = latest.get("epoch")
    return {
        "status": run.status,
        "reason": run.reason,
        # It goes on by itself once one of this machine's places is free.
        "resuming": run.status == "paused" and run.requested in ("run", "epoch"),
        "epochs": epochs,
        "epoch": epoch,
        "images_per_s": latest.get("images_per_s"),
        "place": turn and turn.place,
        "starts_in_s": turn and turn.starts_in,
        "eta_s": eta(latest, epochs) if run.status == "running" else None,
        "device": device(run),
        "test_accuracy": final.get("test_accuracy"),
        "train_seconds": final.get("train_seconds"),
        "p": latest.get("p"),
        "lr": latest.get("lr"),
        "marks": [mark | {"changes": [_readable(change) for change in mark["changes"]]} for mark in run.marks],
        **orders(run),
    }


def orders(run: Run) -> dict[str, Any]:
    """Of the changes that were ordered: how many it has yet to make, and the last that it will not, with the reason."""
    refused = [{"turn": order["order"], "sentence": order["refused"]} for order in run.orders if order["refused"]]
    return {"waiting": len(run.orders) - len(refused), "refused": refused[-1] if refused else None}


def _readable(change: dict[str, Any]) -> dict[str, Any]:
    """A change of a mark; JSON knows no infinity, which a clamp may have."""
    return {name: "∞" if value == math.inf else value for name, value in change.items()}


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


def points(columns: Columns | None) -> dict[str, list[Any]]:
    """Records as lists by column, oldest first, thinned where there are very many."""
    if columns is None:
        columns = {name: np.array([]) for name in ("kind", "step", *_MEASURES)}
    number = len(columns["step"])
    if number > MAX_POINTS:
        keep = (columns["kind"] != "step") | (np.arange(number) % math.ceil(number / MAX_POINTS) == 0)
        columns = {name: values[keep] for name, values in columns.items()}
    found: dict[str, list[Any]] = {"kind": columns["kind"].tolist(), "step": columns["step"].tolist()}
    return found | {"seconds" if name == "train_seconds" else name: _json(columns[name]) for name in _MEASURES}


def _json(values: Any) -> list[float | None]:
    """JSON knows no NaN and no infinity."""
    return [value if math.isfinite(value) else None for value in values.tolist()]
