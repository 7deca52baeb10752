"""The course of a run: what it tells while it trains, and what is changed of it meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.runs import marks, measures
from core.runs.database import Database
from core.runs.rows import row_of, unknown
from core.runs.schema import Run, columns_of, run_of

if TYPE_CHECKING:
    import pandas as pd


class Course:
    """The records, orders and marks of the runs in a store."""

    _database: Database

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

    def newer(self, ids: Sequence[str], columns: Sequence[str], since: int = 0) -> dict[str, list[measures.Row]]:
        """Run → its records with a larger ``seq``, by step, as rows: seq, kind, step, then ``columns``.

        ``columns`` are of :data:`core.runs.measures.NUMBERS`; None stands for what a record did not measure. Runs that
        have no such record are absent.
        """
        with self._database.read() as db:
            return measures.newer(db, ids, columns, since)
