"""Runs in processes of their own: submitted, watched, paused, resumed and cancelled through an engine."""

from core.jobs.engine import Engine, JobError, LocalEngine

__all__ = ["Engine", "JobError", "LocalEngine"]
