"""What a browser needs of running training: states and the points that it has not got yet, as plain JSON values."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from core.jobs.places import Turn
from core.runs import Run, RunStore, steps
from core.runs.measures import Row

MAX_RUNS = 64
# A run with more records than this is thinned for a browser that asks from the start; epochs always stay.
MAX_POINTS = 4000
_MEASURES = (
    "epoch", "train_seconds", "loss", "accuracy", "train_eval_loss", "val_loss", "val_accuracy", "dropped",
    "active_dropped", "dead",
)  # fmt: skip
_NAMES = ("kind", "step", *("seconds" if name == "train_seconds" else name for name in _MEASURES))


def snapshot(
    store: RunStore, ids: Sequence[str], since: int, turns: Callable[[], Mapping[str, Turn]] = dict
) -> dict[str, Any]:
    """``{"seq": …, "runs": {id: state with its records newer than ``since`` as columns}}`` for those that exist.

    ``seq`` is what to ask from the next time. ``turns`` is asked where one of the runs waits.
    """
    known = {run.id: run for run in store.list(ids=ids)}
    # Most answers hold little or nothing new, and many browsers ask.
    fresh = [key for key, run in known.items() if run.seq > since]
    rows = store.newer(fresh, _MEASURES, since) if fresh else {}
    queue = turns() if any(run.status == "queued" for run in known.values()) else {}
    return {
        "seq": max((row[0] for own in rows.values() for row in own), default=since),
        "runs": {
            key: state(run, queue.get(key)) | {"batch": batch_written(store, key), "points": points(rows.get(key, []))}
            for key, run in known.items()
        },
    }


def batch_written(store: RunStore, run_id: str) -> float | None:
    """When the tensors of a run's last step on one batch were written, None where there are none."""
    try:
        return (store.folder(run_id) / steps.FILE).stat().st_mtime
    except OSError:
        return None


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


def points(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Records as lists by column, oldest first, thinned where there are very many; rows of ``RunStore.newer``."""
    if len(rows) > MAX_POINTS:
        every = math.ceil(len(rows) / MAX_POINTS)
        rows = [row for place, row in enumerate(rows) if row[1] != "step" or place % every == 0]
    columns = list(zip(*rows, strict=True))[1:] or [()] * len(_NAMES)  # without seq
    return {name: [_plain(value) for value in column] for name, column in zip(_NAMES, columns, strict=True)}


def _plain(value: Any) -> Any:
    """JSON knows no infinity; the store keeps no NaN."""
    return None if value in (math.inf, -math.inf) else value
