"""Runs in processes of their own: submit, watch, pause, resume, cancel; here on this machine, behind an interface."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

from core.jobs import changing, processes
from core.jobs.places import Queue, Turn
from core.jobs.transitions import JobError, buried, cancelled, overdue, paused, resumed
from core.jobs.warm import Order, WarmWorker
from core.runs import Owner, Run, RunStore, StoreError
from core.runs.database import explain

if TYPE_CHECKING:
    from core.config import Config

Unit = Literal["batch", "epoch"]
UNITS = ("batch", "epoch")

# Processes that this one started: they must be waited for, or they stay behind as zombies.
_children: list[subprocess.Popen[bytes]] = []
_children_lock = threading.Lock()


class Engine(Protocol):
    """Where runs are trained. Every method may raise :class:`StoreError` with one sentence for the person."""

    def submit(self, config: Config, experiment: str | None = None) -> str:
        """Queue a run and return its id; ConfigError or DataError where it cannot be trained.

        Where ``experiment`` has a run with this config, that one's id is returned and nothing is queued.
        """

    def poll(self, run_id: str) -> Run:
        """The run as it stands, after looking after all of them."""

    def pause(self, run_id: str) -> Run:
        """Ask it to wait at the next step, keeping its place in memory."""

    def resume(self, run_id: str) -> Run:
        """Let it go on, from memory where it waits, from its saved state where its process has ended."""

    def step(self, run_id: str, unit: Unit) -> Run:
        """Let it take one step on a "batch", or go on to the end of its "epoch", and pause then."""

    def adjust(self, run_id: str, changes: Mapping[str, Any]) -> Run:
        """Change p, lr or knobs at its next step: :func:`core.training.changes.checked` says what may be."""

    def take_back(self, run_id: str) -> Run:
        """Have it go on without its last change, once it is resumed."""

    def cancel(self, run_id: str, force: bool = False) -> Run:
        """Ask it to save and stop at the next step, or with ``force`` end its process at once."""

    def turns(self) -> dict[str, Turn]:
        """Run → when it begins and ends, as far as that can be told."""


class LocalEngine:
    """Trains each run in a detached process of this machine; several engines may share one store.

    Whoever polls also looks after the others: a run whose process died is told "lost", one that ignores a stop is
    ended by force, and queued ones are started in their order. A worker that ends does the same, so a queue goes on
    with nobody watching. A server calls :meth:`keep_warm` as well, to have a worker wait for the next run.

    Args:
        store: where the runs are.
        limit: how many run at once; default: as many as there are GPUs, else half of the CPU cores.
    """

    def __init__(self, store: RunStore, limit: int | None = None) -> None:
        if limit is not None and limit < 1:
            raise ValueError(f"limit is the number of runs at once and must be at least 1, got {limit}")
        self.store = store
        self._limit = limit

    @cached_property
    def limit(self) -> int:
        """How many runs are trained at once."""
        return self._limit or gpus() or max(1, processes.cores() // 2)

    @cached_property
    def _queue(self) -> Queue:
        return Queue(self.store, self.limit)

    @cached_property
    def warm(self) -> WarmWorker:
        """The worker that waits for the next run, where there is one."""
        return WarmWorker(self.store.home, self.limit)

    @property
    def starter(self) -> Owner | None:
        """The process that alone may start what is queued here; None: whoever has room."""
        return None

    def submit(self, config: Config, experiment: str | None = None) -> str:
        """Queue a run and return its id, or that of the run with this config which ``experiment`` has already.

        Raises ConfigError where the settings cannot be used, DataError without a folder.
        """
        run_id = self.store.create(rooted(config.validated()).to_dict(), experiment=experiment, starter=self.starter)
        self.advance()
        return run_id

    def poll(self, run_id: str) -> Run:
        """The run as it stands, after :meth:`advance`."""
        self.advance()
        return self.store.get(run_id)

    def pause(self, run_id: str) -> Run:
        """Let a run wait at its next step, or a queued one until it is resumed."""
        return self.store.change(run_id, paused)

    def resume(self, run_id: str) -> Run:
        """Let a paused run go on; queue one that has stopped, failed or been lost, to go on from its saved state."""
        return self._go_on(run_id, "run")

    def step(self, run_id: str, unit: Unit) -> Run:
        """Let a run take one step on a "batch", or train to the next end of an "epoch", and pause then.

        A run that waits or has ended early is begun for it. What a step on one batch did is kept in the run's folder
        (:func:`core.runs.steps.load`).
        """
        if unit not in UNITS:
            raise JobError(f"A run goes on by one batch or one epoch, not by {unit!r}.")
        return self._go_on(run_id, unit)

    def adjust(self, run_id: str, changes: Mapping[str, Any]) -> Run:
        """Change p, lr or knobs of a run at its next step, or its first where it waits; it keeps a mark of it.

        Checked at once: ConfigError where the values do not suit the run, JobError where it has ended.
        """
        changing.order(self.store, run_id, changes)
        return self.store.get(run_id)

    def take_back(self, run_id: str) -> Run:
        """Let a run that has ended early go on without the last change of it, once it is resumed; JobError."""
        changing.take_back(self.store, run_id)
        return self.store.get(run_id)

    def cancel(self, run_id: str, force: bool = False) -> Run:
        """Stop a run at its next step, weights and state saved; with ``force`` end its process at once.

        One that has ended is left as it is. A run that has not stopped in time is ended by whoever polls.
        """
        run = self.store.change(run_id, partial(cancelled, saved=self.store.has_state(run_id)))
        if force and run.live and run.owner:
            if not processes.here(run.owner):
                raise JobError(f"Run {run.id} is trained on {run.owner.host}: end it by force there.")
            self._end_by_force(run)
        return self.store.get(run_id)

    def turns(self) -> dict[str, Turn]:
        """When those that wait begin, and those that train end, from what like runs took on this machine."""
        return self._queue.turns()

    def advance(self) -> None:
        """Look after all runs: :meth:`settle`, then start what is queued while there is room."""
        self.settle()
        owner = processes.owner_of()
        # Reading first, as claiming takes the write lock, and pages poll often.
        while self.store.has_turn(owner.host, self.limit) and (run := self.store.claim(owner, self.limit)):
            self._start(run)

    def settle(self) -> None:
        """Notice the runs whose process has died, and end those that have ignored a stop for too long."""
        _reap()
        for run in self.store.list(status=("queued", "running", "paused"), taken=True):
            if not (run.live or _reserved_here(run)):
                continue
            if not processes.is_alive(run):
                self._bury(run)
            elif overdue(run):
                self._end_by_force(run)

    def keep_warm(self) -> None:
        """Have a worker wait for the next run while one is expected (:meth:`WarmWorker.expect`); to be called often.

        It warms up once those that have begun have a first point of their curve, as it would only delay that.
        """
        if not self.warm.wanted:
            self.warm.dismiss()
            return
        runs = [run for run in self.store.list(status=("running", "paused")) if run.live]
        if any(run.status == "running" and not run.seq for run in runs):
            return
        free = min(set(range(len(runs) + 1)) - {run.slot for run in runs})
        with suppress(OSError):  # a run that is started meets the same and says so
            self.warm.keep(visible_gpu(free, gpus(), os.environ))

    def _go_on(self, run_id: str, request: str) -> Run:
        self.settle()
        self.store.change(run_id, partial(resumed, request=request, starter=self.starter))
        return self.poll(run_id)

    def _start(self, run: Run) -> None:
        arguments = ["worker", run.id, "--attempt", str(run.attempt), "--limit", str(self.limit)]
        log = self.store.folder(run.id) / "worker.log"
        environment = visible_gpu(run.slot, gpus(), os.environ)
        try:
            processes.opened(log).close()
            child = self.warm.take(Order(run.id, run.attempt, log), environment)
            child = child or processes.start([*arguments, "--home", str(self.store.home)], log, environment)
        except OSError as error:
            self.store.finish(run.id, "failed", str(explain(error, log)), attempt=run.attempt)
            return
        owner = processes.owner_of(child.pid)
        with _children_lock:
            _children.append(child)
        # The worker enters itself as well, so nothing is lost where this cannot be written.
        with suppress(StoreError):
            self.store.change(run.id, lambda now: {"owner": owner} if now.live else None, attempt=run.attempt)

    def _end_by_force(self, run: Run) -> None:
        if run.owner:
            processes.kill(run.owner)
        self._bury(run)

    def _bury(self, run: Run) -> None:
        self.store.change(run.id, partial(buried, seen=run, saved=self.store.has_state(run.id)))


def _reap() -> None:
    with _children_lock:
        _children[:] = [child for child in _children if child.poll() is None]


def gpus() -> int:
    """How many GPUs torch can use here."""
    import torch

    return torch.cuda.device_count() or int(torch.backends.mps.is_available())


def visible_gpu(slot: int | None, count: int, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment that gives a run the GPU of its slot, where there are several."""
    if slot is None or count < 2:
        return {}
    listed = environment.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(count)))
    names = listed.split(",")
    return {"CUDA_VISIBLE_DEVICES": names[slot % len(names)]}


def rooted(config: Config) -> Config:
    """The same settings with a folder of images named in full, as a worker or a later resume may stand elsewhere.

    Raises :class:`core.errors.DataError` where there is no such folder.
    """
    from dataclasses import replace

    from core.data.sets import DATASETS, existing_folder

    if config.dataset in DATASETS:
        return config
    return replace(config, dataset=str(existing_folder(config.dataset)))


def _reserved_here(run: Run) -> bool:
    # Whether the process that is to start it still exists can be known on its own machine only.
    return run.reserved and run.owner is not None and processes.here(run.owner)
