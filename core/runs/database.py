"""SQLite as the run store uses it: WAL, full sync, one writer at a time, and one sentence for whatever goes wrong."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from core.runs import damage
from core.runs.damage import Identity, identity

# A disk with less room than this cannot take even the smallest transaction.
_NO_ROOM = 64 * 1024
# The process that opened it, the connection, and the file that it has open.
_Held = tuple[int, sqlite3.Connection, Identity | None]


class StoreError(Exception):
    """What went wrong with the run store and what to do about it, in one sentence for the person."""


class Database:
    """A SQLite file for several processes and threads; each thread has a connection of its own.

    Args:
        path: the file. Nothing is created before the first write; until then reads find an empty schema.
        migrations: the statements that lead from each schema version to the next, starting from an empty file.
        timeout: seconds to wait for another program's write lock.
    """

    def __init__(self, path: Path, migrations: Sequence[Sequence[str]], timeout: float = 10.0) -> None:
        self.path = path
        self.timeout = timeout
        self._migrations = migrations
        self._local = threading.local()

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection for reading, which waits for no writer; :class:`StoreError` where the file cannot be read."""
        with self._explained():
            if not self.path.exists():
                with _closing(self._empty()) as connection:
                    yield connection
                return
            try:
                held = self._connection()
            except sqlite3.OperationalError as error:
                if _primary(error) not in _CLOSED or self._log().exists():
                    raise
                with _closing(self._open_unchanging(error)) as connection:
                    yield connection
                return
            yield held

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A connection inside one write transaction: committed at the end, rolled back by an exception."""
        with self._explained():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                # SQLite may have rolled back by itself already, as it does when the disk is full.
                with suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the calling thread's connection."""
        held = getattr(self._local, "held", None)
        self._local.held = None
        if held is not None and held[0] == os.getpid():
            held[1].close()

    def _connection(self) -> sqlite3.Connection:
        held: _Held | None = getattr(self._local, "held", None)
        if held is None or held[0] != os.getpid():
            # A connection must be neither used nor closed on the other side of a fork, so that one stays referred to.
            self._local.inherited, held = held, None
        # A file that was set aside or moved is not the store any more, though it is open here.
        if held is None or held[2] != identity(self.path):
            with damage.standing(self.path):
                held = self._local.held = (os.getpid(), self._open(), identity(self.path))
        return held[1]

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=self.timeout, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _log(self) -> Path:
        return self.path.with_name(f"{self.path.name}-wal")

    def _open_unchanging(self, error: sqlite3.OperationalError) -> sqlite3.Connection:
        """A connection to a file that may only be read, for one look; raises ``error`` where its schema is older.

        SQLite reads a file in WAL mode only where it may write beside it, unless it is told that nobody changes it.
        Without a -wal file all that was committed is in the file itself. The connection must not be kept: it would not
        see what somebody with more rights writes later.
        """
        uri = f"{self.path.absolute().as_uri()}?mode=ro&immutable=1"
        connection = sqlite3.connect(uri, uri=True, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            if self._version(connection) != len(self._migrations):
                raise error
        except BaseException:
            connection.close()
            raise
        return connection

    def _empty(self) -> sqlite3.Connection:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.row_factory = sqlite3.Row
        for statement in _flat(self._migrations):
            connection.execute(statement)
        return connection

    def _migrate(self, connection: sqlite3.Connection) -> None:
        known = len(self._migrations)
        if self._version(connection) == known:
            return
        self._enter_wal(connection)
        connection.execute("BEGIN IMMEDIATE")
        try:
            for statement in _flat(self._migrations[self._version(connection) :]):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {known}")
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise

    def _version(self, connection: sqlite3.Connection) -> int:
        """The schema version of the file, 0 when it is empty; StoreError where it is newer or not ours."""
        # One statement, hence one snapshot: another program may be creating the schema at this moment.
        version, tables = connection.execute(
            "SELECT user_version, (SELECT count(*) FROM sqlite_master) FROM pragma_user_version"
        ).fetchone()
        if version > len(self._migrations):
            raise StoreError(
                f"The run store {self.path} was made by a newer Dropscope (schema {version}, this one knows "
                f"{len(self._migrations)}): update Dropscope, or set DROPSCOPE_HOME to another folder."
            )
        if version == 0 and tables:
            raise StoreError(
                f"{self.path} is a database of another program: move it, or set DROPSCOPE_HOME to another folder."
            )
        return int(version)

    def _enter_wal(self, connection: sqlite3.Connection) -> None:
        # SQLite does not wait here when two programs open a new file at once, so this waits in its place.
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if _primary(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            sentence = self._sentence(error)
            if sentence is None:
                raise
            raise StoreError(sentence) from error
        except OSError as error:
            raise explain(error, self.path.parent) from error

    def _sentence(self, error: sqlite3.Error) -> str | None:
        """What to tell a person of ``error``; None where it is a mistake in the program."""
        code = _primary(error)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return (
                f"The run store {self.path} is locked: another program has held its write lock for more than "
                f"{self.timeout:g} s; close that program and try again."
            )
        if code == sqlite3.SQLITE_FULL or (code in _MAYBE_FULL and _no_room(self.path.parent)):
            return full(self.path)
        if code in _CLOSED:
            return read_only(self.path)
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            with suppress(OSError, sqlite3.Error):
                if kept := damage.set_aside(self.path):
                    return kept
            return f"{self.path} is damaged or not a run store: move it aside and Dropscope begins a new one."
        if code == sqlite3.SQLITE_IOERR:
            return f"The run store {self.path} could not be read or written ({error}): check the disk and try again."
        return None


# How SQLite tells that it may not write beside a file that it is to read.
_CLOSED = (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM)
_MAYBE_FULL = (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)


def full(path: Path) -> str:
    """The sentence for a disk without room for ``path``."""
    return f"The disk is full, {path} could not be written: free some space and try again; what it held is whole."


def read_only(path: Path) -> str:
    """The sentence for a file or folder that may not be written."""
    return f"{path} cannot be written (read-only): make it and its folder writable, or set DROPSCOPE_HOME elsewhere."


def explain(error: OSError, path: Path) -> StoreError:
    """``error``, met while reading or writing ``path``, as a sentence."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreError(full(path))
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return StoreError(read_only(path))
    return StoreError(f"{path} could not be read or written ({error.strerror or error}): check the disk and the path.")


def _primary(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def _no_room(folder: Path) -> bool:
    with suppress(OSError):
        return shutil.disk_usage(folder).free < _NO_ROOM
    return False


def _flat(migrations: Sequence[Sequence[str]]) -> Iterator[str]:
    return (statement for migration in migrations for statement in migration)


@contextmanager
def _closing(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    try:
        yield connection
    finally:
        connection.close()
