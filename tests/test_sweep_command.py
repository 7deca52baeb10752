"""`python -m core sweep`: it starts what is missing, goes on with what ended early, and leaves alone what there is."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.__main__ import run
from core.config import Config
from core.jobs import LocalEngine, processes
from core.runs import RunStore
from core.sweep import Experiment
from core.sweep.running import begin, plan
from tests.waiting import wait_for

SMALL = Experiment(
    "two", techniques=("none", "standard"), p=(0.2, 0.4), settings={"epochs": 1, "device": "cpu", "batch_size": 500}
)
SPEC = "techniques: [none, standard]\np: [0.2, 0.4]\nepochs: 1\ndevice: cpu\nbatch_size: 500\n"


@pytest.fixture
def store(dropscope_home: Path) -> Iterator[RunStore]:
    """The store of the home, whose workers end with the test."""
    store = RunStore(dropscope_home, timeout=60.0)
    yield store
    for each in store.list():
        if each.owner and each.owner.pid != os.getpid():
            processes.kill(each.owner)


@pytest.fixture
def spec(tmp_path: Path) -> str:
    path = tmp_path / "two.yaml"
    path.write_text(SPEC)
    return str(path)


class Idle(LocalEngine):
    """Queues and never starts."""

    def advance(self) -> None:
        pass


def printed(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_sweep_trains_all_and_a_second_one_nothing(
    capsys: pytest.CaptureFixture[str], store: RunStore, spec: str
) -> None:
    assert run(["sweep", spec, "--json"]) == 0
    begun, ended, (total,) = (lambda lines: (lines[:3], lines[3:-1], lines[-1:]))(printed(capsys))
    assert [line["action"] for line in begun] == ["start"] * 3
    assert {line["run"] for line in begun} == {line["run"] for line in ended}
    assert all(line["final"]["test_accuracy"] > 0 for line in ended)
    assert total == {"experiment": "two", "runs": 3, "done": 3}
    assert {kept.experiment for kept in store.list()} == {"two"}
    before = store.list()

    assert run(["sweep", spec]) == 0
    out = capsys.readouterr().out
    assert "two: 3 runs, 3 there already." in out
    assert store.list() == before


def test_a_dry_run_says_what_it_would_do_and_leaves_nothing(
    capsys: pytest.CaptureFixture[str], spec: str, dropscope_home: Path
) -> None:
    assert run(["sweep", spec, "--dry-run"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["start"] * 3
    assert not (dropscope_home / "runs.sqlite").exists()


def test_runs_that_ended_early_go_on_and_missing_ones_start(store: RunStore) -> None:
    engine = Idle(store)
    first = begin(engine, plan(store, SMALL), "two")
    for run_id, status in zip(first, ("done", "stopped", "failed"), strict=True):
        store.finish(run_id, status)
    more = Experiment("two", techniques=("none", "standard"), p=(0.2, 0.4), seeds=(0, 1), settings=SMALL.settings)
    planned = plan(store, more)
    assert [each.action for each in planned] == ["keep", "resume", "resume", "start", "start", "start"]
    assert begin(engine, planned, "two")[:3] == first
    assert [store.get(run_id).status for run_id in first] == ["done", "queued", "queued"]
    assert len(store.list()) == 6
    assert [each.action for each in plan(store, more)] == ["keep"] * 6


def test_a_run_of_another_experiment_or_a_deleted_one_does_not_count(store: RunStore) -> None:
    engine = Idle(store)
    first = begin(engine, plan(store, SMALL), "two")
    other = Experiment("three", techniques=SMALL.techniques, p=SMALL.p, settings=SMALL.settings)
    assert {each.action for each in plan(store, other)} == {"start"}
    store.finish(first[0], "done")
    store.set_aside(first[0])
    assert [each.action for each in plan(store, SMALL)] == ["start", "keep", "keep"]


def test_a_run_that_was_lost_goes_on_before_those_that_have_not_begun(store: RunStore) -> None:
    engine = Idle(store)
    first, second, third = begin(engine, plan(store, SMALL), "two")
    store.finish(first, "lost")
    store.finish(second, "stopped")
    begin(engine, plan(store, SMALL), "two")
    claimed = [store.claim(processes.owner_of(), 9) for _ in range(3)]
    assert [each and each.id for each in claimed] == [first, third, second]


@pytest.mark.parametrize("status", ["queued", "running", "paused", "done", "stopped", "failed", "lost"])
def test_only_what_ended_early_is_resumed(store: RunStore, status: str) -> None:
    one = Experiment("one", settings={"epochs": 1})
    (run_id,) = begin(Idle(store), plan(store, one), "one")
    store.set_status(run_id, status)
    action = "resume" if status in ("stopped", "failed", "lost") else "keep"
    assert [(each.action, each.run and each.run.id) for each in plan(store, one)] == [(action, run_id)]


def test_of_runs_alike_the_one_that_is_done_counts_else_the_newest(store: RunStore) -> None:
    one = Experiment("one", settings={"epochs": 1})
    config = plan(store, one)[0].config.to_dict()
    ids = [store.create(config) for _ in range(3)]
    for run_id in ids:
        store.change(run_id, lambda _: {"experiment": "one"})
    assert [each.run and each.run.id for each in plan(store, one)] == [ids[2]]
    store.set_status(ids[1], "done")
    assert [each.run and each.run.id for each in plan(store, one)] == [ids[1]]


def test_two_sweeps_that_planned_at_once_start_each_run_once(store: RunStore) -> None:
    engine = Idle(store)
    both = plan(store, SMALL), plan(store, SMALL)
    first, second = (begin(engine, planned, "two") for planned in both)
    assert first == second
    assert len(store.list()) == 3


def test_without_a_name_every_start_is_new(store: RunStore) -> None:
    nameless = Experiment(settings={"epochs": 1})
    engine = Idle(store)
    ids = {begin(engine, plan(store, nameless))[0] for _ in range(2)}
    assert len(ids) == 2
    assert {kept.experiment for kept in store.list()} == {None}


def test_a_run_that_was_kept_before_a_setting_came_is_known_again(store: RunStore) -> None:
    config = Config(epochs=1).to_dict()
    del config["time_budget"]
    run_id = store.create(config, experiment="old")
    (planned,) = plan(store, Experiment("old", settings={"epochs": 1}))
    assert planned.run is not None
    assert planned.run.id == run_id


def test_a_failed_run_makes_the_sweep_fail(capsys: pytest.CaptureFixture[str], store: RunStore, tmp_path: Path) -> None:
    path = tmp_path / "wild.yaml"
    path.write_text("techniques: standard\nlr: 1e+30\nepochs: 1\ndevice: cpu\n")
    assert run(["sweep", str(path)]) == 1
    assert "Failed: " in capsys.readouterr().out


def test_mistakes_cost_a_sentence_and_no_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, dropscope_home: Path
) -> None:
    (tmp_path / "latin.yaml").write_bytes("name: Größe".encode("latin-1"))
    monkeypatch.setattr("sys.stdin", io.StringIO("techniques: [standard]\ndataset: /no/such/folder\n"))
    for spec, words in [
        (str(tmp_path / "nix.yaml"), "No such file"),
        (str(tmp_path), "cannot be read"),
        (str(tmp_path / "latin.yaml"), "UTF-8"),
        ("-", "no folder of that name"),
    ]:
        assert run(["sweep", spec]) == 2
        assert words in capsys.readouterr().err
    assert not (dropscope_home / "runs.sqlite").exists()


def test_ctrl_c_leaves_the_runs_going_and_the_same_sweep_sees_them_end(store: RunStore, tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.write_text("techniques: standard\nepochs: 1000\ndevice: cpu\n")
    command = [sys.executable, "-P", "-m", "core", "sweep", str(path)]
    watcher = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    running = wait_for(lambda: [each for each in store.list() if each.latest.get("epoch")])[0]
    watcher.send_signal(signal.SIGINT)
    _, err = watcher.communicate(timeout=60)
    assert watcher.returncode == 130
    assert "the runs go on" in err
    assert processes.is_alive(store.get(running.id))
    LocalEngine(store).cancel(running.id)
    assert wait_for(lambda: each if (each := store.get(running.id)).ended else None).status == "stopped"
