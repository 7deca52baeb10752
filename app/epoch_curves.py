"""Mean validation accuracy per epoch of some runs, computed once: reading a thousand runs takes half a second."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import pandas as pd

from app import services
from core import comparison

COLUMNS = ["id", "variant", "technique", "seed"]


def curves(rows: pd.DataFrame, seqs: Mapping[str, int]) -> pd.DataFrame:
    """``core.comparison.curves`` of these rows; ``seqs``: run → ``Run.seq``, which tells when it has new records.

    The table is shared by all who ask: it is not to be changed.
    """
    stamps = tuple((name, seqs[name]) for name in rows["id"])
    named = tuple(rows[COLUMNS].itertuples(index=False, name=None))
    return _curves(services.store().home, stamps, named)


@lru_cache(maxsize=32)
def _curves(
    _home: Path, _stamps: tuple[tuple[str, int], ...], named: tuple[tuple[str, str, str, int], ...]
) -> pd.DataFrame:
    rows = pd.DataFrame(named, columns=COLUMNS)
    records = services.store().metrics(list(rows["id"]), kind="epoch", columns=("epoch", "val_accuracy"))
    return comparison.curves(records, rows)
