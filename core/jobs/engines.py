"""The engines by name: the one place that knows all of them."""

from __future__ import annotations

from typing import Any

from core.config import ConfigError
from core.jobs.engine import Engine, LocalEngine
from core.runs import RunStore

ENGINES = ("local", "ray")


def engine_named(name: str, store: RunStore, **options: Any) -> Engine:
    """The engine called ``name``, one of :data:`ENGINES`, for the runs of ``store``; ``options`` are Ray's alone."""
    given = {option: value for option, value in options.items() if value is not None}
    if name == "ray":
        from core.jobs.ray_engine import RayEngine

        return RayEngine(store, **given)
    if given:
        names = ", ".join(f"--{option.replace('_', '-')}" for option in given)
        raise ConfigError(f"Only --engine ray takes {names}.")
    return LocalEngine(store)
