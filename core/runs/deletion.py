"""Deleting runs, at once or so that it can be undone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable

from core.runs.database import Database, StoreError
from core.runs.files import RunFiles
from core.runs.rows import row_of
from core.runs.schema import SELECT, Run, run_of


class Deletion(RunFiles):
    """The runs of a store as they go, with their files."""

    _database: Database

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

    def aside(self) -> list[Run]:
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
