"""The run store: what was trained, how, and what came of it. SQLite for the numbers, a folder a run for the files."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.home import HomeError
from core.home import home as default_home
from core.runs import damage, labels, marks
from core.runs.course import Course
from core.runs.database import Database, StoreError
from core.runs.deletion import Deletion
from core.runs.rows import SupersededError, UnknownRunError, of_experiment, row_of, taken_slots, unknown, update
from core.runs.schema import (
    ENDED,
    MIGRATIONS,
    REQUESTS,
    SELECT,
    STATUSES,
    Owner,
    Run,
    columns_of,
    default_name,
    new_id,
    plain_name,
    run_of,
)

__all__ = ["ENDED", "STATUSES", "Owner", "Run", "RunStore", "StoreError", "SupersededError", "UnknownRunError"]

Runs = list[Run]
Changes = dict[str, Any]

# A run that any process with room may take.
_WAITS = "status = 'queued' AND pid IS NULL"


class RunStore(Course, Deletion):
    """The runs of one home folder; safe for several threads and processes, every method one transaction.

    Every method raises :class:`StoreError` where the store is locked, read-only, full, damaged or of a newer schema,
    and :class:`UnknownRunError` where there is no such run. Nothing is created before the first write. Methods that
    take an ``attempt`` raise :class:`SupersededError` where the run is not at that attempt any more.

    Args:
        home: the folder of ``runs.sqlite`` and ``runs/<id>/``; default :func:`core.home.home`.
        timeout: seconds to wait for another program that writes.
    """

    def __init__(self, home: Path | None = None, *, timeout: float = 10.0) -> None:
        try:
            self.home = Path(home) if home is not None else default_home()
        except HomeError as error:
            raise StoreError(str(error)) from error
        self._database = Database(self.home / "runs.sqlite", MIGRATIONS, timeout)

    def create(
        self,
        config: Mapping[str, Any],
        environment: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        owner: Owner | None = None,
        starter: Owner | None = None,
        experiment: str | None = None,
    ) -> str:
        """Add a run and return its id: queued, or running when its ``owner`` works on it already.

        A queued run with a ``starter`` waits for that process: :meth:`claim` passes it over.

        Where ``experiment`` has a run with this config, that one's id is returned and nothing added.
        """
        now = time.time()
        row = columns_of(
            {
                "id": new_id(now),
                "name": plain_name(name or "") or plain_name(default_name(config)),
                "created": now,
                "queued_at": now,
                "status": "running" if owner else "queued",
                "config": config,
                "environment": environment or {},
                "attempt": 1 if owner else 0,
                "owner": owner or starter,
                "seen": now,
                "experiment": experiment,
            }
        )
        with self._database.write() as db:
            if experiment is not None and (known := of_experiment(db, experiment, row["config"])):
                return known
            while db.execute("SELECT 1 FROM runs WHERE id = ?", (row["id"],)).fetchone():
                row["id"] = new_id(now)
            marks = ", ".join("?" * len(row))
            db.execute(f"INSERT INTO runs ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
        return str(row["id"])

    def get(self, run_id: str) -> Run:
        """The run with exactly this id."""
        with self._database.read() as db:
            return run_of(row_of(db, run_id))

    def find(self, prefix: str) -> Run:
        """The only run whose id begins with ``prefix``; :class:`UnknownRunError` where there is not exactly one."""
        with self._database.read() as db:
            # Not LIKE, which gives "%" and "_" a meaning.
            query = f"{SELECT} WHERE deleted IS NULL AND substr(id, 1, ?) = ? ORDER BY id LIMIT 4"
            rows = db.execute(query, (len(prefix), prefix)).fetchall()
        if not prefix or not rows:
            raise unknown(prefix)
        if len(rows) > 1 and rows[0]["id"] != prefix:
            shown = ", ".join(row["id"] for row in rows[:3]) + (", …" if len(rows) > 3 else "")
            raise UnknownRunError(f"{prefix!r} is the beginning of several runs ({shown}): write more of the id.")
        return run_of(rows[0])

    def list(
        self,
        *,
        status: Iterable[str] | None = None,
        ids: Iterable[str] | None = None,
        experiment: str | None = None,
        taken: bool = False,
    ) -> Runs:
        """Runs, the newest first: all, or those that fit all that is given; none set aside.

        ``status`` and ``ids`` are those to choose from, ``experiment`` is the one they were started in;
        ``taken`` leaves out those that wait for any process that has room.
        """
        conditions, arguments = ["deleted IS NULL"], []
        if taken:
            conditions.append(f"NOT ({_WAITS})")
        experiments = None if experiment is None else [experiment]
        for column, wanted in (("status", status), ("id", ids), ("experiment", experiments)):
            if wanted is not None:
                conditions.append(f"{column} IN (SELECT value FROM json_each(?))")
                arguments.append(json.dumps([*wanted]))
        with self._database.read() as db:
            query = f"{SELECT} WHERE {' AND '.join(conditions)} ORDER BY key DESC"
            return [run_of(row) for row in db.execute(query, arguments)]

    def change(self, run_id: str, decide: Callable[[Run], Changes | None], *, attempt: int | None = None) -> Run:
        """Change a run by what it is: ``decide`` sees it inside the write transaction and returns the fields to change.

        None or an empty dict changes nothing, an exception neither. The run as it is afterwards is returned.
        """
        with self._database.write() as db:
            run = run_of(row_of(db, run_id, attempt))
            update(db, run_id, decide(run) or {})
            return run_of(row_of(db, run_id))

    def rename(self, run_id: str, name: str) -> None:
        """Give a run another name; :class:`StoreError` where it is empty or too long to be shown."""
        named = {"name": labels.name_of(name)}
        self.change(run_id, lambda run: None if run.name == named["name"] else named)

    def tag(self, ids: Iterable[str], *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
        """Take tags from runs and give them others: all of them or, where one is unknown or a tag too long, none."""
        new, gone = labels.tags_of(add), tuple(remove)
        with self._database.write() as db:
            for run in [run_of(row_of(db, run_id)) for run_id in ids]:
                tags = columns_of({"tags": labels.retagged(run.tags, new, gone)})["tags"]
                db.execute("UPDATE runs SET tags = ? WHERE id = ?", (tags, run.id))

    def has_turn(self, host: str, limit: int) -> bool:
        """Whether there is a run that :meth:`claim` would give to a process of ``host``; quick, and writes nothing."""
        with self._database.read() as db:
            waits = db.execute(f"SELECT 1 FROM runs WHERE {_WAITS} LIMIT 1").fetchone()
            return waits is not None and len(taken_slots(db, host)) < limit

    def claim(self, owner: Owner, limit: int) -> Run | None:
        """Take the run that has been queued longest, unless ``limit`` are at work on ``owner``'s machine; else None.

        The run becomes running under ``owner``, at its next attempt, in the lowest free slot. Of several processes
        that claim at once each gets another run.
        """
        with self._database.write() as db:
            taken = taken_slots(db, owner.host)
            row = db.execute(f"SELECT * FROM runs WHERE {_WAITS} ORDER BY queued_at, key LIMIT 1").fetchone()
            if row is None or len(taken) >= limit:
                return None
            slot = min(set(range(limit)) - set(taken))
            db.execute(
                "UPDATE runs SET status = 'running', reason = NULL, attempt = attempt + 1, slot = ?, seen = ?, "
                "host = ?, pid = ?, pid_created = ? WHERE key = ?",
                (slot, time.time(), owner.host, owner.pid, owner.created, row["key"]),
            )
            return run_of(row_of(db, row["id"]))

    def proceed(self, run_id: str, limit: int | None, *, attempt: int) -> bool:
        """Let a paused run go on, unless ``limit`` others are running on its machine; whether it may."""
        with self._database.write() as db:
            row = row_of(db, run_id, attempt)
            key = row["key"]
            query = "SELECT count(*) FROM runs WHERE status = 'running' AND host = ?"
            running = db.execute(query, (row["host"],)).fetchone()[0]
            if limit is not None and running >= limit:
                return False
            db.execute("UPDATE runs SET status = 'running', reason = NULL, seen = ? WHERE key = ?", (time.time(), key))
            return True

    def set_status(self, run_id: str, status: str, reason: str | None = None, *, attempt: int | None = None) -> None:
        """Say what became of a run."""
        changes = {"status": _among(status, STATUSES), "reason": reason, "seen": time.time()}
        self.change(run_id, lambda _: changes, attempt=attempt)

    def finish(
        self,
        run_id: str,
        status: str,
        reason: str | None = None,
        final: Mapping[str, Any] | None = None,
        *,
        attempt: int | None = None,
    ) -> None:
        """End a run with its results (test accuracy, seconds, …); once it is done, what was ordered is refused."""
        changes: Changes = {"status": _among(status, ENDED), "reason": reason, "slot": None, "seen": time.time()}
        if final is not None:
            changes["final"] = final
        with self._database.write() as db:
            key = row_of(db, run_id, attempt)["key"]
            update(db, run_id, changes)
            if status == "done":
                marks.refuse(db, {order.key: marks.TOO_LATE for order in marks.waiting(db, key)})

    def set_environment(self, run_id: str, environment: Mapping[str, Any]) -> None:
        """Say where a run is trained: device, versions, commit."""
        self.change(run_id, lambda _: {"environment": environment})

    def request(self, run_id: str, request: str) -> None:
        """Ask the process of a run to "run", "pause", …; it looks several times a second."""
        changes = {"requested": _among(request, REQUESTS), "requested_at": time.time()}
        self.change(run_id, lambda run: None if run.requested == request else changes)

    def requested(self, run_id: str, *, attempt: int | None = None) -> str:
        """What was asked of a run last."""
        with self._database.read() as db:
            return str(row_of(db, run_id, attempt)["requested"])

    def damage(self) -> str | None:
        """The sentence about a damaged store that was set aside, as long as it lies there; None where none does."""
        return damage.sentence(self.home / "runs.sqlite")

    def close(self) -> None:
        """Close the calling thread's connection."""
        self._database.close()


def _among(word: str, words: Sequence[str]) -> str:
    if word not in words:
        raise ValueError(f"{word!r} is not one of {', '.join(words)}")
    return word
