"""What the person wants of a run in training: to pause, to go on by a step, to change, to stop."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from core.jobs.keeper import Keeper
from core.jobs.signals import Signals
from core.runs import Run

if TYPE_CHECKING:
    from core.training import Progress, Trainer

# Seconds between two looks for requests, and between signs of life in a pause.
LOOK_EVERY = 0.1
SIGN_EVERY = 10.0


class StopRequested(Exception):  # noqa: N818, it is no error
    """The run is to end at the step that it has reached."""


class Wishes:
    """What the person wants of a run in training, looked up between steps."""

    def __init__(self, keeper: Keeper, signals: Signals, limit: int | None) -> None:
        self._keeper, self._signals, self._limit = keeper, signals, limit
        self._store, self._run = keeper.store, keeper.run
        self._looked = float("-inf")
        self._granted = "run"
        self._paused = False

    def obey(self, trainer: Trainer) -> str:
        """Return how to go on ("run", "batch", "epoch"), wait as long as the run is paused, raise StopRequested.

        Saves before the latter two; makes the changes that were ordered.
        """
        if not self._signals.received and time.monotonic() - self._looked < LOOK_EVERY:
            return self._granted
        self._looked = time.monotonic()
        wish = self._wish()
        self._keeper.adjust(trainer)
        if wish == "pause":
            self._keeper.save(trainer)
        # Also where it was to go on while it took a single step: it needs its place back for that.
        if wish == "pause" or (self._paused and wish in ("run", "epoch")):
            wish = self._wait(trainer)
        if wish == "stop":
            self._keeper.save(trainer)
            raise StopRequested
        self._granted = wish
        return wish

    def heed(self) -> None:
        """Raise StopRequested where the run is to stop; all else waits until :meth:`obey`."""
        if self._signals.received or time.monotonic() - self._looked >= LOOK_EVERY:
            self._looked = time.monotonic()
            if self._wish() == "stop":
                raise StopRequested

    def grant(self, progress: Progress) -> None:
        """Ask for a pause where ``progress`` ends the one step, or the one epoch, that was asked for."""
        if self._granted == "batch" or (self._granted == "epoch" and progress.kind == "epoch"):
            self._store.change(self._run.id, partial(_pausing, after=self._granted), attempt=self._run.attempt)
            self._granted = "run"
            self._looked = float("-inf")

    def _wish(self) -> str:
        if self._signals.received:
            return "stop"
        return self._store.requested(self._run.id, attempt=self._run.attempt)

    def _wait(self, trainer: Trainer) -> str:
        self._paused = True
        self._show_paused()
        signed = time.monotonic()
        while True:
            # A plain sleep: waiting on a lock that a signal handler sets could deadlock.
            time.sleep(LOOK_EVERY)
            wish = self._wish()
            self._keeper.adjust(trainer)
            # One batch is so short that it may go beyond the number of runs at once.
            if wish in ("stop", "batch"):
                return wish
            if wish in ("run", "epoch") and self._store.proceed(self._run.id, self._limit, attempt=self._run.attempt):
                self._paused = False
                return wish
            if time.monotonic() - signed > SIGN_EVERY:
                self._show_paused()
                signed = time.monotonic()

    def _show_paused(self) -> None:
        self._store.set_status(self._run.id, "paused", attempt=self._run.attempt)


def _pausing(run: Run, *, after: str) -> dict[str, Any] | None:
    return {"requested": "pause", "requested_at": time.time()} if run.requested == after else None
