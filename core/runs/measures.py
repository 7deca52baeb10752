"""The measures of runs: the table ``metrics`` of the run store, written as records and read as a DataFrame."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from itertools import chain, groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

KINDS = ("step", "epoch", "end")
NUMBERS = (
    "epoch",
    "loss",
    "accuracy",
    "train_eval_loss",
    "val_loss",
    "val_accuracy",
    "test_loss",
    "test_accuracy",
    "images_per_s",
    "train_seconds",
    "eval_seconds",
    "lr",
    "dropped",
    "active_dropped",
    "dead",
)
COLUMNS = (*NUMBERS, "p")
Row = tuple[Any, ...]
# Read only where it is asked for.
LAYERS = "layers"

# Stands for NULL where rows are streamed into an array of floats, which is three times as fast as a list of tuples.
_MISSING = -1e300


def insert(db: sqlite3.Connection, key: int, records: Sequence[Mapping[str, Any]]) -> int:
    """Store ``records`` of the run with this key; the newest ``seq``. The same kind and step is replaced."""
    end = int(db.execute("UPDATE counter SET seq = seq + ? RETURNING seq", (len(records),)).fetchone()[0])
    rows = [
        (
            key,
            record["kind"],
            record["step"],
            seq,
            *(_number(record.get(name)) for name in NUMBERS),
            _p_key(db, record.get("p")),
            json.dumps(record["layers"]) if record.get("layers") else None,
        )
        for seq, record in enumerate(records, end - len(records) + 1)
    ]
    columns = ("run", "kind", "step", "seq", *COLUMNS, LAYERS)
    marks = ", ".join("?" * len(columns))
    db.executemany(f"INSERT OR REPLACE INTO metrics ({', '.join(columns)}) VALUES ({marks})", rows)
    return end


def delete_after(db: sqlite3.Connection, key: int, step: int, *, epochs: bool = False) -> None:
    """Remove the records of a run that lie after ``step``, those of whole ``epochs`` only where it is asked."""
    kept = "" if epochs else "AND kind != 'epoch'"
    db.execute(f"DELETE FROM metrics WHERE run = ? {kept} AND step > ?", (key, step))


def select(
    db: sqlite3.Connection,
    keys: Mapping[str, int],
    *,
    kind: str | None = None,
    columns: Sequence[str] | None = None,
    since: int = 0,
) -> pd.DataFrame:
    """The records of the runs ``{id: key}`` as :meth:`core.runs.RunStore.metrics` describes them."""
    import numpy as np
    import pandas as pd

    wanted = COLUMNS if columns is None else tuple(name for name in columns if name != LAYERS)
    if unknown := [name for name in wanted if name not in COLUMNS]:
        raise ValueError(f"no such measure: {', '.join(unknown)}; there are {', '.join((*COLUMNS, LAYERS))}")
    read = ("run", "seq", "kind", "step", *wanted)
    kind_code = "CASE kind " + " ".join(f"WHEN '{word}' THEN {code}" for code, word in enumerate(KINDS)) + " END"
    expressions = [kind_code if name == "kind" else f"ifnull({name}, {_MISSING})" for name in read]
    conditions = ["run IN (SELECT value FROM json_each(?))"]
    arguments: list[Any] = [json.dumps(list(keys.values()))]
    # Only the conditions that are needed: each decides which index is used.
    if kind is not None:
        conditions.append("kind = ?")
        arguments.append(kind)
    if since:
        conditions.append("seq > ?")
        arguments.append(since)
    where = " AND ".join(conditions)
    rows = db.execute(f"SELECT {', '.join(expressions)} FROM metrics WHERE {where}", arguments)
    values = np.fromiter(chain.from_iterable(rows), dtype=np.float64).reshape(-1, len(read))
    values[values == _MISSING] = np.nan
    by_seq = _layers(db, where, arguments) if LAYERS in (columns or ()) else None

    place = {key: position for position, key in enumerate(keys.values())}
    run_keys, which = np.unique(values[:, 0].astype(np.int64), return_inverse=True)
    places = np.array([place[int(key)] for key in run_keys], dtype=np.int64)[which]
    order = np.lexsort((values[:, 1], values[:, 3], places))  # the epoch and the end may share a step
    values, places = values[order], places[order]

    table = pd.DataFrame(values, columns=list(read))
    table["run"] = pd.Categorical.from_codes(places, categories=pd.Index(list(keys)))
    table["kind"] = pd.Categorical.from_codes(values[:, 2].astype(np.int64), categories=pd.Index(KINDS))
    table["seq"] = values[:, 1].astype(np.int64)
    table["step"] = values[:, 3].astype(np.int64)
    if "p" in wanted:
        table["p"] = table["p"].map(_ps(db))
    if by_seq is not None:
        table[LAYERS] = table["seq"].map(by_seq).astype(object)
    return table


def newer(db: sqlite3.Connection, ids: Sequence[str], columns: Sequence[str], since: int) -> dict[str, list[Row]]:
    """The records of these runs as :meth:`core.runs.RunStore.newer` describes them.

    Rows as they come: a table of the few that are new would take many times as long.
    """
    read = ", ".join(f"metrics.{name}" for name in ("seq", "kind", "step", *columns))
    wanted = "runs.id IN (SELECT value FROM json_each(?))"
    query = f"SELECT runs.id, {read} FROM metrics JOIN runs ON runs.key = run WHERE {wanted}"
    arguments: list[Any] = [json.dumps([*ids])]
    if since:  # only then, as it decides which index is used
        query += " AND metrics.seq > ?"
        arguments.append(since)
    rows = db.execute(f"{query} ORDER BY run, step, metrics.seq", arguments)
    return {run: [row[1:] for row in own] for run, own in groupby(rows, key=itemgetter(0))}


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _p_key(db: sqlite3.Connection, p: Any) -> int | None:
    if p is None:
        return None
    text = json.dumps([float(value) for value in p])
    row = db.execute("SELECT key FROM ps WHERE value = ?", (text,)).fetchone()
    return int(row[0] if row else db.execute("INSERT INTO ps (value) VALUES (?) RETURNING key", (text,)).fetchone()[0])


def _layers(db: sqlite3.Connection, where: str, arguments: Sequence[Any]) -> dict[int, list[dict[str, float]]]:
    """Newest sequence number → what the record says of each dropout layer, where it does."""
    rows = db.execute(f"SELECT seq, layers FROM metrics WHERE {where} AND layers IS NOT NULL", arguments)
    return {int(seq): json.loads(text) for seq, text in rows}


def _ps(db: sqlite3.Connection) -> dict[float, tuple[float, ...]]:
    return {float(key): tuple(json.loads(text)) for key, text in db.execute("SELECT key, value FROM ps")}
