"""Changes to runs that train: orders, which wait to be carried out, and marks, which say what was changed and when."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Changes = Mapping[str, Any]
Mark = dict[str, Any]
"""{"step", "epoch", "seconds", "changes": [{"name", "before", "after"}]}: what was changed before the step after."""

# As JSON in one column of a query on ``runs``; the empty list for a run that was never changed.
COLUMN = """
    (SELECT json_group_array(json_object('step', step, 'epoch', epoch, 'seconds', train_seconds,
                                         'changes', changes))
     FROM (SELECT * FROM marks WHERE marks.run = runs.key ORDER BY step)) AS marks
"""
# The same of those that it has not carried out; ``refused`` is null where one is still to be.
ORDERS = """
    (SELECT json_group_array(json_object('order', key, 'changes', changes, 'refused', refused))
     FROM (SELECT * FROM orders WHERE orders.run = runs.key ORDER BY key)) AS orders
"""

# Said of a change that was ordered while a run took its last step.
TOO_LATE = "The run ended before it could make this change: it had taken its last step."


class Order(NamedTuple):
    """Changes that a run is to make at its next step."""

    key: int
    changes: dict[str, Any]


def read(text: str) -> tuple[dict[str, Any], ...]:
    """The marks in :data:`COLUMN`, the first first, or the orders in :data:`ORDERS`, the oldest first."""
    return tuple(entry | {"changes": json.loads(entry["changes"])} for entry in json.loads(text))


def give(db: sqlite3.Connection, run: int, changes: Changes) -> None:
    """Let the run with this key make ``changes`` at its next step; earlier refusals are past and gone."""
    db.execute("DELETE FROM orders WHERE run = ? AND refused IS NOT NULL", (run,))
    db.execute("INSERT INTO orders (run, changes) VALUES (?, ?)", (run, json.dumps(changes)))


def waiting(db: sqlite3.Connection, run: int) -> list[Order]:
    """The orders that the run with this key has yet to carry out, the oldest first."""
    rows = db.execute("SELECT key, changes FROM orders WHERE run = ? AND refused IS NULL ORDER BY key", (run,))
    return [Order(row["key"], json.loads(row["changes"])) for row in rows]


def refuse(db: sqlite3.Connection, refused: Mapping[int, str]) -> None:
    """Keep why the orders with these keys are not carried out, in a sentence for who gave them."""
    db.executemany("UPDATE orders SET refused = ? WHERE key = ?", [(why, key) for key, why in refused.items()])


def carried_out(db: sqlite3.Connection, run: int, orders: Sequence[Order], mark: Mark) -> None:
    """Remove ``orders`` and keep what they changed, as one mark with what was changed at the same step already."""
    db.executemany("DELETE FROM orders WHERE key = ? AND refused IS NULL", [(order.key,) for order in orders])
    place = (run, mark["step"])
    row = db.execute("SELECT changes FROM marks WHERE run = ? AND step = ?", place).fetchone()
    changes = _together(json.loads(row["changes"]) if row else [], mark["changes"])
    if not changes:
        db.execute("DELETE FROM marks WHERE run = ? AND step = ?", place)
        return
    seq = db.execute("UPDATE counter SET seq = seq + 1 RETURNING seq").fetchone()[0]
    db.execute(
        "INSERT OR REPLACE INTO marks (run, step, seq, epoch, train_seconds, changes) VALUES (?, ?, ?, ?, ?, ?)",
        (*place, seq, mark["epoch"], mark["seconds"], json.dumps(changes)),
    )


def forget(db: sqlite3.Connection, run: int, step: int) -> None:
    """Remove the mark at ``step`` of the run with this key."""
    db.execute("DELETE FROM marks WHERE run = ? AND step = ?", (run, step))


def told(mark: Mark) -> str:
    """What was changed, as a person would write it: "p 0.2 → 0.4, lr 0.0005 → 0.001"."""
    changes = mark["changes"]
    return ", ".join(f"{change['name']} {shown(change['before'])} → {shown(change['after'])}" for change in changes)


def shown(value: Any) -> str:
    """A value as a person would write it."""
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value) if value is None or isinstance(value, str | int) else json.dumps(value)


def _together(earlier: Sequence[Changes], later: Sequence[Changes]) -> list[dict[str, Any]]:
    """Two lists of changes as one, without what ends as it began."""
    merged = {change["name"]: dict(change) for change in earlier}
    for change in later:
        merged[change["name"]] = (
            {"before": change["before"]}
            | merged.get(change["name"], {})
            | {
                "name": change["name"],
                "after": change["after"],
            }
        )
    return [
        {name: change[name] for name in ("name", "before", "after")}
        for change in merged.values()
        if change["before"] != change["after"]
    ]
