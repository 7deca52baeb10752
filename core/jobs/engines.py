"""The engines by name: the one place that knows all of them."""

from __future__ import annotations

from core.jobs.engine import Engine, LocalEngine
from core.runs import RunStore

ENGINES = ("local",)


def engine_named(name: str, store: RunStore) -> Engine:
    """The engine called ``name``, one of :data:`ENGINES`, for the runs of ``store``."""
    engines = {"local": LocalEngine}
    return engines[name](store)
