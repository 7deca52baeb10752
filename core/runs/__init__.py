"""The run store: settings, measures and status in SQLite, weights and resume state in files beside it."""

from core.runs.store import (
    ENDED,
    STATUSES,
    Owner,
    Run,
    RunStore,
    StoreError,
    SupersededError,
    UnknownRunError,
)

__all__ = ["ENDED", "STATUSES", "Owner", "Run", "RunStore", "StoreError", "SupersededError", "UnknownRunError"]
