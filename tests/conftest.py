"""What every test gets: one thread, fixed seeds, and a Dropscope home of its own."""

import os

# Before torch is imported, and inherited by the processes that tests start: small tensors are faster on one thread,
# and sums have one order.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

from core.jobs import LocalEngine, processes
from core.runs import RunStore

# Hypothesis repeats the same examples in every run, and never fails a test for being slow.
settings.register_profile("dropscope", deadline=None, derandomize=True)
settings.load_profile("dropscope")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def dropscope_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty DROPSCOPE_HOME in the test's tmp_path, also for the processes that the test starts.

    A server shared by several tests outlives it: give that one a folder of ``tmp_path_factory`` in its environment.
    """
    home = tmp_path / "dropscope"
    monkeypatch.setenv("DROPSCOPE_HOME", str(home))
    monkeypatch.delenv("DROPSCOPE_DATA", raising=False)
    return home


@pytest.fixture
def store(dropscope_home: Path) -> RunStore:
    """The store of the test's home; patient, as what else runs on the machine may be busy."""
    return RunStore(dropscope_home, timeout=60.0)


@pytest.fixture
def engine(store: RunStore) -> Iterator[LocalEngine]:
    """An engine for one run at a time; the worker that waits and those at work end with the test."""
    engine = LocalEngine(store, limit=1)
    yield engine
    engine.warm.dismiss()
    for run in store.list():
        if run.owner and run.owner.pid != os.getpid():
            processes.kill(run.owner)
