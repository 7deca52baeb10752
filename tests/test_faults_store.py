"""The run store when the disk, other programs or other people get in its way; with real files, locks and processes."""

import multiprocessing
import os
import signal
import sqlite3
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

from core.jobs import worker
from core.runs import RunStore, StoreError, damage
from core.training import Config, Progress, Trainer
from tests.waiting import wait_for

CONFIG = Config(technique="dropcorr").to_dict()
ROUTER = Path(__file__).parent.parent / "app" / "router.py"
fork = multiprocessing.get_context("fork")


def epoch(step: int) -> dict[str, Any]:
    return Progress(kind="epoch", step=step, epoch=float(step), loss=1 / step, p=(0.5,)).to_dict()


def filled(home: Path, runs: int = 30) -> RunStore:
    store = RunStore(home)
    for _ in range(runs):
        run_id = store.create(CONFIG)
        store.record(run_id, [epoch(step) for step in range(1, 51)])
    return store


def overwrite(path: Path, change: Callable[[bytes], bytes]) -> bytes:
    """What ``path`` holds after ``change``, in the same file."""
    content = change(path.read_bytes())
    with path.open("r+b") as file:
        file.write(content)
        file.truncate()
    return content


DAMAGE = {
    "no database": lambda content: b"this is no database, not even nearly" * 50,
    "head overwritten": lambda content: b"x" * 100 + content[100:],
    "zeros": lambda content: bytes(len(content)),
    "cut short": lambda content: content[: len(content) // 2],
    "pages overwritten": lambda content: content[:8192] + b"\xa5" * 16384 + content[24576:],
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_store_is_set_aside_and_told_and_a_new_one_begins(kind: str, tmp_path: Path) -> None:
    store = filled(tmp_path)
    store.close()
    file = tmp_path / "runs.sqlite"
    damaged = overwrite(file, DAMAGE[kind])
    with pytest.raises(StoreError, match=r"runs\.sqlite was damaged: it is kept as runs\.sqlite\.damaged-") as told:
        store.metrics([run.id for run in store.list()])
    (kept,) = [path for path in tmp_path.glob("runs.sqlite.damaged-*") if not path.name.endswith(("-wal", "-shm"))]
    assert kept.name in str(told.value)
    assert kept.read_bytes() == damaged
    assert store.list() == []
    run_id = store.create(CONFIG)
    assert [run.id for run in RunStore(tmp_path).list()] == [run_id]
    assert store.damage() == str(told.value), "told for as long as the file lies there"
    kept.rename(tmp_path / "elsewhere")
    assert store.damage() is None


@pytest.mark.parametrize("page", ["train", "compare"])
def test_every_page_tells_of_a_damaged_store_and_works_with_the_new_one(page: str, dropscope_home: Path) -> None:
    filled(dropscope_home, 2).close()
    overwrite(dropscope_home / "runs.sqlite", DAMAGE["zeros"])
    app = AppTest.from_file(str(ROUTER), default_timeout=60)
    app.switch_page(f"app_pages/{page}.py")
    app.run()
    assert not app.exception
    assert ["was damaged" in error.value for error in app.error] == [True]
    app.run()
    assert not app.exception
    assert not app.error
    assert ["was damaged" in warning.value for warning in app.warning] == [True]


def _meet(home: Path, start: Any, said: Any) -> None:
    store = RunStore(home)
    told: list[str] = []
    start.wait()
    for _ in range(3):
        try:
            said.put(store.create(CONFIG))
        except StoreError as error:
            told.append(str(error))
    assert all("was damaged: it is kept as" in sentence for sentence in told)
    store.close()


def test_of_many_that_meet_the_damage_one_sets_it_aside(tmp_path: Path) -> None:
    for attempt in range(3):
        home = tmp_path / str(attempt)
        filled(home, 2).close()
        damaged = overwrite(home / "runs.sqlite", DAMAGE["zeros"])
        start, said = fork.Barrier(6), fork.Queue()
        processes = [fork.Process(target=_meet, args=(home, start, said), daemon=True) for _ in range(6)]
        for process in processes:
            process.start()
        for process in processes:
            process.join(60)
        assert [process.exitcode for process in processes] == [0] * 6
        ids = {said.get() for _ in range(said.qsize())}
        assert {run.id for run in RunStore(home).list()} == ids
        assert len(ids) >= 12
        (kept,) = home.glob("runs.sqlite.damaged-*")
        assert kept.read_bytes() == damaged


def test_what_is_set_aside_stays_as_it_was_while_another_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the opening of a file and the first look into it, another sets it aside and writes a new one."""
    filled(tmp_path).close()
    file = tmp_path / "runs.sqlite"
    damaged = overwrite(file, DAMAGE["zeros"])
    # Of a file that had no page, as it lies there while its first pages are written: undone, all of the file goes.
    journal = bytes.fromhex("d9d505f920a163d7") + struct.pack(">5I", 0, 7, 0, 512, 4096)
    opens = sqlite3.connect
    monkeypatch.setattr(damage, "PATIENCE", 0.1)

    def beaten(path: Any, *args: Any, **options: Any) -> sqlite3.Connection:
        connection = opens(path, *args, **options)
        if path == file:
            monkeypatch.setattr(sqlite3, "connect", opens)
            with suppress(sqlite3.OperationalError):
                damage.set_aside(file)
                file.touch()
                file.with_name("runs.sqlite-journal").write_bytes(journal.ljust(512, b"\0"))
        return connection

    monkeypatch.setattr(sqlite3, "connect", beaten)
    with pytest.raises(StoreError, match="was damaged: it is kept as"):
        RunStore(tmp_path).create(CONFIG)
    (kept,) = tmp_path.glob("runs.sqlite.damaged-*")
    assert kept.read_bytes() == damaged


def test_who_had_the_damaged_file_open_goes_on_with_the_new_one(tmp_path: Path) -> None:
    store = filled(tmp_path)
    ours, theirs = fork.Pipe()
    # Before the threads: a fork in the midst of another thread's work never gets its locks.
    child = fork.Process(target=_hold_and_end, args=(tmp_path, theirs), daemon=True)
    child.start()
    assert ours.recv() == 30
    ready, go = threading.Event(), threading.Event()
    seen: list[str] = []

    def idle() -> None:
        assert len(store.list()) == 30
        ready.set()
        go.wait(60)
        seen.extend(run.id for run in store.list())

    thread = threading.Thread(target=idle)
    thread.start()
    ready.wait(60)
    with store._database.read() as db:
        assert db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
    overwrite(tmp_path / "runs.sqlite", DAMAGE["pages overwritten"])
    with pytest.raises(StoreError, match="was damaged"):
        RunStore(tmp_path).metrics([run.id for run in store.list()])
    new = RunStore(tmp_path)
    ids = [new.create(CONFIG) for _ in range(3)]
    go.set()
    thread.join(60)
    assert sorted(seen) == sorted(ids), "a connection that was open follows the name"
    ours.send("end")
    child.join(60)
    assert child.exitcode == 0
    ids.append(store.create(CONFIG))
    assert (tmp_path / "runs.sqlite-wal").exists(), (
        "a connection that ends with the old file removes nothing of the new one"
    )
    assert {run.id for run in RunStore(tmp_path).list()} == {run.id for run in new.list()} == {*ids}


def _hold_and_end(home: Path, pipe: Any) -> None:
    store = RunStore(home)
    pipe.send(len(store.list()))
    pipe.recv()


def _write(home: Path, start: Any, times: int) -> None:
    store = RunStore(home)
    run_id = store.create(CONFIG)
    start.wait()
    for step in range(1, times + 1):
        store.record(run_id, [epoch(step)])
        store.request(run_id, "pause" if step % 2 else "run")
    store.close()


def test_eight_writers_and_a_long_reader_never_meet_a_lock(tmp_path: Path) -> None:
    RunStore(tmp_path).create(CONFIG)
    start = fork.Barrier(9)
    writers = [fork.Process(target=_write, args=(tmp_path, start, 60), daemon=True) for _ in range(8)]
    for writer in writers:
        writer.start()
    start.wait()
    reader = RunStore(tmp_path)
    with reader._database.read() as db:
        db.execute("BEGIN")
        before = db.execute("SELECT count(*) FROM metrics").fetchone()[0]
        looks = 0
        while any(writer.is_alive() for writer in writers):
            assert db.execute("SELECT count(*) FROM metrics").fetchone()[0] == before, "a reader sees one moment"
            assert len(RunStore(tmp_path).list()) == 9
            looks += 1
        db.execute("COMMIT")
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 8
    assert looks
    assert len(reader.metrics([run.id for run in reader.list()])) == 8 * 60


def _begin(home: Path, start: Any) -> None:
    store = RunStore(home)
    start.wait()
    assert store.list(status=["queued"]) is not None
    store.create(CONFIG)
    store.close()


def test_several_that_begin_in_an_empty_folder_at_once_find_one_store(tmp_path: Path) -> None:
    for attempt in range(4):
        home = tmp_path / str(attempt)
        start = fork.Barrier(6)
        beginners = [fork.Process(target=_begin, args=(home, start), daemon=True) for _ in range(6)]
        for beginner in beginners:
            beginner.start()
        for beginner in beginners:
            beginner.join(60)
        assert [beginner.exitcode for beginner in beginners] == [0] * 6
        assert len(RunStore(home).list()) == 6


def _stop_inside(home: Path, run_id: str) -> None:
    def freeze(_: object) -> None:
        os.kill(os.getpid(), signal.SIGSTOP)

    RunStore(home).change(run_id, freeze)


def test_who_is_stopped_while_it_writes_is_said_and_released_by_its_end(tmp_path: Path) -> None:
    store = RunStore(tmp_path, timeout=0.2)
    run_id = store.create(CONFIG)
    frozen = fork.Process(target=_stop_inside, args=(tmp_path, run_id))
    frozen.start()
    try:
        wait_for(lambda: Path(f"/proc/{frozen.pid}/stat").read_text().split()[2] == "T")
        with pytest.raises(StoreError, match="is locked: another program has held its write lock for more than"):
            store.request(run_id, "stop")
        assert store.get(run_id).requested == "run", "reading waits for nobody"
    finally:
        frozen.kill()
        frozen.join()
    store.request(run_id, "stop")
    assert store.get(run_id).requested == "stop"
    with sqlite3.connect(tmp_path / "runs.sqlite") as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    db.close()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder of root's that everybody may look into."""
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


NOBODY = 65534


def _as_nobody(home: Path, run_id: str, said: Any) -> None:
    # Python's own files may lie where that person may not look: all that is needed is imported first.
    for name in ("zoneinfo._zoneinfo", "pandas"):
        import_module(name)

    os.setgid(NOBODY)
    os.setuid(NOBODY)
    store = RunStore(home)
    said.put([run.id for run in store.list()])
    said.put(len(store.metrics(run_id)))
    for write in (lambda: store.create(CONFIG), lambda: store.request(run_id, "stop")):
        try:
            write()
        except StoreError as error:
            said.put(str(error))


def test_another_person_can_look_into_a_folder_that_is_not_theirs_and_is_told_that_it_is_read_only(
    open_folder: Path,
) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    store = RunStore(open_folder)
    run_id = store.create(CONFIG)
    store.record(run_id, [epoch(1), epoch(2)])
    store.close()
    said = fork.Queue()
    visitor = fork.Process(target=_as_nobody, args=(open_folder, run_id, said), daemon=True)
    visitor.start()
    visitor.join(60)
    assert visitor.exitcode == 0
    assert (said.get(), said.get()) == ([run_id], 2)
    for _ in range(2):
        assert "runs.sqlite cannot be written (read-only): make it and its folder writable" in said.get()
    assert store.get(run_id).requested == "run"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB of its own."""
    folder = tmp_path / "small"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)], capture_output=True, check=False
    ).returncode:
        pytest.skip("only who may mount a file system can test a really full one")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_run_on_a_disk_that_fills_ends_with_nothing_torn_and_goes_on_once_there_is_room(small_disk: Path) -> None:
    config = Config(dataset="digits", technique="dropcorr", epochs=6, device="cpu", record_every=0.0)
    store = RunStore(small_disk)
    run_id = store.create(config.to_dict())
    ballast = small_disk / "ballast"

    def fill(progress: Progress) -> None:
        if progress.kind == "epoch" and progress.epoch == 2.0:
            with suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))

    with suppress(StoreError):  # where not even the end can be written
        run = worker.take(store, run_id)
        worker.carry_out(store, run, lambda: worker.trainer_of(run), watch=fill)
    run = store.get(run_id)
    assert run.status in ("running", "failed")
    known = [*store.metrics(run_id, kind="epoch")["epoch"]]
    assert known[:2] == [1.0, 2.0]
    ballast.unlink()
    if run.status == "running":
        store.finish(run_id, "lost")
    else:
        assert (run.reason or "").startswith("The disk is full, ")
    run = worker.take(store, run_id)
    assert worker.carry_out(store, run, lambda: worker.trainer_of(run)).status == "done"
    undisturbed = Trainer(config)
    assert [record.kind for record in undisturbed.run()][-1] == "end"
    saved = store.load_weights(run_id)
    assert all(torch.equal(saved[name], value) for name, value in undisturbed.model.state_dict().items())
    store.close()
