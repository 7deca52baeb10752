"""`python -m core reproduce`: the parts of the plan that were asked for, and a table that no interruption changes."""

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from core.__main__ import run
from core.jobs import processes
from core.reproduce.plan import Plan, variants
from core.reproduce.results import TIMES, read
from core.runs import RunStore
from tests.nursery import nursery
from tests.waiting import wait_for


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Sixty small pictures, those of one class brighter."""
    random = np.random.RandomState(0)
    for name, bright in (("dark", 0), ("light", 60)):
        folder = tmp_path / "pictures" / name
        folder.mkdir(parents=True)
        for index in range(30):
            pixels = random.randint(bright, 196 + bright, (32, 32, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path / "pictures"


@pytest.fixture
def workers() -> Iterator[None]:
    """Workers that need not load torch first."""
    with nursery():
        yield


def words(images: Path, target: Path) -> list[str]:
    parts = ["--techniques", "none,dropact", "--groups", "main", "--seeds", "1", "--epochs", "25", "--device", "cpu"]
    return ["reproduce", "cifar10", "--folder", str(images), "--csv", str(target), *parts]


def _in_the_foreground(arguments: list[str]) -> None:
    os.setsid()
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115, as long as the process
    os._exit(run(arguments))


def kill_all(store: RunStore, command: multiprocessing.process.BaseProcess) -> None:
    """SIGKILL for the command and for every process that works for it."""
    assert command.pid
    os.kill(command.pid, signal.SIGKILL)
    command.join()
    for each in store.list(status=["running"]):
        if each.owner and processes.is_alive(each):
            os.kill(each.owner.pid, signal.SIGKILL)
            wait_for(lambda each=each: not processes.is_alive(each))


@pytest.mark.usefixtures("workers")
@pytest.mark.timeout(600)
def test_three_kills_of_everything_change_no_number(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = {}
    for name, kills in (("undisturbed", 0), ("killed", 3)):
        monkeypatch.setenv("DROPSCOPE_HOME", str(tmp_path / name))
        store, arguments = RunStore(tmp_path / name), words(images, tmp_path / f"{name}.csv")
        epochs = 0.0
        for _ in range(kills):
            command = multiprocessing.get_context("fork").Process(target=_in_the_foreground, args=(arguments,))
            command.start()
            # Each time a few epochs later: in the first run, at its end or in the second.
            wait_for(lambda store=store, due=epochs + 9: reached(store) >= due)
            kill_all(store, command)
            epochs = reached(store)
        assert run(arguments) == 0
        assert any(each.attempt > 1 for each in store.list()) is (kills > 0)
        tables[name] = read(tmp_path / f"{name}.csv")
    undisturbed, killed = tables.values()
    assert len(killed) == 2 * 25
    pd.testing.assert_frame_equal(killed.drop(columns=[*TIMES]), undisturbed.drop(columns=[*TIMES]), check_exact=True)
    assert {*killed["data"]} == {"pictures"}


def reached(store: RunStore) -> float:
    """Epochs of all runs together."""
    return sum(float(each.latest.get("epoch") or 0.0) for each in store.list())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_dry_run_says_what_would_be_trained_on_this_machine(
    precision: str,
    capsys: pytest.CaptureFixture[str],
    dropscope_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("core.environment.computes_bf16", lambda device: precision == "bf16")
    target = tmp_path / "mnist.csv"
    assert run(["reproduce", "mnist", "--seeds", "4-5,0", "--dry-run", "--csv", str(target), "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["config"] for line in lines] == [
        json.loads(json.dumps(config.to_dict()))
        for config in Plan("mnist", seeds=(4, 5, 0), settings={"precision": precision}).configs()
    ]
    assert len(lines) == 3 * len(variants())
    assert {line["action"] for line in lines} == {"start"}
    assert not (dropscope_home / "runs.sqlite").exists()
    assert not target.exists()


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--seeds", "two", "a number of seeds, or a list"),
        ("--seeds", "0", "takes 0 seeds"),
        ("--seeds", "5-3", "takes 0 seeds"),
        ("--seeds", "0-4294967295", "1 to 1,000"),
        ("--techniques", "none,dropout", "There is no technique 'dropout'; choose among none, standard"),
        ("--groups", "all", "There is no group 'all'"),
        ("--precision", "fp8", "precision must be one of"),
        ("--folder", "/no/such", "no folder of that name"),
        ("--epochs", "0", "Invalid value for '--epochs'"),
    ],
)
def test_a_mistake_costs_a_sentence_and_no_run(
    capsys: pytest.CaptureFixture[str], dropscope_home: Path, option: str, value: str, words: str
) -> None:
    assert run(["reproduce", "cifar10", option, value]) == 2
    assert words in capsys.readouterr().err
    assert not (dropscope_home / "runs.sqlite").exists()


def test_a_file_that_is_no_table_is_told_before_anything_is_trained(
    capsys: pytest.CaptureFixture[str], dropscope_home: Path, tmp_path: Path
) -> None:
    (tmp_path / "mnist.csv").write_text("a,b\n1,2\n")
    assert run(["reproduce", "mnist", "--csv", str(tmp_path / "mnist.csv")]) == 2
    assert "has no column dataset" in capsys.readouterr().err
    assert not RunStore(dropscope_home).list()
