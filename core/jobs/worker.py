"""The work on one run: train, record, save, and obey; in a process of its own, or in the foreground of a terminal."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from core.config import Config, ConfigError
from core.errors import DataError
from core.jobs.changing import blame
from core.jobs.keeper import LONGEST_TURN, Ending, Keeper
from core.jobs.processes import cores, owner_of
from core.jobs.transitions import JobError, how_to_resume
from core.jobs.troubles import OUT_OF_MEMORY, is_out_of_memory, named
from core.runs import Owner, Run, RunStore, StoreError, SupersededError, steps
from core.runs.database import explain

if TYPE_CHECKING:
    from core.data import Dataset
    from core.training import Progress, Trainer

# Seconds between two looks for requests, and between signs of life in a pause.
LOOK_EVERY = 0.1
SIGN_EVERY = 10.0

Watch = Callable[["Progress"], None]


class _StopRequested(Exception):  # noqa: N818, it is no error
    """The run is to end at the step that it has reached."""


def run_worker(
    store: RunStore,
    run_id: str,
    *,
    attempt: int | None = None,
    limit: int | None = None,
    data: Dataset | None = None,
) -> Run:
    """Work on a run until it ends, as the process that claimed it at ``attempt`` or took it; the run afterwards.

    Whatever goes wrong in training ends the run as "failed" with one sentence. :class:`StoreError` is raised only
    where the store itself cannot be written, or another process has the run.

    Args:
        limit: how many runs share this machine: the CPU cores are divided among them.
        data: a data set that is loaded already; the run may be on another.
    """
    run = take(store, run_id, attempt=attempt)
    return carry_out(store, run, lambda: trainer_of(run, limit, data), limit=limit)


def take(store: RunStore, run_id: str, *, attempt: int | None = None) -> Run:
    """Make this process the run's owner; without ``attempt`` any run that waits or has ended early may be taken.

    Raises :class:`JobError` where it is done or at work already, :class:`SupersededError` where the claim is void.
    """
    return store.change(run_id, partial(_taken, owner=owner_of(), attempt=attempt))


def trainer_of(run: Run, limit: int | None = None, data: Dataset | None = None) -> Trainer:
    """The trainer for a run's settings, with the share of the CPU's cores that ``limit`` runs at once leave it."""
    from core.environment import keep_freed_memory
    from core.training import Trainer

    keep_freed_memory()
    share_cores(limit)
    config = Config.from_dict(run.config)
    return Trainer(patient(config), data if data and data.name == config.dataset else None)


def share_cores(limit: int | None) -> None:
    """Let torch take the share of the CPU's cores that ``limit`` runs at once leave each; None: as many as it likes."""
    import torch

    # A number that the person has chosen stays.
    if limit is not None and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, cores() // limit))


def patient(config: Config) -> Config:
    """The settings with which a trainer hands over often enough to obey; the keeper leaves out records too many."""
    return replace(config, record_every=min(config.record_every, LONGEST_TURN))


def carry_out(
    store: RunStore,
    run: Run,
    make: Callable[[], Trainer],
    *,
    limit: int | None = None,
    watch: Watch = lambda _: None,
    heed_signals: bool = True,
) -> Run:
    """Train ``run``, which this process owns, with the trainer that ``make`` builds; the run afterwards.

    Args:
        limit: a paused run that is resumed waits until fewer than so many are running.
        watch: called with every record, once it is kept.
        heed_signals: end the run tidily at Ctrl-C, SIGTERM and a hang-up.
    """
    keeper = Keeper(store, run)
    ending: tuple[Ending, str | None]
    with Signals(heeded=heed_signals) as signals:
        try:
            ending = _train(make(), keeper, signals, limit, watch)
        except SupersededError:
            raise
        except _StopRequested:
            ending = "stopped", _where_stopped(keeper, signals)
        except KeyboardInterrupt:
            ending = "stopped", f"Stopped by {signals.cause}. {how_to_resume(run.id, store.has_state(run.id))}"
        except Exception as error:
            _log(store, run.id)
            ending = "failed", sentence(error, store, run.id)
        keeper.finish(*ending)
    return store.get(run.id)


def sentence(error: Exception, store: RunStore, run_id: str) -> str:
    """What to tell a person of an error in training."""
    if isinstance(error, (DataError, ConfigError, StoreError)):
        return str(error)
    if is_out_of_memory(error):
        return OUT_OF_MEMORY
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return str(explain(error, store.folder(run_id)))
    log = store.folder(run_id) / "worker.log"
    return f"Training failed with {named(error)}. More is in {log}.{blame(store, run_id)}"


class Signals:
    """Turns Ctrl-C, SIGTERM and a hang-up into a note that is looked at between steps, once ``gently`` is set.

    Before that, and at the second one, they raise KeyboardInterrupt where the program stands.
    """

    _WORDS = {"SIGINT": "Ctrl-C", "SIGTERM": "SIGTERM", "SIGHUP": "the end of its terminal"}  # noqa: RUF012

    def __init__(self, *, heeded: bool = True) -> None:
        self._heeded = heeded
        self.gently = False
        self.received: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    @property
    def cause(self) -> str:
        """What was received, in a word."""
        return self._WORDS[self.received or "SIGINT"]

    def __enter__(self) -> Self:
        # Only the main thread may handle signals; elsewhere there are the requests in the store.
        if self._heeded and threading.current_thread() is threading.main_thread():
            for name in self._WORDS:
                if number := getattr(signal, name, None):
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        again = self.received is not None
        self.received = signal.Signals(number).name
        if again or not self.gently:
            raise KeyboardInterrupt


class _Wishes:
    """What the person wants of a run in training, looked up between steps."""

    def __init__(self, keeper: Keeper, signals: Signals, limit: int | None) -> None:
        self._keeper, self._signals, self._limit = keeper, signals, limit
        self._store, self._run = keeper.store, keeper.run
        self._looked = float("-inf")
        self._granted = "run"
        self._paused = False

    def obey(self, trainer: Trainer) -> str:
        """Return how to go on ("run", "batch", "epoch"), wait as long as the run is paused, raise _StopRequested.

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
            raise _StopRequested
        self._granted = wish
        return wish

    def heed(self) -> None:
        """Raise _StopRequested where the run is to stop; all else waits until :meth:`obey`."""
        if self._signals.received or time.monotonic() - self._looked >= LOOK_EVERY:
            self._looked = time.monotonic()
            if self._wish() == "stop":
                raise _StopRequested

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


def _train(
    trainer: Trainer, keeper: Keeper, signals: Signals, limit: int | None, watch: Watch
) -> tuple[Ending, str | None]:
    from core.training import environment

    began = {"startup_seconds": max(0.0, time.time() - (keeper.run.seen or time.time()))}
    trained = {"network": trainer.config.network, "data": trainer.data.title}
    facts = environment(trainer.device) | trained | began
    keeper.store.set_environment(keeper.run.id, facts)
    keeper.restore(trainer)
    wishes = _Wishes(keeper, signals, limit)
    signals.gently = True
    trainer.between = wishes.heed
    records = trainer.run()
    while True:
        single = wishes.obey(trainer) == "batch"
        try:
            progress = _one_batch(trainer, keeper) if single else next(records)
        except _StopRequested:
            keeper.save(trainer)
            raise
        keeper.take(progress, trainer, single=single)
        watch(progress)
        if trainer.problem and "problem" not in facts:
            facts["problem"] = trainer.problem
            keeper.store.set_environment(keeper.run.id, facts)
        if progress.kind == "end":
            if progress.status == "failed":
                return "failed", f"{progress.reason}{blame(keeper.store, keeper.run.id)}"
            return "done", progress.reason
        wishes.grant(progress)


def _one_batch(trainer: Trainer, keeper: Keeper) -> Progress:
    """One step, and what it did in the run's folder, before anybody is told of it."""
    progress, batch = trainer.single()
    if batch:
        steps.save(keeper.store.folder(keeper.run.id), batch)
    return progress


def _taken(run: Run, *, owner: Owner, attempt: int | None) -> dict[str, Any]:
    if attempt is not None:
        if run.attempt != attempt or not run.live:
            raise SupersededError(f"Run {run.id} is {run.status} or in the hands of another process by now.")
        return {"owner": owner}
    if run.live or run.status == "done":
        why = "done" if run.status == "done" else "being trained by another process"
        raise JobError(f"Run {run.id} is {why}: there is nothing to resume.")
    again = {"status": "running", "reason": None, "attempt": run.attempt + 1, "owner": owner, "slot": None}
    return again | {"requested": "run", "requested_at": time.time(), "seen": time.time()}


def _pausing(run: Run, *, after: str) -> dict[str, Any] | None:
    return {"requested": "pause", "requested_at": time.time()} if run.requested == after else None


def _where_stopped(keeper: Keeper, signals: Signals) -> str:
    epoch, epochs = float(keeper.latest.get("epoch", 0.0)), keeper.run.config.get("epochs")
    by = f" by {signals.cause}" if signals.received else ""
    return f"Stopped{by} at epoch {epoch:.3g} of {epochs}. {how_to_resume(keeper.run.id, saved=True)}"


def _log(store: RunStore, run_id: str) -> None:
    """Append the error's traceback to the run's log, where the person may look for more."""
    log = store.folder(run_id) / "worker.log"
    with suppress(OSError):
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8") as file:
            traceback.print_exc(file=file)
