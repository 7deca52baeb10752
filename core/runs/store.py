"""The run store: what was trained, how, and what came of it. SQLite for the numbers, a folder a run for the files."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.home import HomeError
from core.home import home as default_home
from core.runs import damage, labels, marks, measures
from core.runs.database import Database, StoreError
from core.runs.files import RunFiles
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

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ENDED", "STATUSES", "Owner", "Run", "RunStore", "StoreError", "SupersededError", "UnknownRunError"]

Runs = list[Run]
Changes = dict[str, Any]

# A run that any process with room may take.
_WAITS = "status = 'queued' AND pid IS NULL"


class RunStore(RunFiles):
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

    def delete(self, ids: str | Iterable[str]) -> None:
        """Delete runs with their files: all of them or, where one is unknown or still at work, none."""
        wanted = [ids] if isinstance(ids, str) else [*ids]
        with self._database.write() as db:
            runs = [run_of(row_of(db, run_id)) for run_id in wanted]
            for run in runs:
                if run.live:
                    raise StoreError(f"Run {run.id} ({run.name}) is still {run.status}: stop it before you delete it.")
            db.executemany("DELETE FROM runs WHERE id = ?", [(run.id,) for run in runs])
        for run in runs:
            shutil.rmtree(self.folder(run.id), ignore_errors=True)

    def set_aside(self, ids: str | Iterable[str]) -> None:
        """Delete runs so that :meth:`bring_back` can undo it: all or, where one is unknown or has not ended, none.

        :meth:`list` and :meth:`find` pass them over; their files and records stay until :meth:`purge`.
        """
        wanted = [ids] if isinstance(ids, str) else [*ids]
        now = time.time()
        with self._database.write() as db:
            for run in [run_of(row_of(db, run_id)) for run_id in wanted]:
                if not run.ended:
                    raise StoreError(f"Run {run.id} ({run.name}) is still {run.status}: stop it before you delete it.")
            arguments = [(now, run_id) for run_id in wanted]
            db.executemany("UPDATE runs SET deleted = ? WHERE id = ? AND deleted IS NULL", arguments)

    def aside(self) -> Runs:
        """The runs that :meth:`bring_back` can still bring back, those deleted last first."""
        with self._database.read() as db:
            rows = db.execute(f"{SELECT} WHERE deleted IS NOT NULL ORDER BY deleted DESC, key DESC")
            return [run_of(row) for row in rows]

    def bring_back(self, ids: Iterable[str]) -> None:
        """Undo :meth:`set_aside`; a run that is gone for good by now is passed over."""
        with self._database.write() as db:
            db.executemany("UPDATE runs SET deleted = NULL WHERE id = ?", [(run_id,) for run_id in ids])

    def purge(self, seconds: float) -> None:
        """Delete for good what was set aside at least so many seconds ago; writes nothing where there is none."""
        before = time.time() - seconds
        if not any(run.deleted is not None and run.deleted <= before for run in self.aside()):
            return
        with self._database.write() as db:
            # Asked again, as somebody may have brought one back in between.
            query = "DELETE FROM runs WHERE deleted <= ? RETURNING id"
            gone = [str(row["id"]) for row in db.execute(query, (before,)).fetchall()]
        for run_id in gone:
            shutil.rmtree(self.folder(run_id), ignore_errors=True)

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

    def order(self, run_id: str, changes: Mapping[str, Any], check: Callable[[Run], None]) -> None:
        """Have a run change p, lr or knobs at its next step, unless ``check`` raises an exception."""
        with self._database.write() as db:
            row = row_of(db, run_id)
            check(run_of(row))
            marks.give(db, row["key"], changes)

    def orders(self, run_id: str) -> Sequence[marks.Order]:
        """What :meth:`order` left and :meth:`mark` has not taken, the oldest first."""
        with self._database.read() as db:
            query = "SELECT key FROM runs WHERE id = ?"
            found = db.execute(query, (run_id,)).fetchone()
            return marks.waiting(db, found["key"]) if found else []

    def mark(
        self,
        run_id: str,
        orders: Sequence[marks.Order],
        mark: marks.Mark,
        refused: Mapping[int, str] | None = None,
        *,
        attempt: int | None = None,
    ) -> None:
        """Keep what ``orders`` have changed in place of them, in one transaction.

        ``refused`` are those that cannot be carried out, by their key: they stay, each with its sentence.
        """
        with self._database.write() as db:
            marks.refuse(db, refused or {})
            marks.carried_out(db, row_of(db, run_id, attempt)["key"], orders, mark)

    def unmark(self, run_id: str, step: int, check: Callable[[Run], None]) -> None:
        """Forget the mark at ``step`` and all that was recorded after it, unless ``check`` raises an exception."""
        with self._database.write() as db:
            row = row_of(db, run_id)
            check(run_of(row))
            marks.forget(db, row["key"], step)
            measures.delete_after(db, row["key"], step, epochs=True)

    def record(self, run_id: str, records: Sequence[Mapping[str, Any]], *, attempt: int | None = None) -> None:
        """Store progress records (``Progress.to_dict()``) in one transaction; the same kind and step is replaced."""
        with self._database.write() as db:
            row = row_of(db, run_id, attempt)
            seq = measures.insert(db, row["key"], records)
            latest = json.loads(row["latest"])
            for record in records:
                latest.update((name, value) for name, value in record.items() if value is not None)
            text = columns_of({"latest": latest})["latest"]
            db.execute(
                "UPDATE runs SET latest = ?, seq = ?, seen = ? WHERE key = ?", (text, seq, time.time(), row["key"])
            )

    def rewind(self, run_id: str, step: int, *, attempt: int | None = None) -> None:
        """Forget the records after ``step``, for a run that goes on from a state saved there.

        Those of whole epochs stay, as they are made again at the same steps: what was reached once is never unsaid.
        """
        with self._database.write() as db:
            measures.delete_after(db, row_of(db, run_id, attempt)["key"], step)

    def metrics(
        self,
        ids: str | Sequence[str],
        *,
        kind: str | None = None,
        columns: Sequence[str] | None = None,
        since: int = 0,
    ) -> pd.DataFrame:
        """The records of these runs: the columns ``run``, ``seq``, ``kind``, ``step`` and the measures.

        Rows stand in the order of ``ids``, then of steps. What a record did not measure is NaN; ``p`` holds tuples.

        Args:
            kind: only "step", "epoch" or "end" records.
            columns: only these of :data:`core.runs.measures.COLUMNS`; fewer are faster. "layers", a list of the mask
                statistics of each dropout layer, comes only where it is named.
            since: only records with a larger ``seq``. It grows over the whole store, so the largest one seen is all
                that a reader has to remember; after a resume, newer records come with smaller steps.
        """
        wanted = [ids] if isinstance(ids, str) else [*ids]
        with self._database.read() as db:
            query = "SELECT id, key FROM runs WHERE id IN (SELECT value FROM json_each(?))"
            known = {row["id"]: row["key"] for row in db.execute(query, (json.dumps(wanted),))}
            for run_id in wanted:
                if run_id not in known:
                    raise unknown(run_id)
            keys = {run_id: known[run_id] for run_id in wanted}
            return measures.select(db, keys, kind=kind, columns=columns, since=since)

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
