"""Shipped test accuracies, for lessons that need more runs than a class can wait for."""

from __future__ import annotations

from functools import lru_cache

import pandas as pd

from app.names import techniques
from core import checkpoints
from core.checkpoints.files import SHIPPED
from core.data import load
from core.variants import COLUMNS

TITLES = techniques()
DATASET = "digits"
NETWORKS, SEEDS = "networks", "seeds"
# The digits networks in checkpoints/, one seed each; and the runs of checkpoints/seeds, trained as those were.
TABLES = (NETWORKS, SEEDS)


PATH = SHIPPED / "seeds" / f"{DATASET}.csv"


@lru_cache(maxsize=4)
def rows(table: str) -> pd.DataFrame:
    """The runs of one of ``TABLES`` as ``core.variants.table`` has them; not to be changed."""
    found = _networks() if table == NETWORKS else pd.read_csv(PATH, keep_default_na=False)
    named = [TITLES[name] for name in found["technique"]]
    return found.assign(variant=named, setting=named, dataset=DATASET, status="done").reindex(columns=COLUMNS)


def test_images() -> int:
    """How many images a test accuracy is a share of."""
    return len(load(DATASET).test)


def _networks() -> pd.DataFrame:
    own = [info for info in checkpoints.shipped() if info.dataset == DATASET]
    columns = {"technique": [info.technique for info in own], "test_accuracy": [info.accuracy for info in own]}
    return pd.DataFrame(columns).assign(seed=0)
