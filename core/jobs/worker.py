"""The work on one run: train, record, save, and obey; in a process of its own, or in the foreground of a terminal."""

from __future__ import annotations

import errno
import os
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from core.config import Config, ConfigError
from core.errors import DataError
from core.jobs.changing import blame
from core.jobs.keeper import LONGEST_TURN, Ending, Keeper
from core.jobs.processes import cores, owner_of
from core.jobs.signals import Signals
from core.jobs.transitions import JobError, how_to_resume
from core.jobs.troubles import OUT_OF_MEMORY, is_out_of_memory, named
from core.jobs.wishes import StopRequested, Wishes
from core.runs import Owner, Run, RunStore, StoreError, SupersededError, steps
from core.runs.database import explain

if TYPE_CHECKING:
    from core.data import Dataset
    from core.training import Progress, Trainer

Watch = Callable[["Progress"], None]

# A network of so few weights trains no faster on two threads than on one, and many times slower beside other work.
SMALL = 100_000


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
    """The trainer for a run's settings, with the share of the CPU's cores that ``limit`` runs at once leave it.

    A small network takes one.
    """
    from core.environment import keep_freed_memory
    from core.training import Trainer

    keep_freed_memory()
    share_cores(limit)
    config = Config.from_dict(run.config)
    trainer = Trainer(patient(config), data if data and data.name == config.dataset else None)
    if sum(weight.numel() for weight in trainer.model.parameters()) <= SMALL:
        share_cores(cores())  # one thread
    return trainer


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
        except StopRequested:
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


def _train(
    trainer: Trainer, keeper: Keeper, signals: Signals, limit: int | None, watch: Watch
) -> tuple[Ending, str | None]:
    from core.training import environment

    began = {"startup_seconds": max(0.0, time.time() - (keeper.run.seen or time.time()))}
    trained = {"network": trainer.config.network, "data": trainer.data.title}
    facts = environment(trainer.device) | trained | began
    keeper.store.set_environment(keeper.run.id, facts)
    keeper.restore(trainer)
    wishes = Wishes(keeper, signals, limit)
    signals.gently = True
    trainer.between = wishes.heed
    records = trainer.run()
    while True:
        single = wishes.obey(trainer) == "batch"
        try:
            progress = _one_batch(trainer, keeper) if single else next(records)
        except StopRequested:
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
