"""What befalls one worker: it is told in a sentence, the others and who watches them do not notice."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from core.jobs import LocalEngine, processes, transitions
from core.jobs.troubles import OUT_OF_MEMORY
from core.runs import Run, RunStore
from core.training import Config, Trainer
from tests.nursery import Fate, nursery
from tests.waiting import wait_for

SMALL = Config(dataset="digits", technique="dropcorr", epochs=6, device="cpu", record_every=0.05)
ENDLESS = replace(SMALL, epochs=5000)


@pytest.fixture
def store(dropscope_home: Path) -> RunStore:
    return RunStore(dropscope_home)


@pytest.fixture(scope="module")
def workers() -> Iterator[Fate]:
    with nursery() as fate:
        yield fate


@pytest.fixture
def fate(workers: Fate) -> Fate:
    """What is to befall the workers started next: nothing, unless a test says so."""
    workers.fault = None
    return workers


@pytest.fixture
def engine(store: RunStore, fate: Fate) -> Iterator[LocalEngine]:
    engine = LocalEngine(store, limit=1)
    yield engine
    for run in store.list():
        if run.owner and run.owner.pid != os.getpid():
            processes.kill(run.owner)


def ended(engine: LocalEngine, run_id: str) -> Run:
    return wait_for(lambda: run if (run := engine.poll(run_id)).ended else None)


def begun(engine: LocalEngine, run_id: str, seq: int = 0) -> Run:
    """The run once it has recorded more than ``seq``."""
    run = wait_for(lambda: run if (run := engine.poll(run_id)).seq > seq or run.ended else None)
    assert run.status == "running"
    return run


def send(run: Run, number: signal.Signals) -> None:
    assert run.owner is not None
    os.kill(run.owner.pid, number)


def is_undisturbed(store: RunStore, run_id: str, config: Config) -> None:
    """The run has the weights of one that nothing happened to."""
    trainer = Trainer(config)
    assert [record.kind for record in trainer.run()][-1] == "end"
    saved = store.load_weights(run_id)
    assert all(torch.equal(saved[name], value) for name, value in trainer.model.state_dict().items())


def test_whatever_befalls_a_run_early_or_late_is_told_and_the_others_do_not_notice(
    store: RunStore, fate: Fate, engine: LocalEngine
) -> None:
    engine = LocalEngine(store, limit=5)
    config = replace(SMALL, batch_size=10, epochs=4)
    neighbour = engine.submit(config)
    doomed = {}
    for fault in (("nan", 1), ("nan", 500), ("memory", 1), ("memory", 500)):
        fate.fault = fault
        doomed[fault] = engine.submit(config)
    for (kind, step), run_id in doomed.items():
        run = ended(engine, run_id)
        assert run.status == "failed"
        reason = run.reason or ""
        if kind == "memory":
            assert reason == OUT_OF_MEMORY
        else:
            assert reason.startswith("The loss became nan between steps ")
            first, last = (int(word.rstrip(";")) for word in reason.split() if word.rstrip(";").isdigit())
            assert first <= step < last
        assert max(store.metrics(run_id, kind="epoch")["step"], default=0) <= step
        assert store.has_state(run_id) == (step == 500), "what there was is kept"
    run = ended(engine, neighbour)
    assert (run.status, run.reason, run.attempt) == ("done", None, 1)
    is_undisturbed(store, neighbour, config)


def test_a_worker_that_was_stopped_and_continued_is_as_if_nothing_had_been(
    engine: LocalEngine, store: RunStore
) -> None:
    config = replace(SMALL, epochs=12)
    run = begun(engine, engine.submit(config))
    send(run, signal.SIGSTOP)
    frozen = wait_for(lambda: psutil.Process(run.owner.pid).status() == psutil.STATUS_STOPPED and store.get(run.id))
    for _ in range(3):
        assert engine.poll(run.id) == frozen, "it is neither lost nor begun again"
    send(run, signal.SIGCONT)
    assert (ended(engine, run.id).status, store.get(run.id).attempt) == ("done", 1)
    is_undisturbed(store, run.id, config)


def test_a_stopped_worker_that_is_to_stop_is_ended_by_force_and_can_go_on(
    engine: LocalEngine, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transitions, "FORCE_AFTER", 1.0)
    config = replace(SMALL, epochs=12)
    run = begun(engine, engine.submit(config))
    send(run, signal.SIGSTOP)
    engine.cancel(run.id)
    assert engine.poll(run.id).live, "it has its time"
    stopped = ended(engine, run.id)
    assert stopped.status == "stopped"
    assert (stopped.reason or "").startswith("Ended by force, as it had not stopped in time.")
    assert not processes.is_alive(run)
    engine.resume(run.id)
    assert (ended(engine, run.id).status, store.get(run.id).attempt) == ("done", 2)
    is_undisturbed(store, run.id, config)


def test_a_trainer_that_ignores_a_stop_is_ended_by_force_by_whoever_looks(
    engine: LocalEngine, store: RunStore, fate: Fate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transitions, "FORCE_AFTER", 1.0)
    fate.fault = ("deaf", 20)
    run = begun(engine, engine.submit(ENDLESS))
    wait_for(lambda: "deaf" in (store.folder(run.id) / "worker.log").read_text())
    engine.cancel(run.id)
    asked = store.get(run.id).requested_at
    engine.cancel(run.id)
    assert store.get(run.id).requested_at == asked, "a second stop does not move the first"
    other = LocalEngine(RunStore(store.home), limit=1)
    stopped = ended(other, run.id)
    assert (stopped.reason or "").startswith("Ended by force, as it had not stopped in time.")
    assert not processes.is_alive(run)
    assert store.get(run.id).latest["step"] < 20


def test_a_run_is_stopped_once_however_often_it_is_asked_and_leaves_nothing_behind(
    engine: LocalEngine, store: RunStore
) -> None:
    run = begun(engine, engine.submit(ENDLESS))
    waiting = engine.submit(ENDLESS)
    assert engine.poll(waiting).status == "queued"
    for _ in range(3):
        engine.cancel(waiting)
        engine.cancel(run.id)
    stopped = wait_for(lambda: now if (now := store.get(run.id)).ended else None, seconds=2 * transitions.FORCE_AFTER)
    assert (stopped.reason or "").startswith("Stopped at epoch "), "it stopped by itself"
    wait_for(lambda: not processes.is_alive(run), seconds=5.0)
    assert store.get(waiting).attempt == 0
    assert [engine.cancel(each).reason for each in (run.id, waiting)] == [stopped.reason, store.get(waiting).reason]


LAST_PID = Path("/proc/sys/kernel/ns_last_pid")


def test_a_pid_that_was_given_to_another_process_is_not_signalled(
    engine: LocalEngine, store: RunStore, fate: Fate
) -> None:
    if not os.access(LAST_PID, os.W_OK):
        pytest.skip("only who may choose the next PID (root, on Linux) can have one given out again")
    run = begun(engine, engine.submit(ENDLESS))
    assert run.owner is not None
    # A PID given out again within a second of its first process's birth could not be told from it.
    wait_for(lambda: time.time() - run.owner.created > 2.0)
    store.request(run.id, "stop")
    send(run, signal.SIGKILL)
    wait_for(lambda: not psutil.pid_exists(run.owner.pid))
    stranger = _given(run.owner.pid)
    try:
        store.change(run.id, lambda now: {"status": "running", "requested_at": 1.0})
        assert engine.poll(run.id).status == "stopped"
        again = store.create(SMALL.to_dict(), owner=run.owner)
        engine.cancel(again, force=True)
        processes.kill(run.owner)
        assert store.get(again).status == "stopped"
        assert stranger.poll() is None
        lost = store.create(SMALL.to_dict(), owner=run.owner)
        assert engine.poll(lost).status == "lost"
    finally:
        stranger.kill()
        stranger.wait()


def _given(pid: int) -> subprocess.Popen[bytes]:
    """A process of somebody else's with this PID."""
    for _ in range(50):
        LAST_PID.write_text(str(pid - 1))
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        if process.pid == pid:
            return process
        process.kill()
        process.wait()
    pytest.skip("others took the PID first")
