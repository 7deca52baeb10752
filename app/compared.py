"""What Compare shows of some runs, made once until they change: of a thousand runs it takes half a second."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import pandas as pd

from app import charts, services
from app.charts import Chart
from core import comparison

_NAMED = ["id", "variant", "technique", "seed"]
_COMPARED = [*_NAMED, "test_accuracy", "train_seconds", "seconds_per_epoch"]


@dataclass(frozen=True)
class Compared:
    """What ``core.comparison`` makes of some runs, and its figures where there is something to draw.

    It is shared by all who ask: its tables are not to be changed.
    """

    curves: pd.DataFrame
    summary: pd.DataFrame
    verdict: str
    reference: str | None
    over_epochs: Chart | None
    against_time: Chart | None


@dataclass(frozen=True)
class _Asked:
    """What is asked for; equal where all that decides the answer is."""

    home: Path
    stamps: tuple[tuple[str, int], ...]
    values: bytes
    kind: str
    rows: pd.DataFrame = field(compare=False)


def compared(rows: pd.DataFrame, seqs: Mapping[str, int], kind: str = "technique") -> Compared:
    """Of ``rows`` of ``core.variants.table``; ``seqs``: run → ``Run.seq``, which tells when it has new records.

    ``kind``: what a variant is, for the verdict.
    """
    stamps = tuple((name, seqs[name]) for name in rows["id"])
    values = pd.util.hash_pandas_object(rows[_COMPARED], index=False).to_numpy().tobytes()
    return _compared(_Asked(services.store().home, stamps, values, kind, rows))


@lru_cache(maxsize=32)
def _compared(asked: _Asked) -> Compared:
    rows = asked.rows
    records = services.store().metrics(list(rows["id"]), kind="epoch", columns=("epoch", "val_accuracy"))
    curves = comparison.curves(records, rows[_NAMED])
    summary, base = comparison.summary(rows), comparison.reference(rows)
    return Compared(
        curves,
        summary,
        comparison.verdict(rows, asked.kind),
        base,
        None if curves.empty else charts.accuracy_per_epoch(curves, list(summary["variant"])),
        None if base is None else charts.accuracy_against_time(summary, f"× {base}"),
    )
