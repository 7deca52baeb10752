"""The worker that waits for the next run: used where there is one, ends with its server, and changes no result."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from core.jobs import LocalEngine, processes, warm
from core.jobs.processes import owner_of
from core.jobs.warm import Order
from core.runs import Run, RunStore
from core.training import Config, Trainer
from tests.waiting import wait_for, waiting

SMALL = Config(dataset="digits", technique="dropcorr", epochs=2, device="cpu", record_every=0.05)


def warmed(engine: LocalEngine) -> int:
    """Have a worker wait; its PID."""
    engine.warm.expect()
    engine.keep_warm()
    (process,) = wait_for(lambda: waiting(engine.store.home))
    return int(process.pid)


def ended(engine: LocalEngine, run_id: str) -> Run:
    return wait_for(lambda: run if (run := engine.poll(run_id)).ended else None)


def test_the_next_run_goes_to_the_worker_that_waits_and_is_the_same_to_the_bit(
    engine: LocalEngine, store: RunStore
) -> None:
    pid = warmed(engine)
    run = ended(engine, engine.submit(SMALL))
    assert run.owner is not None
    assert (run.status, run.reason, run.attempt, run.owner.pid) == ("done", None, 1, pid)
    assert (store.folder(run.id) / "worker.log").read_text() == ""
    cold = ended(engine, engine.submit(SMALL))
    assert cold.owner is not None
    assert cold.owner.pid != pid
    trainer = Trainer(SMALL)
    list(trainer.run())
    expected = trainer.model.state_dict()
    for each in (run.id, cold.id):
        saved = store.load_weights(each)
        assert saved.keys() == expected.keys()
        assert all(torch.equal(saved[name], value) for name, value in expected.items())
    losses = [store.metrics(each, kind="epoch")["val_loss"].tolist() for each in (run.id, cold.id)]
    assert losses[0] == losses[1]


def test_one_process_a_run_a_crash_takes_one_and_the_next_has_a_worker_of_its_own(
    engine: LocalEngine, store: RunStore
) -> None:
    pid = warmed(engine)
    run_id = engine.submit(replace(SMALL, epochs=5000))
    engine.keep_warm()
    assert [process.pid for process in waiting(store.home)] == [pid], "the next one warms up before the first point"
    wait_for(lambda: store.get(run_id).seq)
    engine.keep_warm()
    (following,) = wait_for(lambda: [process.pid for process in waiting(store.home) if process.pid != pid])
    engine.keep_warm()
    assert len(waiting(store.home)) == 2
    os.kill(pid, signal.SIGKILL)
    assert ended(engine, run_id).status == "lost"
    assert engine.resume(run_id).status == "running"
    wait_for(lambda: store.get(run_id).seq)
    running = store.get(run_id)
    assert running.owner is not None
    assert (running.attempt, running.owner.pid) == (2, following)
    engine.cancel(run_id)
    assert ended(engine, run_id).status == "stopped"


def test_a_worker_that_waits_takes_a_run_on_other_data_too(
    engine: LocalEngine, store: RunStore, tmp_path: Path
) -> None:
    pid = warmed(engine)
    (tmp_path / "empty").mkdir()
    run = ended(engine, engine.submit(replace(SMALL, dataset=str(tmp_path / "empty"))))
    assert run.owner is not None
    assert (run.status, run.owner.pid) == ("failed", pid)
    assert str(tmp_path / "empty") in (run.reason or "")
    assert "Traceback" in (store.folder(run.id) / "worker.log").read_text()


@pytest.mark.parametrize("warmed_up", [False, True])
def test_it_ends_with_its_server_even_while_it_warms_up(warmed_up: bool, store: RunStore) -> None:
    code = (
        "import sys, time; from pathlib import Path; from core.jobs import LocalEngine; from core.runs import RunStore;"
        "engine = LocalEngine(RunStore(Path(sys.argv[1])), 1); engine.warm.expect(); engine.keep_warm();"
        "print(flush=True); time.sleep(600)"
    )
    server = subprocess.Popen([sys.executable, "-c", code, str(store.home)], stdout=subprocess.PIPE)
    try:
        assert server.stdout
        assert server.stdout.readline() == b"\n"
        (process,) = wait_for(lambda: waiting(store.home))
        # Torch's libraries are open once it is well on its way.
        assert not warmed_up or wait_for(lambda: any("libtorch" in file.path for file in process.memory_maps()))
    finally:
        server.kill()
        server.communicate()
    wait_for(lambda: not waiting(store.home), seconds=5.0)


def test_a_worker_that_died_is_not_used_and_not_started_again_and_again(engine: LocalEngine, store: RunStore) -> None:
    pid = warmed(engine)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not waiting(store.home))
    run_id = engine.submit(SMALL)
    run = ended(engine, run_id)
    assert run.owner is not None
    assert (run.status, run.attempt) == ("done", 1)
    assert run.owner.pid != pid

    pid = warmed(engine)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not waiting(store.home))
    for _ in range(2):
        engine.keep_warm()
    assert not waiting(store.home)
    assert warmed(engine) != pid


def test_it_ends_when_nobody_has_been_about_to_start_a_run_for_long(
    engine: LocalEngine, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.keep_warm()
    assert not waiting(store.home), "nobody has asked for one"
    warmed(engine)
    now = warm.time.monotonic()
    monkeypatch.setattr(warm.time, "monotonic", lambda: now + warm.WAIT_SECONDS + 1)
    engine.keep_warm()
    assert not waiting(store.home)


def test_it_is_switched_off_by_a_variable(
    engine: LocalEngine, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(warm.SETTING, "0")
    engine.warm.expect()
    engine.keep_warm()
    assert not waiting(store.home)


def test_it_waits_with_the_gpu_of_the_next_run(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.jobs.engine.gpus", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    started: list[dict[str, str]] = []

    def start(_: object, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        started.append(environment)
        return subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

    monkeypatch.setattr(processes, "start_waiting", start)
    engine = LocalEngine(store, limit=2)
    engine.warm.expect()
    engine.keep_warm()
    engine.keep_warm()
    run_id = store.create(SMALL.to_dict(), owner=owner_of())
    store.change(run_id, lambda _: {"slot": 0, "seq": 1})
    engine.keep_warm()
    assert started == [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]
    order = Order(run_id, 1, store.folder(run_id) / "worker.log")
    assert engine.warm.take(order, {"CUDA_VISIBLE_DEVICES": "0"}) is None
    child = engine.warm.take(order, {"CUDA_VISIBLE_DEVICES": "1"})
    assert child is not None
    child.wait()


def test_an_order_is_one_line(tmp_path: Path) -> None:
    order = Order("abc", 3, tmp_path / "a\nb é" / "worker.log")
    assert order.line().count(b"\n") == 1
    assert Order.read(order.line()) == order


def test_a_warm_worker_and_its_run_import_only_what_they_need(store: RunStore) -> None:
    store.create(replace(SMALL, epochs=1).to_dict(), owner=owner_of())
    run_id = store.create(replace(SMALL, epochs=1).to_dict())
    code = (
        "import sys; from pathlib import Path; from core.jobs import LocalEngine, warm; from core.jobs import worker;"
        "from core.runs import RunStore; store = RunStore(Path(sys.argv[1])); data = warm.warm_up(1);"
        "run = worker.run_worker(store, sys.argv[2], limit=1, data=data); LocalEngine(store, 1).advance();"
        "print(run.status, *{'torchvision', 'sklearn', 'streamlit', 'pandas', 'scipy', 'plotly'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(store.home), run_id], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("done\n", "")
