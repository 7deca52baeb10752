"""What a run is, and the SQLite schema that keeps it."""

from __future__ import annotations

import json
import math
import re
import secrets
import sqlite3
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.runs.marks import COLUMN, ORDERS, Mark, read

STATUSES = ("queued", "running", "paused", "done", "stopped", "failed", "lost")
ENDED = ("done", "stopped", "failed", "lost")
# "batch" and "epoch" pause after the next step, or the end of the epoch.
REQUESTS = ("run", "pause", "stop", "batch", "epoch")

# One entry for each schema version: the statements that lead to it from the one before. Never edit one, append.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE runs (
            key INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            name TEXT NOT NULL,
            created REAL NOT NULL,
            queued_at REAL NOT NULL,
            status TEXT NOT NULL,
            reason TEXT,
            requested TEXT NOT NULL DEFAULT 'run',
            requested_at REAL,
            config TEXT NOT NULL,
            environment TEXT NOT NULL,
            final TEXT NOT NULL DEFAULT '{}',
            latest TEXT NOT NULL DEFAULT '{}',
            attempt INTEGER NOT NULL DEFAULT 0,
            host TEXT,
            pid INTEGER,
            pid_created REAL,
            slot INTEGER,
            seen REAL,
            seq INTEGER NOT NULL DEFAULT 0
        )
        """,
        "CREATE INDEX runs_status ON runs (status)",
        # The distinct tuples of p, so that a record holds a number; "[0.2, 0.2]".
        "CREATE TABLE ps (key INTEGER PRIMARY KEY, value TEXT NOT NULL UNIQUE)",
        # Without rowid: the rows of a run and kind lie together, which is how curves are read.
        """
        CREATE TABLE metrics (
            run INTEGER NOT NULL REFERENCES runs (key) ON DELETE CASCADE,
            kind TEXT NOT NULL,
            step INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            epoch REAL,
            loss REAL,
            accuracy REAL,
            train_eval_loss REAL,
            val_loss REAL,
            val_accuracy REAL,
            test_loss REAL,
            test_accuracy REAL,
            images_per_s REAL,
            train_seconds REAL,
            eval_seconds REAL,
            lr REAL,
            p INTEGER REFERENCES ps (key),
            PRIMARY KEY (run, kind, step)
        ) WITHOUT ROWID
        """,
        "CREATE UNIQUE INDEX metrics_seq ON metrics (run, seq)",
        "CREATE TABLE counter (seq INTEGER NOT NULL)",
        "INSERT INTO counter VALUES (0)",
    ),
    (
        # When somebody deleted it, NULL for a run that is there.
        "ALTER TABLE runs ADD COLUMN deleted REAL",
        "CREATE INDEX runs_deleted ON runs (deleted) WHERE deleted IS NOT NULL",
    ),
    (
        # Words that people give a run, '["lecture 3"]', and the experiment that it was started in.
        "ALTER TABLE runs ADD COLUMN tags TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE runs ADD COLUMN experiment TEXT",
        # What is to change at a run's next step, as {"lr": 0.001}; a row goes once it has been carried out.
        """
        CREATE TABLE orders (
            key INTEGER PRIMARY KEY AUTOINCREMENT,
            run INTEGER NOT NULL REFERENCES runs (key) ON DELETE CASCADE,
            changes TEXT NOT NULL
        )
        """,
        # What was changed while a run trained: before the step that follows, as [{"name": …, "before": …, "after": …}].
        """
        CREATE TABLE marks (
            run INTEGER NOT NULL REFERENCES runs (key) ON DELETE CASCADE,
            step INTEGER NOT NULL,
            seq INTEGER NOT NULL,
            epoch REAL NOT NULL,
            train_seconds REAL NOT NULL,
            changes TEXT NOT NULL,
            PRIMARY KEY (run, step)
        ) WITHOUT ROWID
        """,
        # Of the masks: the share dropped, the share of active units dropped, the share of examples left without an
        # active unit, each the mean over the dropout layers; and the same layer by layer as JSON.
        "ALTER TABLE metrics ADD COLUMN dropped REAL",
        "ALTER TABLE metrics ADD COLUMN active_dropped REAL",
        "ALTER TABLE metrics ADD COLUMN dead REAL",
        "ALTER TABLE metrics ADD COLUMN layers TEXT",
    ),
    (
        # Why a change is not made, in a sentence for who ordered it; NULL while it waits for the next step.
        "ALTER TABLE orders ADD COLUMN refused TEXT",
        "CREATE INDEX orders_run ON orders (run)",
    ),
    (
        # These runs were made when k of all units was what DropAct and DropInv did where nothing was said.
        """
        UPDATE runs SET config = json_set(config, '$.knobs.count', 'layer')
        WHERE json_extract(config, '$.technique') IN ('dropact', 'dropinv')
          AND json_extract(config, '$.knobs.count') IS NULL
        """,
    ),
)

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
# Control characters, halves of characters, and the ends of lines and paragraphs.
_UNPRINTABLE = ("Cc", "Cs", "Zl", "Zp")
# A terminal's commands, as for colours, and those that set its title; and what turns the direction of writing.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\u202a-\u202e\u2066-\u2069]")
_START_OF_2025 = 1_735_689_600


# All that a :class:`Run` holds.
SELECT = f"SELECT runs.*, {COLUMN}, {ORDERS} FROM runs"


@dataclass(frozen=True)
class Owner:
    """The process that works on a run: its machine, its PID, and when it was created (seconds since 1970)."""

    host: str
    pid: int
    created: float


@dataclass(frozen=True)
class Run:
    """A run as it stood when it was read; times are seconds since 1970.

    ``requested`` is what was asked of it last (one of :data:`REQUESTS`) and ``requested_at`` when; ``latest`` holds the
    newest value of every field of its records, ``final`` the results. ``attempt`` counts the processes that worked
    on it, ``owner`` is the present or last one (of a queued run: the one that alone may start it), ``seen`` when
    that one last wrote, ``slot`` its place among those that run at once. ``seq`` grows with every record.
    ``deleted`` is when it was set aside to be deleted, None for all others. ``tags`` are words that people gave it,
    ``experiment`` names the experiment that it was started in. ``marks`` say what was changed while it trained
    (:data:`core.runs.marks.Mark`); ``config`` stays what it was begun with.
    ``orders`` are changes that it has not made, {"order": number, "changes": {…}, "refused": sentence}, the last None
    where it is to make them at its next step; a refusal stays until the next order.
    ``queued_at`` is when it took its place in the queue.
    """

    id: str
    name: str
    created: float
    status: str
    reason: str | None
    requested: str
    requested_at: float | None
    config: dict[str, Any]
    environment: dict[str, Any]
    final: dict[str, Any]
    latest: dict[str, Any]
    attempt: int
    owner: Owner | None
    slot: int | None
    seen: float | None
    seq: int
    deleted: float | None = None
    tags: tuple[str, ...] = ()
    experiment: str | None = None
    marks: tuple[Mark, ...] = ()
    queued_at: float = 0.0
    orders: tuple[dict[str, Any], ...] = ()

    @property
    def live(self) -> bool:
        """Whether a process should be at work on it, or waiting when it is paused."""
        return self.status == "running" or (self.status == "paused" and self.owner is not None)

    @property
    def reserved(self) -> bool:
        """Whether it waits for one process to start it, and not for any that has room."""
        return self.status == "queued" and self.owner is not None

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it unless somebody resumes it."""
        return self.status in ENDED


def run_of(row: sqlite3.Row) -> Run:
    """The run in a row of :data:`SELECT`."""
    owner = None if row["pid"] is None else Owner(row["host"], row["pid"], row["pid_created"])
    documents = {name: json.loads(row[name]) for name in ("config", "environment", "final", "latest")}
    plain = (
        "id", "name", "created", "status", "reason", "requested", "requested_at", "attempt", "slot", "seen", "seq",
        "deleted", "experiment", "queued_at",
    )  # fmt: skip
    tags = tuple(json.loads(row["tags"]))
    marks, orders = read(row["marks"]), read(row["orders"])
    return Run(**{name: row[name] for name in plain}, **documents, owner=owner, tags=tags, marks=marks, orders=orders)


def columns_of(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a :class:`Run` as columns of the table ``runs``."""
    columns: dict[str, Any] = {}
    for name, value in changes.items():
        if name == "owner":
            host, pid, created = (value.host, value.pid, value.created) if value else (None, None, None)
            columns |= {"host": host, "pid": pid, "pid_created": created}
        else:
            columns[name] = to_json(value) if isinstance(value, Mapping | tuple) else value
    return columns


def to_json(value: Any) -> str:
    """Strict JSON: numbers that are not finite become null, paths text."""
    return json.dumps(_finite(value), allow_nan=False, ensure_ascii=False)


def is_id(text: str) -> bool:
    """Whether ``text`` could be a run's id, and so is safe as the name of a folder."""
    return bool(text) and set(text) <= set(_ALPHABET)


def new_id(now: float) -> str:
    """Ten letters and digits: eight of the time in milliseconds, so that ids sort as they were made, two of chance."""
    left, letters = int((now - _START_OF_2025) * 1000), ""
    for _ in range(8):
        left, index = divmod(left, len(_ALPHABET))
        letters = _ALPHABET[index] + letters
    return letters + secrets.choice(_ALPHABET) + secrets.choice(_ALPHABET)


def default_name(config: Mapping[str, Any]) -> str:
    """What a run is called unless somebody names it, as in "digits · dropcorr · p 0.3 · seed 0"."""
    dataset, p = str(config.get("dataset", "digits")).rstrip("/\\"), config.get("p")
    words = [Path(dataset).name or dataset, str(config.get("technique", "standard"))]
    if p is not None:
        words.append("p " + ", ".join(f"{value:g}" for value in (p if isinstance(p, list | tuple) else [p])))
    return " · ".join([*words, f"seed {config.get('seed', 0)}"])


def plain_name(text: str) -> str:
    """``text`` on one line, without what a terminal or SQLite would trip over: escape codes and control characters."""
    kept = (" " if unicodedata.category(letter) in _UNPRINTABLE else letter for letter in _ESCAPES.sub("", text))
    return "".join(kept).strip()


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, Path) else value
