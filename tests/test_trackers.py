"""Exports for TensorBoard and MLflow, read back by TensorBoard's own loader and from a real MLflow server."""

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run as Sent
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from core.__main__ import run as command
from core.config import Config
from core.runs import Run, RunStore
from core.runs.measures import NUMBERS
from core.trackers.records import TrackerError
from core.trackers.tensorboard import export as to_tensorboard
from core.training import Progress
from tests.mlflow_server import mlflow_server

Series = dict[str, list[tuple[int, float, float]]]

# What people may call a run or write to it; none of it may become a path, markup or a query.
HOSTILE = "../<img onerror=x> 'OR' \u202e.. %s {0} " + "ü" * 300


def make(store: RunStore, name: str, epochs: int = 3, status: str = "done", seed: int = 0) -> Run:
    """A run with seeded numbers for measures: a step and an epoch record for each epoch, and an end."""
    random = np.random.default_rng(seed)
    config = Config(technique="dropact", p=(0.1, 0.2), knobs={"count": "active"}, epochs=epochs, seed=seed)
    run_id = store.create(config.to_dict(), {"device": "cpu", "torch": "2"}, name=name)
    records = []
    for epoch in range(1, epochs + 1):
        seconds = {"train_seconds": 2.0 * epoch, "eval_seconds": 0.5 * epoch, "p": (0.1, 0.2), "lr": 1e-3}
        records.append(Progress("step", 10 * epoch - 5, epoch - 0.5, loss=random.random(), **seconds))
        measured = {"loss": random.random(), "val_loss": random.random(), "val_accuracy": random.random()}
        records.append(Progress("epoch", 10 * epoch, float(epoch), **measured, **seconds))
    records.append(Progress("end", 10 * epochs, float(epochs), "done", test_accuracy=0.75, train_seconds=2.0 * epochs))
    store.record(run_id, [record.to_dict() for record in records])
    store.finish(run_id, status, "A reason, for the person." if status != "done" else None)
    return store.get(run_id)


def expected(store: RunStore, run: Run, steps: bool = False) -> Series:
    """(step, value, time) of every measure, from the table itself."""
    series: Series = {}
    for row in store.metrics(run.id).to_dict("records"):
        if row["kind"] == "step" and not steps:
            continue
        values = {name: row[name] for name in NUMBERS if name != "epoch"}
        values |= {f"p/{n}": p for n, p in enumerate(row["p"], 1)}
        spent = sum(values[name] for name in ("train_seconds", "eval_seconds") if not math.isnan(values[name]))
        for name, value in values.items():
            if not math.isnan(value):
                point = (row["step"], value, run.created + spent)
                series.setdefault(f"{row['kind']}/{name}", []).append(point)
    assert any(name.startswith("step/") for name in series) == steps
    return series


def read(folder: Path) -> EventAccumulator:
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    return accumulator


def scalars(accumulator: EventAccumulator) -> Series:
    return {
        tag: [(event.step, event.value, event.wall_time) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
    }


def as_float32(series: Series) -> Series:
    """The same with the precision of an event file."""
    return {tag: [(step, float(np.float32(v)), time) for step, v, time in points] for tag, points in series.items()}


def folder_of(place: Path, run: Run) -> Path:
    (found,) = place.glob(f"*{run.id}")
    return found


@pytest.mark.parametrize("steps", [False, True])
def test_tensorboard_reads_every_record(store: RunStore, tmp_path: Path, steps: bool) -> None:
    runs = [make(store, "first"), make(store, HOSTILE, epochs=5, seed=1)]
    words = ["runs", "export", "--tensorboard", str(tmp_path / "board" / "new"), *(["--steps"] if steps else [])]
    assert command(words) == 0
    folders = [folder_of(tmp_path / "board" / "new", run) for run in runs]
    assert len({*folders}) == 2
    for run, folder in zip(runs, folders, strict=True):
        assert scalars(read(folder)) == as_float32(expected(store, run, steps))
    assert folders[0].name == f"first-{runs[0].id}"


def test_tensorboard_knows_the_settings_and_how_a_run_ended(store: RunStore, tmp_path: Path) -> None:
    done, failed = make(store, "done"), make(store, "failed", status="failed")
    assert len([*to_tensorboard(store, [done, failed], tmp_path)]) == 2
    for run, status in ((done, "STATUS_SUCCESS"), (failed, "STATUS_FAILURE")):
        content = read(folder_of(tmp_path, run)).PluginTagToContent("hparams")
        start = HParamsPluginData.FromString(content["_hparams_/session_start_info"]).session_start_info
        end = HParamsPluginData.FromString(content["_hparams_/session_end_info"]).session_end_info
        assert start.hparams["technique"].string_value == "dropact"
        assert start.hparams["knobs.count"].string_value == "active"
        assert start.hparams["p"].string_value == "0.1 0.2"
        assert start.hparams["lr"].number_value == Config().lr
        assert start.hparams["device"].string_value == "auto"
        assert start.hparams["snapshots"].bool_value is False
        assert "early_stop" not in start.hparams
        assert end.DESCRIPTOR.fields_by_name["status"].enum_type.values_by_number[end.status].name == status


def test_a_second_export_replaces_the_first_also_for_an_open_tensorboard(store: RunStore, tmp_path: Path) -> None:
    run = make(store, "before")
    assert [*to_tensorboard(store, [run], tmp_path)] == [(run, 4)]
    opened = read(tmp_path / f"before-{run.id}")
    foreign = tmp_path / f"before-{run.id}" / "notes.txt"
    foreign.write_text("mine")

    more = Progress("epoch", 40, 4.0, loss=0.5, p=(0.3, 0.3))
    store.record(run.id, [more.to_dict()])
    assert [count for _, count in to_tensorboard(store, [run], tmp_path)] == [5]
    opened.Reload()
    assert scalars(opened) == scalars(read(tmp_path / f"before-{run.id}")) == as_float32(expected(store, run))

    assert [count for _, count in to_tensorboard(store, [run], tmp_path)] == [5]
    opened.Reload()
    assert scalars(opened) == as_float32(expected(store, run))
    assert len([*foreign.parent.iterdir()]) == 3

    store.rename(run.id, "after")
    assert [count for _, count in to_tensorboard(store, [store.get(run.id)], tmp_path)] == [5]
    assert scalars(read(tmp_path / f"after-{run.id}")) == as_float32(expected(store, run))
    assert [*tmp_path.glob("before-*/*")] == [foreign]


def test_runs_are_chosen_and_told_in_json(store: RunStore, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen, _ = make(store, "chosen"), make(store, "other")
    assert command(["runs", "export", chosen.id, "--tensorboard", str(tmp_path / "a"), "--json"]) == 0
    place = str(tmp_path / "a")
    assert capsys.readouterr().out == f'{{"tensorboard": "{place}", "run": "{chosen.id}", "records": 4}}\n'
    assert len([*(tmp_path / "a").iterdir()]) == 1
    assert command(["runs", "export", "--tensorboard", place]) == 0
    assert capsys.readouterr() == ("", f"Wrote 8 records of 2 runs to {place}.\n")


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["--csv", "-", "--tensorboard", "a"], 2, "Choose one of --csv, --tensorboard and --mlflow."),
        (["--experiment", "a"], 2, "--experiment goes with --mlflow."),
        (["--mlflow", "databricks"], 1, "An MLflow server is named as in http://127.0.0.1:5000, not 'databricks'."),
    ],
)
def test_what_cannot_be_meant_is_said(
    store: RunStore, capsys: pytest.CaptureFixture[str], words: list[str], code: int, sentence: str
) -> None:
    make(store, "any")
    assert command(["runs", "export", *words]) == code
    assert capsys.readouterr().err == f"Error: {sentence}\n"


def test_a_file_is_no_folder_for_tensorboard(store: RunStore, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.raises(TrackerError, match="is a file: name a folder"):
        next(to_tensorboard(store, [make(store, "any")], file))
    assert file.read_text() == "kept"


@pytest.mark.parametrize(
    ("option", "place", "module", "package"),
    [
        ("--tensorboard", "board", "tensorboard.summary.writer.record_writer", "tensorboard"),
        ("--mlflow", "http://127.0.0.1:1", "mlflow", "mlflow-skinny"),
    ],
)
def test_a_missing_package_is_named(
    store: RunStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    option: str,
    place: str,
    module: str,
    package: str,
) -> None:
    make(store, "any")
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.chdir(tmp_path)
    assert command(["runs", "export", option, place]) == 1
    assert f"run `pip install {package}` where Dropscope is" in capsys.readouterr().err


def test_a_server_that_does_not_answer_is_named_without_its_password(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    run = make(store, "any")
    assert command(["runs", "export", "--mlflow", "http://me:secret@127.0.0.1:1"]) == 1
    said = capsys.readouterr().err
    assert said == f"Error: The MLflow server http://127.0.0.1:1 did not take run {run.id}: it does not answer.\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow")) as address:
        yield address


def on_server(client: MlflowClient, experiment: str) -> dict[str, Sent]:
    """The runs of an experiment by the id that Dropscope gave them."""
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    runs = client.search_runs([found.experiment_id])
    by_id = {run.data.tags["dropscope.run"]: run for run in runs}
    assert len(by_id) == len(runs)
    return by_id


def history(client: MlflowClient, sent: Sent) -> Series:
    return {
        name: [(m.step, m.value, m.timestamp / 1000) for m in client.get_metric_history(sent.info.run_id, name)]
        for name in sent.data.metrics
    }


def to_milliseconds(series: Series) -> Series:
    return {name: [(step, v, round(time * 1000) / 1000) for step, v, time in points] for name, points in series.items()}


@pytest.mark.slow
def test_a_real_mlflow_server_holds_every_record(
    store: RunStore, server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    client: Any = MlflowClient(tracking_uri=server)
    done, failed = make(store, HOSTILE, epochs=120), make(store, "failed", status="failed", seed=1)
    words = ["runs", "export", "--mlflow", server, "--experiment", HOSTILE[:200], "--steps"]
    assert command(words) == 0
    sent = on_server(client, HOSTILE[:200])
    assert sent.keys() == {done.id, failed.id}
    for run, status in ((done, "FINISHED"), (failed, "FAILED")):
        assert history(client, sent[run.id]) == to_milliseconds(expected(store, run, steps=True))
        assert (sent[run.id].info.status, sent[run.id].info.run_name) == (status, run.name)
        assert sent[run.id].data.params["knobs.count"] == "active"
        assert sent[run.id].data.params["p"] == "0.1 0.2"
    assert sent[failed.id].data.tags["dropscope.reason"] == "A reason, for the person."

    # What is there stays as it is; what has changed is there once, as it is now.
    store.rename(failed.id, "renamed")
    capsys.readouterr()
    assert command(words) == 0
    assert "of 1 run to" in (said := capsys.readouterr().err)
    assert "nothing new of 1 run" in said
    again = on_server(client, HOSTILE[:200])
    assert again[done.id].info.run_id == sent[done.id].info.run_id
    assert again[failed.id].info.run_name == "renamed"
    assert history(client, again[failed.id]) == to_milliseconds(expected(store, failed, steps=True))


@pytest.mark.slow
def test_a_deleted_experiment_is_not_written_to(store: RunStore, server: str) -> None:
    client: Any = MlflowClient(tracking_uri=server)
    client.delete_experiment(client.create_experiment("gone"))
    make(store, "any")
    assert command(["runs", "export", "--mlflow", server, "--experiment", "gone"]) == 1
    assert command(["runs", "export", "--mlflow", server]) == 0
    assert len(on_server(client, "Dropscope")) == 1
