"""SIGKILL of the process that trains, at any moment: nothing that was told is unsaid, nothing written is torn."""

import multiprocessing
import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from core.jobs import LocalEngine, keeper, processes, worker
from core.runs import Run, RunStore
from core.training import Config, Progress, Trainer
from tests.nursery import nursery
from tests.test_jobs import FakeTrainer
from tests.waiting import wait_for

SMALL = Config(dataset="digits", technique="dropcorr", epochs=25, batch_size=200, device="cpu", record_every=0.05)
# Of an epoch's record, what does not depend on how fast it went.
MEASURES = ["epoch", "loss", "accuracy", "train_eval_loss", "val_loss", "val_accuracy", "lr"]


@pytest.fixture
def store(dropscope_home: Path) -> RunStore:
    return RunStore(dropscope_home)


@pytest.fixture
def engine(store: RunStore) -> Iterator[LocalEngine]:
    """An engine for one run at a time, whose workers need not load torch first and end with the test."""
    with nursery():
        yield LocalEngine(store, limit=1)
        for run in store.list(status=["running"]):
            if run.owner:
                processes.kill(run.owner)


def undisturbed(config: Config) -> tuple[list[Progress], Trainer]:
    """The epochs of a run that nothing happens to, and its trainer at the end."""
    trainer = Trainer(config)
    return [record for record in trainer.run() if record.kind == "epoch"], trainer


def told(store: RunStore, run_id: str) -> pd.DataFrame:
    """The epochs that any reader knows of by now."""
    return store.metrics(run_id, kind="epoch").set_index("step")[MEASURES]


def kill(run: Run) -> bool:
    """Whether the worker of ``run`` was there to be killed."""
    assert run.owner is not None
    if not processes.is_alive(run):
        return False
    os.kill(run.owner.pid, signal.SIGKILL)
    wait_for(lambda: not processes.is_alive(run))
    return True


def is_whole(store: RunStore, run_id: str) -> None:
    """What lies on the disk after a kill can be read, all of it."""
    with sqlite3.connect(store.home / "runs.sqlite") as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()
    state = store.load_state(run_id)
    if state is not None:
        assert state["trainer"]["step"] == state["step"]
    if (store.folder(run_id) / "weights.safetensors").exists():
        assert store.load_weights(run_id)


def killed_again_and_again(engine: LocalEngine, config: Config, kills: int, chance: random.Random) -> int:
    """Train to the end, killed at up to ``kills`` random moments; how many hit. Everything is checked at each."""
    store, hits = engine.store, 0
    expected, trainer = undisturbed(config)
    truth = pd.DataFrame([record.to_dict() for record in expected]).set_index("step")[MEASURES]
    run_id = engine.submit(config)
    known: set[int] = set()
    while hits < kills and not store.get(run_id).ended:
        moment = time.monotonic() + chance.uniform(0.0, 0.6)
        while time.monotonic() < moment:
            now = {*told(store, run_id).index}
            assert known <= now, "an epoch that was told is unsaid"
            known = now
            time.sleep(0.01)
        hits += kill(store.get(run_id))
        is_whole(store, run_id)
        after = told(store, run_id)
        assert known <= {*after.index}, "an epoch that was told is lost"
        pd.testing.assert_frame_equal(after, truth.loc[after.index], check_exact=True)
        if (run := engine.poll(run_id)).status == "lost":
            assert "Its process ended without a word" in (run.reason or "")
            engine.resume(run_id)
    run = wait_for(lambda: now if (now := engine.poll(run_id)).ended else None)
    assert (run.status, run.reason) == ("done", None)
    pd.testing.assert_frame_equal(told(store, run_id), truth, check_exact=True)
    saved, expected_weights = store.load_weights(run_id), trainer.model.state_dict()
    assert saved.keys() == expected_weights.keys()
    assert all(torch.equal(saved[name], value) for name, value in expected_weights.items())
    assert sorted(path.name for path in store.folder(run_id).iterdir()) == ["weights.safetensors", "worker.log"]
    return hits


class Resumable(FakeTrainer):
    """Has its weights again when it goes on."""

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.weight(self.step)


def _doomed(home: Path, run_id: str, fatal: int) -> None:
    """Work on a run, and be killed just before the write with this number."""
    calls = count(1)

    def deadly(write: Callable[..., Any]) -> Callable[..., Any]:
        def written(*arguments: Any, **options: Any) -> Any:
            if next(calls) == fatal:
                os.kill(os.getpid(), signal.SIGKILL)
            return write(*arguments, **options)

        return written

    store = RunStore(home)
    keeper.SAVING_SHARE = 1e9
    for name in ("fsync", "replace"):
        setattr(os, name, deadly(getattr(os, name)))
    for name in ("record", "finish", "drop_state"):
        setattr(store, name, deadly(getattr(store, name)))
    worker.carry_out(store, worker.take(store, run_id), Resumable)


def test_a_kill_before_any_single_write_loses_nothing(store: RunStore) -> None:
    context = multiprocessing.get_context("fork")
    for fatal in count(1):
        run_id = store.create(SMALL.to_dict())
        store.finish(run_id, "stopped")
        process = context.Process(target=_doomed, args=(store.home, run_id, fatal))
        process.start()
        process.join(60)
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        known = [*told(store, run_id).index]
        is_whole(store, run_id)
        assert LocalEngine(store, limit=1).poll(run_id).status in ("lost", "done")
        if store.get(run_id).status == "lost":
            worker.carry_out(store, worker.take(store, run_id), Resumable)
        assert store.get(run_id).status == "done"
        assert known == [2, 4, 6][: len(known)]
        assert [*store.metrics(run_id)["step"]] == [1, 2, 3, 4, 5, 6, 6]
        assert store.load_weights(run_id)["weight"].item() == 6
    # Two files an epoch, each synced, renamed and its folder synced; and the records, the end.
    assert fatal > 3 * 6 + 6


def kill_often(engine: LocalEngine, times: int) -> None:
    """So many kills, spread over runs of different techniques, where one run ends before it was killed so often."""
    chance, hits, seed = random.Random(times), 0, 0
    techniques = ("dropcorr", "standard", "dropconnect", "variational", "standout")
    while hits < times:
        config = replace(SMALL, technique=techniques[seed % len(techniques)], seed=seed)
        hits += killed_again_and_again(engine, config, min(20, times - hits), chance)
        seed += 1


def test_twenty_kills_at_random_moments_lose_nothing(engine: LocalEngine) -> None:
    kill_often(engine, 20)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_hundred_kills_at_random_moments_lose_nothing(engine: LocalEngine) -> None:
    kill_often(engine, 200)
