"""Runs on a real Ray of two nodes: nothing is lost with a node, and the other engines keep their hands off."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.config import Config
from core.jobs import LocalEngine, processes
from core.jobs.processes import owner_of
from core.runs import RunStore

SMALL = Config(dataset="digits", technique="dropcorr", epochs=2, device="cpu")


@pytest.fixture
def store(dropscope_home: Path) -> Iterator[RunStore]:
    store = RunStore(dropscope_home, timeout=60.0)
    yield store
    for run in store.list():
        if run.owner and run.owner.pid != os.getpid():
            processes.kill(run.owner)


def test_a_run_that_waits_for_its_starter_is_left_alone_while_that_is_there(store: RunStore) -> None:
    with subprocess.Popen(["sleep", "600"]) as starter:
        reserved = store.create(SMALL.to_dict(), starter=owner_of(starter.pid))
        other = store.create(SMALL.to_dict())
        claimed = store.claim(owner_of(), 8)
        assert claimed is not None
        assert claimed.id == other
        assert store.claim(owner_of(), 8) is None
        LocalEngine(store).advance()
        assert (store.get(reserved).status, store.get(reserved).attempt) == ("queued", 0)
        starter.kill()
    LocalEngine(store).advance()
    lost = store.get(reserved)
    assert lost.status == "lost"
    assert lost.reason is not None
    assert lost.reason.startswith("What was to start it on another machine has ended. Resume it in the dashboard")
    store.finish(other, "stopped")
    LocalEngine(store, limit=1).resume(reserved)
    assert store.get(reserved).status == "running"
