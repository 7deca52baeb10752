"""Rows of the table of runs, as every method of the store asks for them."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from core.runs.database import StoreError
from core.runs.schema import SELECT, columns_of


class UnknownRunError(StoreError):
    """There is no such run."""


class SupersededError(StoreError):
    """Another process has taken the run over, so this one must not write to it any more."""


def row_of(db: sqlite3.Connection, run_id: str, attempt: int | None = None) -> sqlite3.Row:
    """The row of a run; UnknownRunError without one, SupersededError where it is not at this ``attempt``."""
    row: sqlite3.Row | None = db.execute(f"{SELECT} WHERE id = ?", (run_id,)).fetchone()
    if row is None:
        raise unknown(run_id)
    if attempt is not None and row["attempt"] != attempt:
        raise SupersededError(f"Run {run_id} was taken over by another process, so this one leaves it alone.")
    return row


def update(db: sqlite3.Connection, run_id: str, changes: Mapping[str, Any]) -> None:
    """Set fields of a :class:`core.runs.Run`; none changes nothing."""
    if columns := columns_of(changes):
        places = ", ".join(f"{name} = ?" for name in columns)
        db.execute(f"UPDATE runs SET {places} WHERE id = ?", (*columns.values(), run_id))


def taken_slots(db: sqlite3.Connection, host: str) -> list[int | None]:
    """The places of a machine that are taken."""
    # Who was paused and asked to go on has its place back before anybody new.
    busy = "status = 'running' OR (status = 'paused' AND requested IN ('run', 'epoch') AND pid IS NOT NULL)"
    return [row["slot"] for row in db.execute(f"SELECT slot FROM runs WHERE host = ? AND ({busy})", (host,))]


def of_experiment(db: sqlite3.Connection, experiment: str, config: str) -> str | None:
    """The run of an experiment that has this config, if there is one."""
    query = "SELECT id FROM runs WHERE deleted IS NULL AND experiment = ? AND config = ?"
    row = db.execute(query, (experiment, config)).fetchone()
    return None if row is None else str(row["id"])


def unknown(run_id: str) -> UnknownRunError:
    """What to raise where there is no such run."""
    return UnknownRunError(f"There is no run {run_id!r}: `python -m core runs` lists those there are.")
