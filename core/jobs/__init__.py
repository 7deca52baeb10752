"""Runs in processes of their own: submitted, watched, paused, resumed and cancelled through an engine."""

from core.jobs.engine import Engine, LocalEngine
from core.jobs.transitions import JobError

__all__ = ["Engine", "JobError", "LocalEngine"]
