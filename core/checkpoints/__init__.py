"""Trained networks to look at: those shipped in the folder ``checkpoints``, and those of runs."""

from __future__ import annotations

from core.checkpoints.checkpoint import Checkpoint, CheckpointError, CheckpointInfo
from core.checkpoints.files import is_shipped, read, shipped, write
from core.checkpoints.trained import export, of_run
from core.runs import RunStore, UnknownRunError

__all__ = ["Checkpoint", "CheckpointError", "CheckpointInfo", "export", "load", "of_run", "read", "shipped", "write"]


def load(name: str, store: RunStore | None = None) -> Checkpoint:
    """The shipped checkpoint of that name, or that of the run with this id; ``store`` None is the home folder's.

    Raises CheckpointError where there is neither, or it cannot be read; StoreError where the store cannot be.
    """
    if is_shipped(name):
        return read(name)
    store = store or RunStore()
    try:
        run = store.get(name)
    except UnknownRunError:
        raise CheckpointError(
            f"There is no checkpoint and no run {name!r}: choose one of those that are listed."
        ) from None
    return of_run(store, run)
