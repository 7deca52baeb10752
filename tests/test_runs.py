"""The run store: what is written is read again, whoever else reads and writes, and what goes wrong is said."""

import errno
import itertools
import json
import math
import multiprocessing
import shutil
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from core.runs import Owner, RunStore, StoreError, SupersededError, UnknownRunError, weights
from core.runs.measures import COLUMNS
from core.runs.schema import MIGRATIONS, new_id
from core.training import Config, Progress

CONFIG = Config(technique="dropcorr").to_dict()


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "home", timeout=30.0)


def epoch(step: int, **values: Any) -> dict[str, Any]:
    return Progress(kind="epoch", step=step, epoch=step / 10, p=(0.2, 0.3), lr=5e-4, **values).to_dict()


def owner(pid: int = 1) -> Owner:
    return Owner("here", pid, 12.5)


def database(store: RunStore) -> Path:
    return store.home / "runs.sqlite"


def test_a_run_is_read_as_it_was_created(store: RunStore) -> None:
    run_id = store.create(CONFIG, {"device": "cpu"})
    run = store.get(run_id)
    assert (run.id, run.status, run.reason, run.requested) == (run_id, "queued", None, "run")
    assert Config.from_dict(run.config) == Config(technique="dropcorr")
    assert run.environment == {"device": "cpu"}
    assert run.name == "digits · dropcorr · seed 0"
    assert (run.owner, run.attempt, run.final, run.latest) == (None, 0, {}, {})


def test_a_run_is_named_after_its_folder_of_images_or_by_the_person(store: RunStore) -> None:
    assert (
        store.get(store.create(CONFIG | {"dataset": "/a/b/cats and dogs/"})).name == "cats and dogs · dropcorr · seed 0"
    )
    assert store.get(store.create(CONFIG, name="mine")).name == "mine"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("two\nlines\r\tand a tab", "two lines  and a tab"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07end", "red end"),
        ("a\x1b]2;t\x1b\\b \x9b\u2028\u202ec", "ab   c"),
        ("half \ud800", "half"),
        ("größer · 👩\u200d🔬", "größer · 👩\u200d🔬"),
        ("\n\x1b[2J", "digits · dropcorr · seed 3"),
    ],
)
def test_a_name_stays_on_its_line(store: RunStore, given: str, kept: str) -> None:
    config = CONFIG | {"dataset": "digits", "technique": "dropcorr", "seed": 3}
    assert store.get(store.create(config, name=given)).name == kept
    assert store.get(store.create(config | {"dataset": "/a\nb"})).name == "a b · dropcorr · seed 3"


def test_ids_sort_as_they_were_made_and_are_safe_as_folders() -> None:
    ids = [new_id(1.8e9 + second / 100) for second in range(500)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 500
    assert all(len(text) == 10 and text.isalnum() and text.islower() for text in ids)


def test_nothing_is_created_by_reading(store: RunStore) -> None:
    assert store.list() == []
    assert list(store.metrics([]).columns) == ["run", "seq", "kind", "step", *COLUMNS]
    with pytest.raises(UnknownRunError, match="There is no run 'abc': `python -m core runs` lists those there are"):
        store.get("abc")
    assert not store.home.exists()


def test_the_newest_run_is_listed_first_and_lists_can_be_narrowed(store: RunStore) -> None:
    ids = [store.create(CONFIG) for _ in range(3)]
    store.set_status(ids[1], "failed", "why")
    assert [run.id for run in store.list()] == ids[::-1]
    assert [run.id for run in store.list(status=["failed", "done"])] == [ids[1]]
    assert [run.id for run in store.list(ids=[ids[0], "unknown", ids[2]])] == [ids[2], ids[0]]
    assert store.get(ids[1]).reason == "why"


def test_a_run_is_found_by_the_beginning_of_its_id(store: RunStore) -> None:
    one, two = store.create(CONFIG), store.create(CONFIG)
    common = "".join(a for place, a in enumerate(one) if two.startswith(one[: place + 1]))
    assert store.find(one).id == one
    assert store.find(two[: len(common) + 1]).id == two
    with pytest.raises(UnknownRunError, match="beginning of several runs"):
        store.find(common)
    for text in ("", "%", "zz"):
        with pytest.raises(UnknownRunError, match="There is no run"):
            store.find(text)


@pytest.mark.parametrize("text", ["", "..", "../../etc", "a/b", "A"])
def test_no_id_leads_out_of_the_folder(store: RunStore, text: str) -> None:
    with pytest.raises(UnknownRunError, match="There is no run"):
        store.folder(text)


def test_every_measure_of_a_record_is_kept(store: RunStore) -> None:
    numbers = [
        field.name
        for field in fields(Progress)
        if field.name not in ("kind", "step", "status", "reason", "p", "layers")
    ]
    assert {*numbers, "p"} == set(COLUMNS)
    values = {name: 0.1 * place for place, name in enumerate(numbers, 1)}
    run_id = store.create(CONFIG)
    store.record(run_id, [Progress(kind="epoch", step=7, p=(0.25, 0.5), **values).to_dict()])
    row = store.metrics(run_id).iloc[0]
    assert (row["run"], row["kind"], row["step"], row["p"]) == (run_id, "epoch", 7, (0.25, 0.5))
    assert {name: row[name] for name in numbers} == values


def test_what_was_not_measured_is_missing_and_what_is_not_finite_does_not_break(store: RunStore) -> None:
    run_id = store.create(CONFIG)
    store.record(run_id, [epoch(1, loss=math.nan, val_loss=math.inf, val_accuracy=0.5)])
    row = store.metrics(run_id).iloc[0]
    assert math.isnan(row["loss"])
    assert math.isnan(row["test_accuracy"])
    assert row["val_loss"] == math.inf
    assert store.get(run_id).latest["loss"] is None


def test_latest_keeps_the_newest_value_of_every_measure(store: RunStore) -> None:
    run_id = store.create(CONFIG)
    store.record(run_id, [epoch(10, loss=2.0, val_accuracy=0.5)])
    store.record(run_id, [Progress(kind="step", step=12, epoch=1.2, loss=1.5).to_dict()])
    latest = store.get(run_id).latest
    assert (latest["loss"], latest["val_accuracy"], latest["step"]) == (1.5, 0.5, 12)


def test_the_same_record_again_replaces_the_first(store: RunStore) -> None:
    run_id = store.create(CONFIG)
    store.record(run_id, [epoch(10, loss=2.0), epoch(20, loss=1.0)])
    store.record(run_id, [epoch(20, loss=0.9)])
    assert list(store.metrics(run_id)["loss"]) == [2.0, 0.9]


def test_the_epoch_stands_before_the_end_at_the_same_step(store: RunStore) -> None:
    run_id = store.create(CONFIG)
    store.record(run_id, [epoch(10), Progress(kind="end", step=10, epoch=1.0).to_dict()])
    assert list(store.metrics(run_id)["kind"]) == ["epoch", "end"]
    assert list(store.metrics(run_id, kind="end")["kind"]) == ["end"]


def test_rows_that_are_new_are_those_of_the_table(store: RunStore) -> None:
    ids = [store.create(CONFIG) for _ in range(3)]
    for run_id in ids[:2]:
        store.record(run_id, [epoch(20, loss=0.5), epoch(10, val_loss=0.25)])
    later = store.get(ids[1]).seq
    store.record(ids[0], [epoch(30, loss=0.125)])
    for since in (0, later):
        table = store.metrics(ids, columns=("loss", "val_loss"), since=since)
        expected: dict[str, list[tuple[Any, ...]]] = {}
        for row in table.to_dict("records"):
            told = (row[name] for name in ("seq", "kind", "step", "loss", "val_loss"))
            expected.setdefault(row["run"], []).append(tuple(None if value != value else value for value in told))
        assert store.newer(ids, ("loss", "val_loss"), since) == expected
    assert store.newer(ids[1:], ("loss",), later) == {}


def test_metrics_stand_in_the_order_asked_for_with_the_columns_asked_for(store: RunStore) -> None:
    one, two = store.create(CONFIG), store.create(CONFIG)
    for step in (1, 2):
        store.record(one, [epoch(step, loss=step)])
        store.record(two, [epoch(step, loss=10 * step)])
    table = store.metrics([two, one], columns=["loss"])
    assert list(table.columns) == ["run", "seq", "kind", "step", "loss"]
    assert list(table["run"]) == [two, two, one, one]
    assert list(table["loss"]) == [10, 20, 1, 2]
    with pytest.raises(ValueError, match="no such measure: los"):
        store.metrics(one, columns=["los"])
    with pytest.raises(UnknownRunError):
        store.metrics([one, "abc"])


def test_a_reader_that_remembers_seq_gets_only_what_is_new(store: RunStore) -> None:
    one, two = store.create(CONFIG), store.create(CONFIG)
    store.record(one, [epoch(1), epoch(2)])
    seen = int(store.metrics([one, two])["seq"].max())
    assert seen == store.get(one).seq
    store.record(two, [epoch(1)])
    store.rewind(one, 1)
    store.record(one, [epoch(2, loss=0.5)])
    table = store.metrics([one, two], since=seen)
    assert [(row.run, row.step) for row in table.itertuples()] == [(one, 2), (two, 1)]


def test_rewinding_forgets_what_lies_after_but_no_epoch(store: RunStore) -> None:
    run_id = store.create(CONFIG)
    steps = [Progress(kind="step", step=step, epoch=step / 10).to_dict() for step in (1, 2, 3)]
    end = Progress(kind="end", step=4, epoch=0.4).to_dict()
    store.record(run_id, [*steps, epoch(2), epoch(4), end])
    store.rewind(run_id, 2)
    assert [(row.kind, row.step) for row in store.metrics(run_id).itertuples()] == [
        ("step", 1),
        ("step", 2),
        ("epoch", 2),
        ("epoch", 4),
    ]


def test_requests_and_ends_are_kept(store: RunStore) -> None:
    run_id = store.create(CONFIG)
    store.request(run_id, "pause")
    asked = store.get(run_id).requested_at
    store.request(run_id, "pause")
    assert (store.requested(run_id), store.get(run_id).requested_at) == ("pause", asked)
    store.finish(run_id, "done", None, {"test_accuracy": 0.9})
    run = store.get(run_id)
    assert (run.status, run.final, run.ended) == ("done", {"test_accuracy": 0.9}, True)
    for wrong in (lambda: store.request(run_id, "go"), lambda: store.finish(run_id, "running")):
        with pytest.raises(ValueError, match="is not one of"):
            wrong()


def test_deleting_takes_the_files_too(store: RunStore) -> None:
    gone, kept = store.create(CONFIG), store.create(CONFIG)
    store.record(gone, [epoch(1)])
    store.save_weights(gone, {"w": torch.ones(2)}, CONFIG)
    store.delete(gone)
    assert [run.id for run in store.list()] == [kept]
    assert not store.folder(gone).exists()
    with sqlite3.connect(database(store)) as db:
        assert db.execute("SELECT count(*) FROM metrics").fetchone() == (0,)


def test_a_run_at_work_is_not_deleted_nor_any_with_it(store: RunStore) -> None:
    ended, running = store.create(CONFIG), store.create(CONFIG, owner=owner())
    with pytest.raises(StoreError, match=r"is still running: stop it before you delete it\.$"):
        store.delete([ended, running])
    with pytest.raises(UnknownRunError):
        store.delete([ended, "abc"])
    assert len(store.list()) == 2


def test_what_was_deleted_can_be_brought_back_with_all_that_belongs_to_it(store: RunStore) -> None:
    gone, kept = store.create(CONFIG), store.create(CONFIG)
    store.record(gone, [epoch(1)])
    store.save_weights(gone, {"w": torch.ones(2)}, CONFIG)
    store.finish(gone, "done")
    before = store.get(gone)
    store.set_aside(gone)
    assert [run.id for run in store.list()] == [kept]
    assert store.list(ids=[gone]) == []
    with pytest.raises(UnknownRunError):
        store.find(gone)
    assert [run.id for run in store.aside()] == [gone]
    store.purge(3600)
    store.bring_back([gone, "zzz"])
    assert store.find(gone) == before
    assert store.aside() == []
    assert len(store.metrics(gone)) == 1
    assert store.load_weights(gone)["w"].tolist() == [1.0, 1.0]


def test_what_was_deleted_is_gone_for_good_when_its_time_is_up(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    runs = [store.create(CONFIG) for _ in range(3)]
    for run_id in runs:
        store.save_weights(run_id, {"w": torch.ones(2)}, CONFIG)
        store.finish(run_id, "done")
    for run_id, ago in ((runs[0], 100.0), (runs[1], 50.0)):
        monkeypatch.setattr(time, "time", lambda ago=ago: now - ago)
        store.set_aside(run_id)
        store.set_aside(run_id)
    monkeypatch.setattr(time, "time", lambda: now)
    store.purge(60)
    assert [run.id for run in store.aside()] == [runs[1]]
    assert [store.folder(run_id).exists() for run_id in runs] == [False, True, True]
    store.purge(0)
    assert store.aside() == []
    assert [run.id for run in store.list()] == [runs[2]]


def test_of_runs_that_have_not_all_ended_none_is_set_aside(store: RunStore) -> None:
    ended, waiting = store.create(CONFIG), store.create(CONFIG)
    store.finish(ended, "done")
    with pytest.raises(StoreError, match=r"is still queued: stop it before you delete it\.$"):
        store.set_aside([ended, waiting])
    with pytest.raises(UnknownRunError):
        store.set_aside([ended, "abc"])
    assert len(store.list()) == 2


def test_letting_go_of_nothing_writes_nothing(store: RunStore) -> None:
    store.purge(0)
    assert not store.home.exists()


def test_a_store_of_the_first_schema_is_brought_up_to_date_with_its_runs(store: RunStore) -> None:
    store.home.mkdir()
    with sqlite3.connect(database(store)) as db:
        for statement in MIGRATIONS[0]:
            db.execute(statement)
        db.execute("PRAGMA user_version = 1")
        db.execute(
            "INSERT INTO runs (id, name, created, queued_at, status, config, environment) "
            "VALUES ('abc', 'old', 1, 1, 'done', '{}', '{}')"
        )
    db.close()
    (run,) = store.list()
    assert (run.id, run.name, run.deleted) == ("abc", "old", None)
    store.set_aside("abc")
    store.bring_back(["abc"])
    assert store.find("abc").status == "done"


def test_older_runs_keep_the_drop_count_that_they_were_made_with(store: RunStore) -> None:
    """Before the fifth schema DropAct and DropInv counted k over all units where nothing was said."""
    store.home.mkdir()
    told = {"a": ("dropact", {}), "b": ("dropinv", {"count": "active"}), "c": ("dropcorr", {}), "d": ("dropinv", {})}
    with sqlite3.connect(database(store)) as db:
        for statement in itertools.chain(*MIGRATIONS[:4]):
            db.execute(statement)
        db.execute("PRAGMA user_version = 4")
        for name, (technique, knobs) in told.items():
            config = json.dumps(Config(technique=technique, knobs=knobs).to_dict())
            db.execute(
                "INSERT INTO runs (id, name, created, queued_at, status, config, environment) "
                "VALUES (?, ?, 1, 1, 'done', ?, '{}')", (name, name, config),
            )  # fmt: skip
    db.close()
    assert {run.id: run.config["knobs"] for run in store.list()} == {
        "a": {"count": "layer"}, "b": {"count": "active"}, "c": {}, "d": {"count": "layer"}
    }  # fmt: skip


def test_claims_go_in_order_up_to_the_limit_and_fill_free_slots(store: RunStore) -> None:
    ids = [store.create(CONFIG) for _ in range(4)]
    first, second = store.claim(owner(), 2), store.claim(owner(), 2)
    assert first is not None
    assert second is not None
    assert [(run.id, run.slot, run.attempt, run.status) for run in (first, second)] == [
        (ids[0], 0, 1, "running"),
        (ids[1], 1, 1, "running"),
    ]
    assert store.claim(owner(), 2) is None
    store.finish(ids[0], "done")
    third = store.claim(owner(), 2)
    assert third is not None
    assert (third.id, third.slot, third.owner) == (ids[2], 0, owner())


def test_a_paused_run_has_its_place_back_before_a_new_one(store: RunStore) -> None:
    paused, queued = store.create(CONFIG, owner=owner()), store.create(CONFIG)
    store.set_status(paused, "paused")
    store.request(paused, "pause")
    claimed = store.claim(owner(2), 1)
    assert claimed is not None
    assert claimed.id == queued
    assert not store.proceed(paused, 1, attempt=1)
    store.finish(queued, "done")
    store.create(CONFIG)
    store.request(paused, "run")
    assert store.claim(owner(2), 1) is None
    assert store.proceed(paused, 1, attempt=1)
    assert store.get(paused).status == "running"


def test_a_process_that_lost_its_run_can_write_nothing_more(store: RunStore) -> None:
    run_id = store.create(CONFIG, owner=owner())
    store.change(run_id, lambda run: {"attempt": run.attempt + 1, "owner": owner(2)})
    for write in (
        lambda: store.record(run_id, [epoch(1)], attempt=1),
        lambda: store.finish(run_id, "done", attempt=1),
        lambda: store.set_status(run_id, "paused", attempt=1),
        lambda: store.rewind(run_id, 0, attempt=1),
        lambda: store.proceed(run_id, None, attempt=1),
        lambda: store.requested(run_id, attempt=1),
    ):
        with pytest.raises(SupersededError, match="was taken over by another process"):
            write()
    assert store.get(run_id).status == "running"
    assert store.metrics(run_id).empty


def test_weights_come_back_with_their_config(store: RunStore) -> None:
    shared = torch.arange(6.0).reshape(2, 3)
    state = {"a": shared, "b": shared.T, "n": torch.tensor(3)}
    run_id = store.create(CONFIG)
    store.save_weights(run_id, state, CONFIG)
    loaded = store.load_weights(run_id)
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)
    config = weights.load_weights(store.folder(run_id) / "weights.safetensors")[1]
    assert Config.from_dict(config) == Config(technique="dropcorr")


def test_the_state_comes_back_without_running_anything(store: RunStore) -> None:
    run_id = store.create(CONFIG)
    assert store.load_state(run_id) is None
    state = {"model": {"w": torch.ones(2)}, "step": 3, "records": [epoch(3)], "none": None}
    store.save_state(run_id, state)
    loaded = store.load_state(run_id)
    assert loaded is not None
    assert torch.equal(loaded["model"]["w"], torch.ones(2))
    assert loaded["records"] == [epoch(3)]
    store.drop_state(run_id)
    assert not store.has_state(run_id)


def test_damaged_and_missing_files_are_named(store: RunStore) -> None:
    run_id = store.create(CONFIG)
    with pytest.raises(StoreError, match=r"There are no weights at .*weights\.safetensors"):
        store.load_weights(run_id)
    store.folder(run_id).mkdir(parents=True)
    for name, load in (("weights.safetensors", store.load_weights), ("state.pt", store.load_state)):
        (store.folder(run_id) / name).write_bytes(b"half a file")
        with pytest.raises(StoreError, match=f"{name} (are|is) damaged"):
            load(run_id)
    torch.save([1, 2], store.folder(run_id) / "state.pt")
    with pytest.raises(StoreError, match=r"state\.pt is damaged: remove it to start the run again"):
        store.load_state(run_id)


def test_a_temporary_file_left_by_a_killed_process_goes_away(store: RunStore) -> None:
    run_id = store.create(CONFIG)
    store.save_state(run_id, {"step": 1})
    (store.folder(run_id) / ".state.pt.99999.tmp").write_bytes(b"half")
    store.save_state(run_id, {"step": 2})
    assert [path.name for path in store.folder(run_id).iterdir()] == ["state.pt"]


@pytest.mark.parametrize("stage", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_weights_whole(store: RunStore, stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = store.create(CONFIG)
    store.save_weights(run_id, {"w": torch.ones(3)}, CONFIG)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if stage == "write":
        monkeypatch.setattr(weights, "_write_synced", _half_written)
    else:
        monkeypatch.setattr(weights.os, stage, refuse)
    with pytest.raises(
        StoreError, match=r"The disk is full, .*: free some space and try again; what it held is whole\.$"
    ):
        store.save_weights(run_id, {"w": torch.zeros(3)}, CONFIG)
    monkeypatch.undo()
    assert torch.equal(store.load_weights(run_id)["w"], torch.ones(3))
    assert [path.name for path in store.folder(run_id).iterdir()] == ["weights.safetensors"]


def _half_written(path: Path, content: bytes) -> None:
    path.write_bytes(content[: len(content) // 2])
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("only who may mount a file system can test a really full or read-only one")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_weights_on_a_disk_that_is_really_full(small_disk: Path) -> None:
    store = RunStore(small_disk)
    run_id = store.create(CONFIG)
    store.save_weights(run_id, {"w": torch.ones(1000)}, CONFIG)
    with pytest.raises(StoreError, match="The disk is full"):
        store.save_weights(run_id, {"w": torch.zeros(1_000_000)}, CONFIG)
    assert torch.equal(store.load_weights(run_id)["w"], torch.ones(1000))
    assert [path.name for path in store.folder(run_id).iterdir()] == ["weights.safetensors"]
    store.close()


def test_a_store_on_a_disk_that_is_really_full_keeps_what_it_held(small_disk: Path) -> None:
    store = RunStore(small_disk)
    run_id = store.create(CONFIG)

    def fill() -> None:
        for step in range(0, 100_000, 100):
            store.record(run_id, [epoch(step + offset, loss=0.1) for offset in range(100)])

    with pytest.raises(StoreError, match="The disk is full"):
        fill()
    whole = len(store.metrics(run_id))
    assert whole
    assert whole % 100 == 0
    store.close()


def test_a_read_only_disk_is_said(small_disk: Path) -> None:
    writer = RunStore(small_disk)
    run_id = writer.create(CONFIG)
    writer.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    store = RunStore(small_disk)
    for write in (lambda: store.create(CONFIG), lambda: store.save_weights(run_id, {}, CONFIG)):
        with pytest.raises(StoreError, match=r"cannot be written \(read-only\): make it and its folder writable"):
            write()
    assert [run.id for run in store.list()] == [run_id], "reading needs no right to write"
    store.close()


def test_a_read_only_file_is_said(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create(CONFIG)
    store.close()
    connect = sqlite3.connect

    def read_only(path: Path, **options: Any) -> sqlite3.Connection:
        return connect(f"file:{path}?mode=ro", uri=True, **options)

    monkeypatch.setattr(sqlite3, "connect", read_only)
    with pytest.raises(StoreError, match=r"runs\.sqlite cannot be written \(read-only\)"):
        store.create(CONFIG)
    assert len(store.list()) == 1


def _closed_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite as it is where nothing may be written beside the file: only what is told to be unchanging opens."""
    connect = sqlite3.connect

    def refuse(path: object, **options: Any) -> sqlite3.Connection:
        if str(path).endswith("?mode=ro&immutable=1"):
            return connect(str(path), **options)
        error = sqlite3.OperationalError("unable to open database file")
        error.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
        raise error

    monkeypatch.setattr(sqlite3, "connect", refuse)


def test_a_store_in_a_folder_that_is_read_only_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RunStore(tmp_path / "a home? 100 %#1")
    run_id = store.create(CONFIG)
    store.record(run_id, [epoch(1, loss=0.5)])
    store.close()
    _closed_folder(monkeypatch)
    assert [run.id for run in store.list()] == [run_id]
    assert len(store.metrics(run_id)) == 1
    with pytest.raises(StoreError, match=r"runs\.sqlite cannot be written \(read-only\)"):
        store.request(run_id, "stop")
    monkeypatch.undo()
    store.request(run_id, "stop")
    assert store.requested(run_id) == "stop", "what was opened as unchanging is not kept"


def test_a_log_that_cannot_be_read_in_is_never_passed_over(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create(CONFIG)
    assert database(store).with_name("runs.sqlite-wal").exists()
    _closed_folder(monkeypatch)
    other = RunStore(store.home)
    with pytest.raises(StoreError, match=r"runs\.sqlite cannot be written \(read-only\)"):
        other.list()


def test_a_lock_that_is_held_too_long_is_said(store: RunStore) -> None:
    run_id = store.create(CONFIG)
    other = sqlite3.connect(database(store), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    hasty = RunStore(store.home, timeout=0.1)
    with pytest.raises(StoreError, match=r"is locked: another program has held its write lock for more than 0\.1 s"):
        hasty.request(run_id, "stop")
    assert hasty.requested(run_id) == "run", "reading waits for nobody"
    other.execute("ROLLBACK")
    other.close()
    hasty.request(run_id, "stop")
    assert hasty.requested(run_id) == "stop"


def test_a_newer_schema_is_left_alone(store: RunStore) -> None:
    store.create(CONFIG)
    store.close()
    newer = len(MIGRATIONS) + 6
    with sqlite3.connect(database(store)) as db:
        db.execute(f"PRAGMA user_version = {newer}")
    db.close()
    before = database(store).read_bytes()
    for use in (store.list, lambda: store.create(CONFIG)):
        with pytest.raises(StoreError, match=rf"newer Dropscope \(schema {newer}, this one knows {len(MIGRATIONS)}\)"):
            use()
    assert database(store).read_bytes() == before


def test_a_database_of_another_program_is_left_alone(store: RunStore) -> None:
    store.home.mkdir()
    with sqlite3.connect(database(store)) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    before = database(store).read_bytes()
    for use in (store.list, lambda: store.create(CONFIG)):
        with pytest.raises(StoreError, match="database of another program"):
            use()
    assert database(store).read_bytes() == before


def test_a_home_that_is_a_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="could not be read or written"):
        RunStore(tmp_path / "file" / "home").create(CONFIG)


def test_the_default_home_is_found_and_its_trouble_said(dropscope_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert RunStore().home == dropscope_home
    (dropscope_home / "file").write_text("x")
    monkeypatch.setenv("DROPSCOPE_HOME", str(dropscope_home / "file" / "inside"))
    with pytest.raises(StoreError, match=r"cannot be made .* set DROPSCOPE_HOME"):
        RunStore()


def test_durability_is_as_promised(store: RunStore) -> None:
    store.create(CONFIG)
    with store._database.read() as db:
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert db.execute("PRAGMA synchronous").fetchone()[0] == 2


def test_an_error_inside_a_change_changes_nothing(store: RunStore) -> None:
    run_id = store.create(CONFIG)

    def refuse(_: object) -> dict[str, Any]:
        raise StoreError("no")

    with pytest.raises(StoreError, match="no"):
        store.change(run_id, refuse)
    with pytest.raises(KeyError):
        store.record(run_id, [epoch(1), {"kind": "epoch"}])
    assert store.metrics(run_id).empty
    assert store.get(run_id).status == "queued"


def test_curves_are_read_by_index(store: RunStore) -> None:
    run_id = store.create(CONFIG)
    with store._database.read() as db:
        for condition in ("kind = 'epoch'", "seq > 5"):
            plan = db.execute(
                "EXPLAIN QUERY PLAN SELECT loss FROM metrics "
                f"WHERE run IN (SELECT value FROM json_each(?)) AND {condition}",
                (json.dumps([run_id]),),
            ).fetchall()
            assert plan[0]["detail"].startswith("SEARCH metrics USING"), [row["detail"] for row in plan]


def _write_runs(home: Path, start: Any) -> None:
    store = RunStore(home, timeout=60.0)
    start.wait()
    run_id = store.create(CONFIG)
    for step in range(20):
        store.record(run_id, [epoch(step)])


def test_several_processes_begin_a_store_and_write_to_it_at_once(store: RunStore) -> None:
    context = multiprocessing.get_context("fork")
    start = context.Barrier(5)
    writers = [context.Process(target=_write_runs, args=(store.home, start)) for _ in range(4)]
    for writer in writers:
        writer.start()
    start.wait()
    for writer in writers:
        writer.join(120)
    assert [writer.exitcode for writer in writers] == [0] * 4
    ids = [run.id for run in store.list()]
    table = store.metrics(ids)
    assert len(ids) == 4
    assert len(table) == 80
    assert table["seq"].is_unique


def test_threads_have_connections_of_their_own(store: RunStore) -> None:
    ids: list[str] = []
    threads = [threading.Thread(target=lambda: ids.append(store.create(CONFIG))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {run.id for run in store.list()} == set(ids)
    assert len(ids) == 8
