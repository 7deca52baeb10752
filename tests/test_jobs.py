"""Runs in processes of their own: they end as asked, a dead one is noticed and resumed, none is started twice."""

import errno
import multiprocessing
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from torch import nn

from core.data import DataError
from core.jobs import JobError, LocalEngine, keeper, processes, transitions, wishes, worker
from core.jobs import engine as jobs
from core.jobs.keeper import Keeper
from core.jobs.processes import owner_of
from core.runs import Owner, Run, RunStore, StoreError, SupersededError, weights
from core.runs.schema import REQUESTS
from core.training import Config, ConfigError, Progress, Trainer
from tests.waiting import wait_for

SMALL = Config(dataset="digits", technique="dropcorr", epochs=2, device="cpu", record_every=0.05)


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends only when it is killed, and ignores what can be ignored."""
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    process = subprocess.Popen([sys.executable, "-c", code])
    yield process
    process.kill()
    process.wait()


def ended(engine: LocalEngine, run_id: str) -> Run:
    return wait_for(lambda: run if (run := engine.poll(run_id)).ended else None)


def reached(engine: LocalEngine, run_id: str, epoch: float) -> Run:
    return wait_for(lambda: run if (run := engine.poll(run_id)).latest.get("epoch", 0) >= epoch or run.ended else None)


def epochs(store: RunStore, run_id: str) -> list[float]:
    return list(store.metrics(run_id, kind="epoch")["epoch"])


def log(store: RunStore, run_id: str) -> str:
    return (store.folder(run_id) / "worker.log").read_text()


class FakeTrainer:
    """Counts to ``steps`` instead of training, two steps an epoch; ``at`` is called before each step's record."""

    def __init__(self, steps: int = 6, at: Callable[[int], Any] = lambda _: None, ending: Any = ("done", None)) -> None:
        self.config, self.device, self.model = Config(network="digits"), torch.device("cpu"), nn.Linear(1, 1)
        self.data, self.problem = SimpleNamespace(facts=dict, title="Digits"), None
        self.steps, self.at, self.ending, self.step = steps, at, ending, 0
        self.weight(0)

    def weight(self, value: float) -> None:
        with torch.no_grad():
            self.model.weight.fill_(value)

    def run(self) -> Iterator[Progress]:
        while self.step < self.steps:
            self.step += 1
            self.weight(self.step)
            self.at(self.step)
            kind = "step" if self.step % 2 else "epoch"
            yield Progress(kind, self.step, self.step / 2, loss=1 / self.step, train_seconds=float(self.step))
        status, reason = self.ending
        test = None if status == "failed" else 0.75
        yield Progress("end", self.step, self.step / 2, status, reason, test_accuracy=test)

    @property
    def epoch(self) -> float:
        return self.step / 2

    def state(self) -> dict[str, Any]:
        return {"step": self.step}

    def load_state(self, state: dict[str, Any]) -> None:
        self.step = state["step"]


def carried_out(store: RunStore, trainer: FakeTrainer, run_id: str | None = None, **config: Any) -> Run:
    if run_id is None:
        run_id = store.create(replace(SMALL, epochs=3, **config).to_dict(), owner=owner_of())
        return worker.carry_out(store, store.get(run_id), lambda: trainer)
    return worker.carry_out(store, worker.take(store, run_id), lambda: trainer)


def test_runs_are_trained_to_the_end_one_after_the_other_with_nobody_watching(
    engine: LocalEngine, store: RunStore
) -> None:
    run_id, second = engine.submit(SMALL), engine.submit(replace(SMALL, epochs=1, seed=1))
    assert [engine.poll(each).status for each in (run_id, second)] == ["running", "queued"]
    run = wait_for(lambda: run if (run := store.get(run_id)).ended else None)
    assert (run.status, run.reason) == ("done", None), log(store, run_id)
    assert run.owner is not None
    assert run.owner.pid != os.getpid()
    assert epochs(store, run_id) == [1.0, 2.0]
    assert run.final["test_accuracy"] == pytest.approx(store.metrics(run_id, kind="end")["test_accuracy"].item())
    assert run.final["train_seconds"] > 0
    assert (run.environment["network"], run.environment["device"]) == ("digits", "cpu")
    assert log(store, run_id) == ""
    assert sorted(path.name for path in store.folder(run_id).iterdir()) == ["weights.safetensors", "worker.log"]

    trainer = Trainer(SMALL)
    assert [record.kind for record in trainer.run()][-1] == "end"
    saved = store.load_weights(run_id)
    assert all(torch.equal(saved[name], value) for name, value in trainer.model.state_dict().items())

    last = wait_for(lambda: run if (run := store.get(second)).ended else None)
    assert (last.status, last.attempt) == ("done", 1), log(store, second)


def test_a_run_pauses_goes_on_and_stops_as_asked(engine: LocalEngine, store: RunStore) -> None:
    run_id = engine.submit(replace(SMALL, epochs=5000))
    reached(engine, run_id, 0.1)
    engine.pause(run_id)
    paused = wait_for(lambda: run if (run := engine.poll(run_id)).status == "paused" else None)
    assert store.has_state(run_id)
    engine.resume(run_id)
    running = reached(engine, run_id, paused.latest["epoch"] + 0.5)
    assert (running.status, running.attempt, running.owner) == ("running", 1, paused.owner)
    asked = time.time()
    engine.cancel(run_id)
    run = ended(engine, run_id)
    assert run.status == "stopped"
    assert run.reason is not None
    assert run.reason.startswith("Stopped at epoch ")
    assert f"`python -m core train --resume {run_id}`: it goes on from its last saved state." in run.reason
    assert run.seen is not None
    assert run.seen - asked < transitions.FORCE_AFTER
    state = store.load_state(run_id)
    assert state is not None
    assert state["trainer"]["step"] == state["step"] == run.final["step"]
    # An epoch that was stopped within its evaluation is recorded when that is made again.
    evaluating = state["trainer"]["closing"] is not None
    assert evaluating or store.metrics(run_id)["step"].max() == state["step"]
    assert store.load_weights(run_id)
    wait_for(lambda: not processes.is_alive(run))


def test_a_killed_run_is_lost_and_resumes_as_if_nothing_had_been(engine: LocalEngine, store: RunStore) -> None:
    config = replace(SMALL, epochs=10)
    run_id = engine.submit(config)
    killed = reached(engine, run_id, 1)
    assert killed.status == "running"
    assert killed.owner is not None
    os.kill(killed.owner.pid, signal.SIGKILL)
    lost = ended(engine, run_id)
    assert lost.status == "lost"
    assert lost.reason == (
        "Its process ended without a word (killed, out of memory, or the machine was restarted). Resume it in the "
        f"dashboard or by `python -m core train --resume {run_id}`: it goes on from its last saved state."
    )
    assert epochs(store, run_id)[0] == 1.0

    engine.resume(run_id)
    run = ended(engine, run_id)
    assert (run.status, run.attempt, run.reason) == ("done", 2, None), log(store, run_id)
    assert epochs(store, run_id) == [float(epoch) for epoch in range(1, 11)]
    undisturbed = Trainer(config)
    end = list(undisturbed.run())[-1]
    assert run.final["test_accuracy"] == end.test_accuracy
    saved = store.load_weights(run_id)
    assert all(torch.equal(saved[name], value) for name, value in undisturbed.model.state_dict().items())


class _Started:
    """Stands for a started process; it is the one that started it, so it lives."""

    def __init__(self) -> None:
        self.pid = os.getpid()

    def poll(self) -> None:
        return None


def _advance(home: Path, start: Any, told: Path) -> None:
    def note(arguments: list[str], *_: object) -> _Started:
        with told.open("a") as file:
            file.write(arguments[1] + "\n")
        return _Started()

    processes.start = note  # type: ignore[assignment]
    engine = LocalEngine(RunStore(home, timeout=60.0), limit=30)
    start.wait()
    engine.advance()
    start.wait()


def test_two_engines_never_start_a_run_twice_nor_too_many(store: RunStore, tmp_path: Path) -> None:
    ids = [store.create(SMALL.to_dict()) for _ in range(40)]
    context = multiprocessing.get_context("fork")
    start = context.Barrier(3)
    told = [tmp_path / f"started-{place}" for place in range(3)]
    engines = [context.Process(target=_advance, args=(store.home, start, path)) for path in told]
    for process in engines:
        process.start()
    for process in engines:
        process.join(120)
    assert [process.exitcode for process in engines] == [0] * 3
    started = [line for path in told if path.exists() for line in path.read_text().split()]
    assert sorted(started) == sorted(ids[:30])
    assert sorted(run.slot for run in store.list(ids=ids[:30])) == list(range(30))


def test_a_claim_that_is_void_is_left_alone(store: RunStore) -> None:
    run_id = store.create(SMALL.to_dict(), owner=owner_of())
    store.change(run_id, lambda _: {"attempt": 2})
    with pytest.raises(SupersededError, match="in the hands of another process"):
        worker.run_worker(store, run_id, attempt=1)
    assert store.get(run_id).status == "running"


def test_a_worker_that_cannot_be_started_says_why(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes.sys, "executable", "/no/such/python")
    run = engine.poll(engine.submit(SMALL))
    assert run.status == "failed"
    assert "No such file or directory" in (run.reason or "")


def test_a_worker_that_dies_before_it_begins_is_lost(
    engine: LocalEngine, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes.sys, "executable", "/bin/false")
    run = ended(engine, engine.submit(SMALL))
    assert run.status == "lost"
    assert "it begins again, as nothing was saved yet" in (run.reason or "")


def test_bad_settings_are_refused_before_there_is_a_run(engine: LocalEngine, store: RunStore) -> None:
    with pytest.raises(ConfigError, match="epochs must be a whole number of at least 1"):
        engine.submit(replace(SMALL, epochs=0))
    assert store.list() == []


def test_the_limit_is_a_number_of_runs(store: RunStore) -> None:
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        LocalEngine(store, limit=0)
    assert LocalEngine(store, limit=3).limit == 3
    assert LocalEngine(store).limit == (jobs.gpus() or max(1, processes.cores() // 2))


@pytest.mark.parametrize(
    ("slot", "count", "listed", "gpu"),
    [(None, 4, None, None), (0, 1, None, None), (2, 4, None, "2"), (1, 2, "5,7", "7"), (3, 2, "5,7", "7")],
)
def test_each_run_sees_the_gpu_of_its_slot(slot: int | None, count: int, listed: str | None, gpu: str | None) -> None:
    environment = {} if listed is None else {"CUDA_VISIBLE_DEVICES": listed}
    assert jobs.visible_gpu(slot, count, environment).get("CUDA_VISIBLE_DEVICES") == gpu


def test_a_folder_of_images_is_named_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert jobs.rooted(Config(dataset="images")).dataset == str(tmp_path / "images")
    assert jobs.rooted(Config(dataset="digits")).dataset == "digits"


def _no_entry(*_: object, **__: object) -> None:
    raise PermissionError(errno.EACCES, "Permission denied")


@pytest.mark.parametrize("name", ["nowhere", "~nouser/x", "x" * 300, "bad\0name"])
def test_a_folder_that_cannot_be_looked_at_leaves_no_run(name: str, engine: LocalEngine, store: RunStore) -> None:
    with pytest.raises(DataError, match=r"There is no data set|The data folder .* cannot be opened"):
        engine.submit(replace(SMALL, dataset=name))
    assert store.list() == []


def test_a_folder_that_may_not_be_entered_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "stat", _no_entry)
    with pytest.raises(DataError, match=r"The data folder '/closed/x' cannot be opened \(Permission denied\)"):
        jobs.rooted(Config(dataset="/closed/x"))


def test_a_worker_finds_this_package_wherever_the_person_is(store: RunStore, tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()
    (tmp_path / "core" / "__init__.py").write_text("raise SystemExit('the wrong core')")
    output = tmp_path / "log"
    started = subprocess.run(
        [sys.executable, "-c", f"from core.jobs.processes import start; from pathlib import Path; "
         f"import os; os.chdir({str(tmp_path)!r}); raise SystemExit(start(['--help'], Path('log'), {{}}).wait())"],
        cwd=Path(jobs.__file__).parent.parent,
    )  # fmt: skip
    assert started.returncode == 0, output.read_text()
    assert "Dropscope" in output.read_text()


def test_a_stop_that_is_ignored_is_enforced(
    engine: LocalEngine, store: RunStore, sleeper: subprocess.Popen[bytes]
) -> None:
    run_id = store.create(SMALL.to_dict(), owner=owner_of(sleeper.pid))
    engine.cancel(run_id)
    assert engine.poll(run_id).status == "running"
    store.change(run_id, lambda run: {"requested_at": (run.requested_at or 0) - transitions.FORCE_AFTER - 1})
    engine.cancel(run_id)
    run = engine.poll(run_id)
    assert run.status == "stopped"
    assert (run.reason or "").startswith("Ended by force, as it had not stopped in time. Resume it")
    assert wait_for(lambda: sleeper.poll() is not None)


def test_force_ends_a_process_at_once_with_those_it_started(engine: LocalEngine, store: RunStore) -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    parent = subprocess.Popen([sys.executable, "-c", code])
    child = wait_for(lambda: psutil.Process(parent.pid).children())[0]
    run_id = store.create(SMALL.to_dict(), owner=owner_of(parent.pid))
    assert engine.cancel(run_id, force=True).status == "stopped"
    assert wait_for(lambda: parent.poll() is not None)
    wait_for(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_a_stopped_process_counts_as_alive(
    engine: LocalEngine, store: RunStore, sleeper: subprocess.Popen[bytes]
) -> None:
    run_id = store.create(SMALL.to_dict(), owner=owner_of(sleeper.pid))
    sleeper.send_signal(signal.SIGSTOP)
    assert engine.poll(run_id).status == "running"
    assert engine.cancel(run_id, force=True).status == "stopped"


def test_a_pid_that_belongs_to_somebody_else_is_never_signalled(
    engine: LocalEngine, store: RunStore, sleeper: subprocess.Popen[bytes]
) -> None:
    theirs = owner_of(sleeper.pid)
    run_id = store.create(SMALL.to_dict(), owner=replace(theirs, created=theirs.created - 100))
    engine.cancel(run_id, force=True)
    assert engine.poll(run_id).status == "stopped"
    assert sleeper.poll() is None
    lost = store.create(SMALL.to_dict(), owner=replace(theirs, created=theirs.created - 100))
    assert engine.poll(lost).status == "lost"


def test_a_process_nobody_waited_for_counts_as_dead(engine: LocalEngine, store: RunStore) -> None:
    zombie = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    run_id = store.create(SMALL.to_dict(), owner=owner_of(zombie.pid))
    assert engine.poll(run_id).status == "running"
    zombie.kill()
    wait_for(lambda: psutil.Process(zombie.pid).status() == psutil.STATUS_ZOMBIE)
    assert engine.poll(run_id).status == "lost"
    zombie.communicate()


def test_a_run_of_another_machine_is_judged_by_its_silence(engine: LocalEngine, store: RunStore) -> None:
    run_id = store.create(SMALL.to_dict(), owner=Owner("elsewhere", os.getpid(), 0.0))
    assert engine.poll(run_id).status == "running"
    with pytest.raises(JobError, match="is trained on elsewhere: end it by force there"):
        engine.cancel(run_id, force=True)
    store.change(run_id, lambda run: {"seen": (run.seen or 0) - 61, "requested": "run"})
    assert engine.poll(run_id).status == "lost"


def test_a_run_that_ends_tidily_meanwhile_is_not_lost(engine: LocalEngine, store: RunStore) -> None:
    run_id = store.create(SMALL.to_dict(), owner=replace(owner_of(), created=0.0))
    before = store.get(run_id)
    store.finish(run_id, "done")
    engine._bury(before)
    assert store.get(run_id).status == "done"


def test_a_run_that_waits_can_be_held_released_and_stopped(engine: LocalEngine, store: RunStore) -> None:
    at_work = store.create(SMALL.to_dict(), owner=owner_of())
    run_id = engine.submit(SMALL)
    assert store.get(run_id).status == "queued"
    assert engine.resume(run_id).status == "queued"
    assert engine.pause(run_id).status == "paused"
    assert engine.pause(run_id).status == "paused"
    assert engine.resume(run_id).status == "queued"
    stopped = engine.cancel(run_id)
    assert (stopped.status, stopped.attempt) == ("stopped", 0)
    assert (stopped.reason or "").startswith("Stopped while it waited. Resume it in the dashboard")
    assert engine.cancel(run_id) == stopped
    assert engine.resume(run_id).status == "queued"
    store.finish(at_work, "done")


def test_what_a_run_cannot_do_is_said(engine: LocalEngine, store: RunStore) -> None:
    run_id = store.create(SMALL.to_dict(), owner=owner_of())
    engine.cancel(run_id)
    assert engine.pause(run_id).requested == "stop"
    with pytest.raises(JobError, match="is being stopped: resume it once it has stopped"):
        engine.resume(run_id)
    with pytest.raises(JobError, match="is being trained by another process: there is nothing to resume"):
        worker.take(store, run_id)
    store.finish(run_id, "done")
    with pytest.raises(JobError, match="is done: start a new one"):
        engine.resume(run_id)
    with pytest.raises(JobError, match="is done: there is nothing to pause"):
        engine.pause(run_id)
    with pytest.raises(JobError, match="is done: there is nothing to resume"):
        worker.take(store, run_id)


@pytest.fixture
def every_epoch_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Epochs that take no time are saved all the same."""
    monkeypatch.setattr(keeper, "SAVING_SHARE", 1e9)


@pytest.mark.usefixtures("every_epoch_saved")
def test_every_record_is_kept_and_every_epoch_can_be_gone_on_from(store: RunStore) -> None:
    states: list[tuple[float, int]] = []

    def look(step: int) -> None:
        run = store.list()[0]
        if done := epochs(store, run.id):
            state = store.load_state(run.id)
            assert state is not None
            states.append((done[-1], state["step"]))
            assert store.load_weights(run.id)["weight"].item() == state["step"]

    run = carried_out(store, FakeTrainer(at=look))
    assert (run.status, run.final["test_accuracy"], run.final["epoch"]) == ("done", 0.75, 3.0)
    assert list(store.metrics(run.id)["step"]) == [1, 2, 3, 4, 5, 6, 6]
    assert states == [(1.0, 2), (1.0, 2), (2.0, 4), (2.0, 4)]
    assert not store.has_state(run.id)


def test_an_epoch_saved_but_not_yet_recorded_is_not_missing_afterwards(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = store.create(SMALL.to_dict(), owner=owner_of())
    trainer = FakeTrainer()
    kept = Keeper(store, store.get(run_id))
    records = trainer.run()
    kept.take(next(records), trainer)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "record", crash)
    with pytest.raises(KeyboardInterrupt):
        kept.take(next(records), trainer)
    monkeypatch.undo()
    assert epochs(store, run_id) == []

    again = FakeTrainer()
    Keeper(store, store.get(run_id)).restore(again)
    assert again.step == 2
    assert list(store.metrics(run_id)["step"]) == [1, 2]


def test_saving_that_would_take_too_much_of_the_time_waits(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper, "SAVING_SHARE", 0.0)
    run = carried_out(store, FakeTrainer(steps=12, at=_raise(MemoryError(), at=9)))
    state = store.load_state(run.id)
    assert state is not None
    assert state["step"] == 2
    assert epochs(store, run.id) == [1.0, 2.0, 3.0, 4.0]
    resumed = carried_out(store, FakeTrainer(steps=12), run.id)
    assert resumed.status == "done"
    assert list(store.metrics(run.id)["step"]) == [*range(1, 13), 12]
    assert store.load_weights(run.id)["weight"].item() == 12


def test_records_after_the_saved_state_are_made_anew(store: RunStore) -> None:
    run_id = store.create(SMALL.to_dict(), owner=owner_of())
    store.save_state(run_id, {"trainer": {"step": 2}, "step": 2, "records": []})
    store.record(run_id, [Progress("step", step, step / 2, loss=9.0).to_dict() for step in (1, 2, 3, 4)])
    store.set_status(run_id, "lost")
    assert carried_out(store, FakeTrainer(), run_id).status == "done"
    assert list(store.metrics(run_id, columns=["loss"])["loss"])[:5] == [9.0, 9.0, 1 / 3, 1 / 4, 1 / 5]


@pytest.mark.usefixtures("every_epoch_saved")
def test_a_run_stopped_right_after_a_resume_is_where_it_resumed_from(store: RunStore) -> None:
    def stop_in_passing(step: int) -> None:
        if step == 5:
            raise DataError("The images are gone.")

    run = carried_out(store, FakeTrainer(at=stop_in_passing))
    store.record(run.id, [Progress("step", 5, 2.5, loss=9.0, train_seconds=50.0).to_dict()])
    assert (store.get(run.id).latest["epoch"], store.load_state(run.id)["step"]) == (2.5, 4)

    class Stopped(FakeTrainer):
        def load_state(self, state: dict[str, Any]) -> None:
            super().load_state(state)
            store.request(run.id, "stop")

    for _ in range(2):
        again = carried_out(store, Stopped(), run.id)
        assert (again.reason or "").startswith("Stopped at epoch 2 of 3. ")
        assert {name: again.final[name] for name in ("step", "epoch", "loss", "train_seconds")} == {
            "step": 4, "epoch": 2.0, "loss": 1 / 4, "train_seconds": 4.0
        }  # fmt: skip
        assert list(store.metrics(run.id)["step"]) == [1, 2, 3, 4]


def test_a_stop_between_two_rare_records_loses_no_step(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wishes, "LOOK_EVERY", 0.0)
    trainer = FakeTrainer(at=lambda step: step == 3 and store.request(store.list()[0].id, "stop"))
    run = carried_out(store, trainer, record_every=100.0)
    assert (run.reason or "").startswith("Stopped at epoch 1.5 of 3. ")
    state = store.load_state(run.id)
    assert state is not None
    assert (state["step"], run.final["epoch"], run.latest["epoch"]) == (3, 1.5, 1.0)


@pytest.mark.parametrize(
    ("number", "word"),
    [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C"), (signal.SIGHUP, "the end of its terminal")],
)
def test_a_signal_stops_a_run_tidily(store: RunStore, number: int, word: str) -> None:
    before = signal.getsignal(number)
    run = carried_out(store, FakeTrainer(at=lambda step: step == 3 and os.kill(os.getpid(), number)))
    assert run.status == "stopped"
    assert (run.reason or "").startswith(f"Stopped by {word} at epoch 1.5 of 3. Resume it")
    assert store.load_weights(run.id)["weight"].item() == 3
    assert list(store.metrics(run.id)["step"]) == [1, 2, 3]
    assert signal.getsignal(number) is before
    resumed = carried_out(store, FakeTrainer(), run.id)
    assert (resumed.status, resumed.attempt) == ("done", 2)
    assert list(store.metrics(run.id)["step"]) == [1, 2, 3, 4, 5, 6, 6]


def test_a_second_signal_ends_it_where_it_stands(store: RunStore) -> None:
    def twice(step: int) -> None:
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    run = carried_out(store, FakeTrainer(at=twice))
    assert (run.status, run.final["step"]) == ("stopped", 2)
    assert "it goes on from its last saved state" in (run.reason or "")


def test_a_stop_asked_for_before_the_first_step_comes_first(store: RunStore) -> None:
    run_id = store.create(SMALL.to_dict(), owner=owner_of())
    store.request(run_id, "stop")
    run = worker.carry_out(store, store.get(run_id), FakeTrainer)
    assert (run.status, store.metrics(run_id).empty) == ("stopped", True)


def _full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def _raise(error: BaseException, at: int = 3) -> Callable[[int], None]:
    def act(step: int) -> None:
        if step == at:
            raise error

    return act


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (DataError("The file x is damaged; remove it."), "The file x is damaged; remove it."),
        (MemoryError(), "The memory ran out: choose a smaller batch size, width or data set, or stop other runs."),
        (torch.OutOfMemoryError("CUDA out of memory. Tried …"), "The memory ran out: choose a smaller batch size, "),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "The memory ran out: choose"),
        (OSError(errno.ENOSPC, "No space left on device"), "The disk is full, "),
        (RuntimeError("shapes differ.\nmore"), "Training failed with RuntimeError: shapes differ. More is in "),
        (KeyError(), "Training failed with KeyError: no message. More is in "),
    ],
)
def test_whatever_goes_wrong_is_one_sentence_with_the_rest_in_the_log(
    store: RunStore, error: Exception, reason: str
) -> None:
    run = carried_out(store, FakeTrainer(at=_raise(error)))
    assert run.status == "failed"
    assert (run.reason or "").startswith(reason)
    assert "\n" not in (run.reason or "")
    assert f"{type(error).__name__}" in log(store, run.id)
    assert "Traceback" in log(store, run.id)
    assert run.final["step"] == 2
    assert store.load_weights(run.id)["weight"].item() == 2


def test_a_diverging_run_says_so_and_keeps_its_last_good_weights(store: RunStore) -> None:
    trainer = FakeTrainer(steps=3, ending=("failed", "The loss became nan."))
    run = carried_out(store, trainer)
    assert (run.status, run.reason) == ("failed", "The loss became nan.")
    assert store.load_weights(run.id)["weight"].item() == 2


def test_a_run_that_ends_before_its_last_epoch_is_done_and_says_why(store: RunStore) -> None:
    run = carried_out(store, FakeTrainer(steps=4, ending=("done", "Its time was up.")))
    assert (run.status, run.reason, run.final["epoch"]) == ("done", "Its time was up.", 2.0)


def test_a_state_that_holds_something_else_counts_as_damaged(store: RunStore) -> None:
    run_id = store.create(SMALL.to_dict(), owner=owner_of())
    for state in ({}, {"step": 2, "records": []}, {"trainer": {}, "step": 2, "records": []}, {"step": "two"}):
        store.finish(run_id, "stopped")
        store.save_state(run_id, state)
        run = carried_out(store, FakeTrainer(), run_id)
        assert run.status == "failed"
        where = store.folder(run_id) / "state.pt"
        assert run.reason == f"The saved state {where} is damaged: remove it to start the run again."


def test_a_gpu_without_room_for_a_state_does_not_make_it_damaged(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried …")

    run_id = store.create(SMALL.to_dict(), owner=owner_of())
    store.finish(run_id, "stopped")
    store.save_state(run_id, {"trainer": {"step": 2}, "step": 2, "records": []})
    monkeypatch.setattr(FakeTrainer, "load_state", load)
    assert (carried_out(store, FakeTrainer(), run_id).reason or "").startswith("The memory ran out: ")


def test_data_that_is_not_there_fails_the_run_with_a_sentence(store: RunStore) -> None:
    run_id = store.create(replace(SMALL, dataset="nowhere").to_dict())
    run = worker.run_worker(store, run_id)
    assert run.status == "failed"
    assert "There is no data set 'nowhere'" in (run.reason or "")


@pytest.mark.usefixtures("every_epoch_saved")
def test_a_disk_that_fills_while_weights_are_written_fails_the_run(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = carried_out(
        store, FakeTrainer(at=lambda step: step == 3 and monkeypatch.setattr(weights.os, "replace", _full))
    )
    monkeypatch.undo()
    assert run.status == "failed"
    assert (run.reason or "").startswith("The disk is full, ")
    assert store.load_weights(run.id)["weight"].item() == 2
    assert epochs(store, run.id) == [1.0, 2.0]


def test_a_store_that_cannot_be_written_ends_the_work(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise StoreError("The run store is locked.")

    def lock(step: int) -> None:
        if step == 3:
            monkeypatch.setattr(store, "record", refuse)
            monkeypatch.setattr(store, "finish", refuse)

    with pytest.raises(StoreError, match="The run store is locked"):
        carried_out(store, FakeTrainer(at=lock))
    assert "The run store is locked" in log(store, store.list()[0].id)


def test_a_run_taken_over_is_left_alone(store: RunStore) -> None:
    def take_over(step: int) -> None:
        if step == 3:
            store.change(store.list()[0].id, lambda run: {"attempt": run.attempt + 1})

    with pytest.raises(SupersededError):
        carried_out(store, FakeTrainer(at=take_over))
    run = store.list()[0]
    assert (run.status, run.final) == ("running", {})
    assert epochs(store, run.id) == [1.0]


def test_rare_records_are_rare_but_the_trainer_hands_over_in_time(store: RunStore) -> None:
    assert worker.patient(Config(record_every=60.0)).record_every == keeper.LONGEST_TURN
    assert worker.patient(Config(record_every=0.1)).record_every == 0.1
    run = carried_out(store, FakeTrainer(steps=11), record_every=1.5)
    assert list(store.metrics(run.id)["step"]) == [2, 4, 6, 8, 10, 11]


def test_a_resumed_run_waits_for_its_turn(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    other = store.create(SMALL.to_dict(), owner=owner_of())
    run_id = store.create(SMALL.to_dict(), owner=owner_of())
    seen: list[tuple[str, str]] = []

    def sleep(_: float) -> None:
        seen.append((store.get(run_id).status, store.get(run_id).requested))
        if len(seen) == 1:
            store.request(run_id, "run")
        elif len(seen) == 3:
            store.finish(other, "done")

    monkeypatch.setattr(wishes.time, "sleep", sleep)
    monkeypatch.setattr(wishes, "LOOK_EVERY", 0.0)
    trainer = FakeTrainer(at=lambda step: step == 2 and store.request(run_id, "pause"))
    run = worker.carry_out(store, store.get(run_id), lambda: trainer, limit=1)
    assert run.status == "done"
    assert seen == [("paused", "pause"), ("paused", "run"), ("paused", "run")]


@pytest.mark.parametrize("after", ["batch", "epoch"])
@pytest.mark.parametrize("asked", REQUESTS)
def test_the_end_of_a_step_pauses_a_run_only_where_nothing_else_was_asked_meanwhile(
    store: RunStore, after: str, asked: str
) -> None:
    run_id = store.create(SMALL.to_dict(), owner=owner_of())
    store.request(run_id, asked)
    run = store.change(run_id, lambda run: wishes._pausing(run, after=after))
    assert run.requested == ("pause" if asked == after else asked)


def test_a_pause_does_not_take_back_a_stop(engine: LocalEngine, store: RunStore) -> None:
    run_id = store.create(SMALL.to_dict(), owner=owner_of())
    store.request(run_id, "stop")
    assert engine.pause(run_id).requested == "stop"


def test_this_process_knows_itself() -> None:
    owner = owner_of()
    assert (owner.host, owner.pid) == (platform.node(), os.getpid())
    assert processes.cores() >= 1


@pytest.mark.parametrize(("width", "chosen", "threads"), [(1.0, None, 1), (4.0, None, 6), (1.0, "3", None)])
def test_a_small_network_takes_one_thread_unless_somebody_chose(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, width: float, chosen: str | None, threads: int | None
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if chosen:
        monkeypatch.setenv("OMP_NUM_THREADS", chosen)
    monkeypatch.setattr("core.jobs.worker.cores", lambda: 12)
    taken: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", taken.append)
    worker.trainer_of(store.get(store.create(Config(width=width).to_dict())), limit=2)
    assert (taken[-1] if taken else None) == threads
