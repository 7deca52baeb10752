"""The command line: what it prints, for people and for machines, and that a mistake costs one sentence and no run."""

import csv
import io
import json
import signal
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from core.__main__ import main, run
from core.cli.values import knob_value
from core.dropout import TECHNIQUES, Knob
from core.jobs.processes import owner_of
from core.runs import Owner, RunStore
from core.runs.schema import MIGRATIONS
from core.training import Config, Progress, Trainer

ROOT = Path(__file__).resolve().parent.parent
TRAIN = ["train", "--dataset", "digits", "--technique", "dropcorr", "--epochs", "1", "--device", "cpu"]


@pytest.fixture
def store(dropscope_home: Path) -> RunStore:
    return RunStore(dropscope_home)


@pytest.fixture
def done(store: RunStore) -> str:
    """A finished run with two epochs, without having been trained."""
    run_id = store.create(Config(technique="dropact", p=(0.1, 0.2)).to_dict(), {"device": "cpu"})
    records = [Progress("epoch", 10 * n, float(n), loss=1 / n, val_accuracy=0.4 * n, p=(0.1, 0.2)) for n in (1, 2)]
    step = replace(records[0], kind="step", step=5, epoch=0.5)
    end = Progress("end", 20, 2.0, "done", test_accuracy=0.75)
    store.record(run_id, [record.to_dict() for record in (step, *records, end)])
    store.finish(run_id, "done", None, {"test_accuracy": 0.75, "epoch": 2.0})
    return run_id


def lines(text: str) -> list[dict[str, Any]]:
    """``text`` as strict JSON lines."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, **options)


def test_training_prints_a_line_an_epoch_and_keeps_the_run(capsys: pytest.CaptureFixture[str], store: RunStore) -> None:
    assert run([*TRAIN, "--epochs", "2", "--seed", "3", "--p", "0.1,0.3", "--knob", "count=active"]) == 0
    out, err = capsys.readouterr()
    (kept,) = store.list()
    said = out.splitlines()
    assert len(said) == 4
    assert said[0].startswith("digits · dropcorr · p 0.1, 0.3 · seed 3: training on cpu")
    assert said[0].endswith(kept.id)
    assert [line.split("  ")[0] for line in said[1:3]] == ["epoch 1/2", "epoch 2/2"]
    assert "validation accuracy" in said[1]
    assert said[3].startswith(f"Done. Test accuracy {kept.final['test_accuracy']:.2%} after 2 epochs, ")
    assert err == ""
    config = Config.from_dict(kept.config)
    assert config == Config(
        technique="dropcorr", epochs=2, seed=3, p=(0.1, 0.3), knobs={"count": "active"}, device="cpu"
    )
    assert kept.owner == owner_of()
    weights = store.load_weights(kept.id)
    Trainer(config).model.load_state_dict(weights)


def test_json_is_all_there_is_on_stdout(capsys: pytest.CaptureFixture[str], store: RunStore) -> None:
    assert run([*TRAIN, "--json", "--record-every", "0", "--name", "mine"]) == 0
    out, err = capsys.readouterr()
    *records, result = lines(out)
    (kept,) = store.list()
    assert {record["run"] for record in records} == {kept.id}
    assert [record["kind"] for record in records][-2:] == ["epoch", "end"]
    assert len(records) == len(store.metrics(kept.id))
    assert result == {"run": kept.id, "name": "mine", "status": "done", "reason": None, "final": kept.final}
    assert err == ""


def test_a_terminal_shows_a_bar_with_the_time_that_is_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert run([*TRAIN, "--record-every", "0"]) == 0
    assert "step/s" in terminal.getvalue()
    assert "100%" in terminal.getvalue()
    assert "validation accuracy" in terminal.getvalue()
    assert "epoch 1/1" not in capsys.readouterr().out


def test_ctrl_c_ends_tidily_with_weights_saved_and_the_run_can_be_resumed(
    store: RunStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-m", "core", *TRAIN, "--epochs", "5000", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline()]
        while lines(said[-1])[0]["kind"] != "epoch":
            said.append(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err == ""
    result = lines(out)[-1]
    assert result["status"] == "stopped"
    assert result["reason"].startswith("Stopped by Ctrl-C at epoch ")
    kept = store.get(result["run"])
    assert kept.status == "stopped"
    assert store.load_weights(kept.id)

    reached = float(kept.final["epoch"])
    store.change(kept.id, lambda _: {"config": kept.config | {"epochs": int(reached) + 1}})
    assert run(["train", "--resume", kept.id[:9]]) == 0
    assert "Done." in capsys.readouterr().out
    assert list(store.metrics(kept.id, kind="epoch")["epoch"]) == [float(n) for n in range(1, int(reached) + 2)]
    assert run(["train", "--resume", kept.id]) == 1
    assert "is done: there is nothing to resume" in capsys.readouterr().err


def test_a_failed_training_exits_with_1_and_its_reason(capsys: pytest.CaptureFixture[str], store: RunStore) -> None:
    assert run([*TRAIN, "--lr", "1e9"]) == 1
    err = capsys.readouterr().err
    (kept,) = store.list()
    assert kept.status == "failed"
    assert err == f"Failed: {kept.reason}\n"
    assert "lower the learning rate" in err
    assert run([*TRAIN, "--lr", "1e9", "--json"]) == 1
    result = lines(capsys.readouterr().out)[-1]
    assert result["error"] == result["reason"]
    assert result["status"] == "failed"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--p 1.5", "p is the probability of dropping and must lie between 0 and 1, got 1.5."),
        ("--p nan", "p is the probability of dropping and must lie between 0 and 1, got nan."),
        ("--p half", "--p is a number, or several such as 0.2,0.3, not 'half'."),
        ("--p 0.1,0.2,0.3", "Digits net has 2 dropout positions, but p has 3 values; give one each."),
        ("--technique dropfoo", "There is no technique 'dropfoo'; choose from standard, dropconnect, "),
        ("--technique dropfoo --knob a=1", "There is no technique 'dropfoo'; choose from standard, dropconnect, "),
        ("--dataset nowhere", "There is no data set 'nowhere' and no folder of that name; choose digits, "),
        ("--dataset ~nouser/x", "The data folder '~nouser/x' cannot be opened "),
        (f"--dataset {'x' * 300}", "The data folder 'xxx"),
        ("--seed 99999999999999999999", "seed must be a whole number of at most 4294967295, got 99999999999999999999."),
        ("--seed 4294967296", "seed must be a whole number of at most 4294967295, got 4294967296."),
        ("--width 1e9", "width must be a number of at most 64, got 1000000000.0."),
        ("--network foo", "network must be one of auto, digits, mnist, cifar10, got 'foo'."),
        ("--epochs 0", "epochs must be a whole number of at least 1, got 0."),
        ("--epochs many", "Invalid value for '--epochs': 'many' is not a valid integer."),
        ("--knob vanilla", "A knob is written NAME=VALUE, such as count=active, not 'vanilla'."),
        ("--knob vanilla=maybe", "vanilla must be True or False, got 'maybe'"),
        ("--knob count=active", "standard has no option 'count'; it has vanilla"),
        ("--foo", "No such option"),
        ("--resume abc --epochs 3", "--resume goes on with the run's own settings: leave the others out"),
        ("--resume abc", "There is no run 'abc': `python -m core runs` lists those there are."),
    ],
)
def test_bad_input_costs_one_sentence_and_leaves_nothing(
    words: str, sentence: str, capsys: pytest.CaptureFixture[str], dropscope_home: Path
) -> None:
    assert run(["train", *words.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"Error: {sentence}")
    assert err.count("\n") == 1
    assert not (dropscope_home / "runs.sqlite").exists()
    assert not (dropscope_home / "runs").exists()
    assert run(["train", *words.split(), "--json"]) == 2
    out, err = capsys.readouterr()
    (answer,) = lines(out)
    assert answer["error"].startswith(sentence)
    assert err == ""


OUT_OF_MEMORY = "[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes."


@pytest.mark.parametrize(
    ("error", "sentence", "hint"),
    [
        (RuntimeError(OUT_OF_MEMORY), "The memory ran out: choose a smaller batch size, width or data set, ", ""),
        (KeyError("colour"), "KeyError: 'colour'", "; set DROPSCOPE_DEBUG=1 to see where it happened."),
        (RuntimeError("odd.\nmore"), "RuntimeError: odd", "; set DROPSCOPE_DEBUG=1 to see where it happened."),
    ],
)
def test_what_nobody_foresaw_is_one_sentence_and_leaves_nothing(
    error: Exception,
    sentence: str,
    hint: str,
    capsys: pytest.CaptureFixture[str],
    dropscope_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def build(*_: object) -> None:
        raise error

    monkeypatch.delenv("DROPSCOPE_DEBUG", raising=False)
    monkeypatch.setattr("core.training.Trainer", build)
    assert run(TRAIN) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"Error: {sentence}{hint}")
    assert err.count("\n") == 1
    assert run([*TRAIN, "--json"]) == 1
    out, err = capsys.readouterr()
    (answer,) = lines(out)
    assert answer["error"].startswith(f"{sentence}{hint}")
    assert err == ""
    assert not (dropscope_home / "runs.sqlite").exists()
    monkeypatch.setenv("DROPSCOPE_DEBUG", "1")
    assert run([*TRAIN, "--json"]) == 1
    out, err = capsys.readouterr()
    assert lines(out)[0]["error"].startswith(sentence)
    assert err.startswith("Traceback")


def test_the_largest_seed_trains(store: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*TRAIN, "--seed", str(2**32 - 1)]) == 0
    assert store.list()[0].status == "done"


def test_a_worker_leaves_the_traceback_in_its_log(
    store: RunStore, done: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object, **__: object) -> None:
        raise KeyError("colour")

    monkeypatch.setattr("core.jobs.worker.run_worker", work)
    assert run(["worker", done, "--attempt", "1", "--limit", "1", "--home", str(store.home)]) == 1
    err = capsys.readouterr().err
    assert err.startswith("Traceback")
    assert err.endswith("Error: KeyError: 'colour'.\n")


def test_a_store_that_cannot_be_used_is_said(
    capsys: pytest.CaptureFixture[str], store: RunStore, dropscope_home: Path
) -> None:
    dropscope_home.mkdir()
    for words in (TRAIN, ["runs"], ["runs", "show", "abc"], ["runs", "delete", "abc"], ["runs", "export"]):
        for file in dropscope_home.glob("runs.sqlite*"):
            file.unlink()
        (dropscope_home / "runs.sqlite").write_bytes(b"this is no database at all, whatever its name says" * 20)
        run([*words, "--json"])
        told = capsys.readouterr()
        assert "was damaged: it is kept as runs.sqlite.damaged-" in told.out + told.err
    assert run(["runs", "--json"]) == 0, "a new one has begun"


def test_a_newer_store_is_said(capsys: pytest.CaptureFixture[str], store: RunStore, done: str) -> None:
    with store._database.write() as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    assert run(["runs"]) == 1
    assert capsys.readouterr().err.startswith(f"Error: The run store {store.home / 'runs.sqlite'} was made by a newer")


def test_every_setting_has_an_option() -> None:
    options = {name for parameter in main.commands["train"].params if (name := parameter.name)}
    settings = {field.name for field in fields(Config)}
    assert options - {"resume", "name", "as_json"} == settings


@pytest.mark.parametrize(
    ("knob", "text", "value"),
    [
        (Knob("a", "x", "", choices=("x", "none")), "none", "none"),
        (Knob("a", "x", "", choices=("x",)), "7", 7),
        (Knob("a", False, ""), "Yes", True),
        (Knob("a", True, ""), "off", False),
        (Knob("a", 1, "", integer=True), "12", 12),
        (Knob("a", 1, "", integer=True), "1.5", 1.5),
        (Knob("a", 1.0, ""), "1e-3", 1e-3),
        (Knob("a", 1.0, ""), "inf", float("inf")),
        (Knob("a", None, "", optional=True), "none", None),
        (Knob("a", None, "", optional=True), "4", 4),
        (Knob("a", 1.0, ""), "much", "much"),
    ],
)
def test_knobs_are_read_as_their_kind(knob: Knob, text: str, value: Any) -> None:
    assert knob_value(knob, text) == value
    assert type(knob_value(knob, text)) is type(value)


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_every_default_can_be_written_on_the_command_line(technique: str) -> None:
    for knob in TECHNIQUES[technique].knobs:
        value = knob_value(knob, str(knob.default))
        assert value == knob.default
        knob.check(value)


def test_an_empty_store_says_how_to_begin(capsys: pytest.CaptureFixture[str], dropscope_home: Path) -> None:
    assert run(["runs"]) == 0
    assert capsys.readouterr().out == "There are no runs yet: `python -m core train` trains the first one.\n"
    assert run(["runs", "list", "--json"]) == 0
    assert capsys.readouterr().out == ""
    assert not (dropscope_home / "runs.sqlite").exists()


@pytest.mark.parametrize("words", [["runs"], ["runs", "list"]])
def test_runs_are_listed(words: list[str], capsys: pytest.CaptureFixture[str], store: RunStore, done: str) -> None:
    waiting = store.create(Config().to_dict())
    assert run(words) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert head.split() == ["id", "name", "status", "epoch", "validation", "test", "created"]
    assert [row.split()[0] for row in rows] == [waiting, done]
    assert rows[0].index("queued") == rows[1].index("done") == head.index("status")
    assert "2/10" in rows[1]
    assert "80.00%" in rows[1]
    assert "75.00%" in rows[1]
    assert run([*words, "--json"]) == 0
    found = lines(capsys.readouterr().out)
    assert [each["id"] for each in found] == [waiting, done]
    assert found[1]["config"]["p"] == [0.1, 0.2]


def test_a_run_is_shown_whole(capsys: pytest.CaptureFixture[str], done: str) -> None:
    assert run(["runs", "show", done[:8]]) == 0
    out = capsys.readouterr().out
    name = "digits · dropact · p 0.1, 0.2 · seed 0"
    for words in (done, name, "technique       dropact", "test_accuracy  0.75", "[0.1, 0.2]"):
        assert words in out
    for place in (["runs", "show", done, "--json"], ["runs", "--json", "show", done]):
        assert run(place) == 0
        (shown,) = lines(capsys.readouterr().out)
        assert shown["final"]["test_accuracy"] == 0.75


def test_what_was_changed_of_a_run_is_shown(capsys: pytest.CaptureFixture[str], store: RunStore, done: str) -> None:
    changes = [
        {"name": "p", "before": [0.1, 0.2], "after": 0.5},
        {"name": "count", "before": "layer", "after": "active"},
    ]
    store.mark(done, [], {"step": 10, "epoch": 1.0, "seconds": 2.0, "changes": changes})
    assert run(["runs", "show", done]) == 0
    assert "  before step 11: p [0.1, 0.2] → 0.5, count layer → active" in capsys.readouterr().out
    assert run(["runs", "show", done, "--json"]) == 0
    assert lines(capsys.readouterr().out)[0]["marks"][0]["changes"] == changes


def test_a_run_at_work_is_changed_and_taken_a_step_further(
    capsys: pytest.CaptureFixture[str], store: RunStore, done: str
) -> None:
    at_work = store.create(Config(technique="dropact").to_dict(), owner=owner_of())
    words = ["adjust", at_work[:9], "--p", "0.1,0.2", "--lr", "0.01", "--knob", "clamp=5", "--knob", "count=active"]
    assert run(["runs", *words]) == 0
    assert capsys.readouterr().out == f"Run {at_work} makes this change at its next step.\n"
    (order,) = store.orders(at_work)
    assert order.changes == {"p": [0.1, 0.2], "lr": 0.01, "knobs": {"clamp": 5, "count": "active"}}
    store.mark(at_work, [], {"step": 0, "epoch": 0.0, "seconds": 0.0, "changes": []}, {order.key: "It does not fit."})
    assert run(["runs", "show", at_work]) == 0
    assert '"count": "active"}}: It does not fit.' in capsys.readouterr().out

    assert run(["runs", "step", at_work, "epoch", "--json"]) == 0
    assert lines(capsys.readouterr().out)[0]["requested"] == "epoch"
    assert store.get(at_work).requested == "epoch"
    for words, code, sentence in (
        (["step", at_work, "week"], 1, "A run goes on by one batch or one epoch, not by 'week'."),
        (["adjust", at_work], 2, "Say what is to change: p, lr or a knob."),
        (["adjust", at_work, "--p", "2"], 2, "p is the probability of dropping and must lie between 0 and 1, got 2.0."),
        (["adjust", at_work, "--knob", "clamp"], 2, "A knob is written NAME=VALUE, such as count=active, not 'clamp'."),
        (["adjust", done, "--lr", "1"], 1, f"Run {done} is done, so nothing of it can change."),
        (["take-back", at_work], 1, f"Run {at_work} is running: stop it, or change it again to what it was."),
    ):
        assert run(["runs", *words]) == code, sentence
        assert capsys.readouterr().err == f"Error: {sentence}\n"
    store.mark(at_work, [], {"step": 7, "epoch": 1.0, "seconds": 2.0, "changes": [change("lr", 0.1, 0.2)]})
    store.finish(at_work, "failed")
    assert run(["runs", "take-back", at_work]) == 0
    assert "The change before step 8 (lr 0.1 → 0.2) is taken back. Resume it" in capsys.readouterr().out
    assert store.get(at_work).marks == ()


def change(name: str, before: Any, after: Any) -> dict[str, Any]:
    return {"name": name, "before": before, "after": after}


def test_a_dead_run_is_listed_as_lost_and_can_be_deleted(
    capsys: pytest.CaptureFixture[str], store: RunStore, done: str
) -> None:
    dead = store.create(Config().to_dict(), owner=replace(owner_of(), created=0.0))
    assert run(["runs", "show", dead, "--json"]) == 0
    (shown,) = lines(capsys.readouterr().out)
    assert shown["status"] == "lost"
    assert f"`python -m core train --resume {dead}`" in shown["reason"]
    assert run(["runs", "delete", dead, done, "--json"]) == 0
    assert lines(capsys.readouterr().out) == [{"deleted": [dead, done]}]
    assert store.list() == []


def test_a_run_at_work_is_not_deleted(capsys: pytest.CaptureFixture[str], store: RunStore, done: str) -> None:
    at_work = store.create(Config().to_dict(), owner=owner_of())
    assert run(["runs", "delete", done, at_work]) == 1
    assert capsys.readouterr().err == (
        f"Error: Run {at_work} (digits · standard · seed 0) is still running: stop it before you delete it.\n"
    )
    assert run(["runs", "delete", "zz"]) == 2
    assert len(store.list()) == 2


def test_runs_are_exported_as_csv(
    capsys: pytest.CaptureFixture[str], store: RunStore, done: str, tmp_path: Path
) -> None:
    store.create(Config().to_dict(), owner=Owner("elsewhere", 1, 0.0))
    assert run(["runs", "export"]) == 0
    out = capsys.readouterr().out
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["run"], row["kind"], row["step"]) for row in rows] == [
        (done, "epoch", "10"),
        (done, "epoch", "20"),
        (done, "end", "20"),
    ]
    assert (rows[0]["technique"], rows[0]["p"], rows[0]["val_accuracy"]) == ("dropact", "0.1 0.2", "0.4")
    assert (rows[0]["test_accuracy"], rows[2]["test_accuracy"]) == ("", "0.75")

    file = tmp_path / "runs.csv"
    assert run(["runs", "export", done[:8], "--csv", str(file), "--steps"]) == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"Wrote 4 records of 1 run to {file}.\n")
    assert [row["kind"] for row in csv.DictReader(file.open())] == ["step", "epoch", "epoch", "end"]

    assert run(["runs", "export", "--json"]) == 0
    records = lines(capsys.readouterr().out)
    assert [record["val_accuracy"] for record in records] == [0.4, 0.8, None]
    assert records[0]["p"] == "0.1 0.2"

    assert run(["runs", "export", "--csv", str(tmp_path / "no" / "runs.csv")]) == 2
    assert "runs.csv cannot be written (" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "--help"], ["runs"], ["runs", "show", "abc"], ["runs", "delete", "a"]]
)
def test_what_needs_no_torch_does_not_import_it(words: list[str], store: RunStore, done: str) -> None:
    heavy = ("torch", "pandas", "numpy", "sklearn", "safetensors", "tqdm")
    code = (
        "import sys; from core.__main__ import run; code = run(sys.argv[1:]); "
        f"print(*[name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    answer = python("-c", code, *words)
    assert answer.stderr.splitlines()[-1] == ""
    assert answer.stdout or "There is no run" in answer.stderr


def test_without_a_command_it_says_what_it_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    out = capsys.readouterr().out
    assert "train" in out
    assert "worker" not in out


def test_a_reader_that_has_enough_is_no_error(store: RunStore, done: str) -> None:
    command = [sys.executable, "-m", "core", "runs", "export", "--json"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
