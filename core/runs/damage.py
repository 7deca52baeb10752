"""A damaged database file: told from a whole one, set aside under another name, and named to the person."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

Identity = tuple[int, int]
# Seconds to wait for another that opens the file, or sets it aside.
PATIENCE = 30.0


def identity(path: Path) -> Identity | None:
    """What tells the file that ``path`` names now from one that bore the name before; None where there is none."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    return facts.st_dev, facts.st_ino


def set_aside(path: Path) -> str | None:
    """Give the file at ``path`` another name if it is damaged; the sentence for the person, None where it is whole.

    Nothing of it is lost. Of several processes that meet the damage one does it. Raises OSError where it may not.
    """
    with _alone(path):
        if _is_damaged(path):
            kept = _free_name(path)
            for ending in ("-wal", "-shm", ""):
                with suppress(FileNotFoundError):
                    Path(f"{path}{ending}").rename(f"{kept}{ending}")
    return sentence(path)


@contextmanager
def standing(path: Path) -> Iterator[None]:
    """Within it nobody sets ``path`` aside: for who opens it, until it has been read once.

    SQLite looks for a journal by name at the first look into a file. In one that was set aside since it was opened, it
    would undo what the journal of the new file says, and overwrite what was to be kept.
    """
    with ExitStack() as held:
        if path.exists():
            # Where nothing may be written, nothing can be set aside.
            with suppress(sqlite3.OperationalError):
                db = held.enter_context(closing(sqlite3.connect(_lock(path), timeout=PATIENCE)))
                db.execute("BEGIN")
                db.execute("SELECT count(*) FROM sqlite_master")
        yield


def sentence(path: Path) -> str | None:
    """What to tell as long as a damaged ``path`` that was set aside lies beside it; None where there is none."""
    kept = [each for each in sorted(path.parent.glob(f"{_prefix(path)}*")) if not each.name.endswith(("-wal", "-shm"))]
    if not kept:
        return None
    return (
        f"The run store {path} was damaged: it is kept as {kept[-1].name} and a new one begins. The weights of its "
        "runs are still in the folder runs; move the damaged file elsewhere and this is told no more."
    )


def _is_damaged(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            return bool(db.execute("PRAGMA integrity_check(1)").fetchone()[0] != "ok")
    except sqlite3.DatabaseError as error:
        return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


def _free_name(path: Path) -> Path:
    name = f"{_prefix(path)}{time.strftime('%Y%m%d-%H%M%S')}"
    kept, number = path.with_name(name), 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{name}-{number}")
    return kept


def _prefix(path: Path) -> str:
    return f"{path.name}.damaged-"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time; by a lock of SQLite's, which is gone with a process that is killed."""
    with closing(sqlite3.connect(_lock(path), timeout=PATIENCE, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        yield


def _lock(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")
