"""Runs on a real Ray of two nodes: nothing is lost with a node, and the other engines keep their hands off."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import ray
import torch
from ray.cluster_utils import Cluster

from core.config import Config
from core.jobs import LocalEngine, processes
from core.jobs.processes import owner_of
from core.jobs.ray_engine import RayEngine
from core.runs import Run, RunStore
from core.training import Progress, Trainer
from tests.waiting import wait_for

SMALL = Config(dataset="digits", technique="dropcorr", epochs=2, device="cpu")
# What must not differ by a bit between a run that lost its machine and one that was left in peace.
EXACT = ["step", "loss", "accuracy", "train_eval_loss", "val_loss", "val_accuracy"]
MEMORY = 80 * 2**20


@pytest.fixture
def store(dropscope_home: Path) -> Iterator[RunStore]:
    store = RunStore(dropscope_home, timeout=60.0)
    yield store
    for run in store.list():
        if run.owner and run.owner.pid != os.getpid():
            processes.kill(run.owner)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes on this machine, with room for one run each."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": MEMORY})
    cluster.add_node(num_cpus=1, object_store_memory=MEMORY)
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def engine(cluster: Cluster, store: RunStore) -> Iterator[RayEngine]:
    engine = RayEngine(store, cluster.address)
    yield engine
    ray.kill(engine._foreman)


def reached(engine: RayEngine, ids: list[str], condition: Callable[[Run], Any]) -> list[Run]:
    """The runs once all of them fulfil ``condition`` or have ended."""

    def found() -> list[Run]:
        runs = [engine.poll(run_id) for run_id in ids]
        return runs if all(run.ended or condition(run) for run in runs) else []

    return wait_for(found)


def undisturbed(config: Config) -> tuple[list[Progress], dict[str, torch.Tensor]]:
    trainer = Trainer(config)
    records = [*trainer.run()]
    return records, trainer.model.state_dict()


def epochs_of(store: RunStore, run_id: str) -> pd.DataFrame:
    return store.metrics(run_id, kind="epoch")


def test_a_node_that_dies_loses_nothing(cluster: Cluster, engine: RayEngine, store: RunStore) -> None:
    configs = [replace(SMALL, epochs=40, seed=seed, snapshots=True) for seed in (0, 1)]
    ids = [engine.submit(config) for config in configs]
    runs = reached(engine, ids, lambda run: run.latest.get("epoch", 0) >= 3 and store.has_state(run.id))
    (doomed,) = cluster.worker_nodes
    (victim,) = [run for run in runs if run.environment["ray_node"] == doomed.node_id]
    told = epochs_of(store, victim.id)
    cluster.remove_node(doomed, allow_graceful=False)

    for run, config in zip(reached(engine, ids, lambda _: False), configs, strict=True):
        assert (run.status, run.attempt) == ("done", 2 if run.id == victim.id else 1), run.reason
        records, weights = undisturbed(config)
        table = epochs_of(store, run.id)
        expected = [record for record in records if record.kind == "epoch"]
        for name in EXACT:
            assert list(table[name]) == [getattr(record, name) for record in expected], name
        assert run.final["test_loss"] == records[-1].test_loss
        kept = store.load_weights(run.id)
        assert all(torch.equal(kept[name], value) for name, value in weights.items())
        assert len([*store.folder(run.id).glob("snapshots/*")]) == 41
        assert not store.has_state(run.id)
    again = epochs_of(store, victim.id).head(len(told))
    assert list(again["loss"]) == list(told["loss"])
    assert store.get(victim.id).environment["ray_node"] != doomed.node_id


def test_a_sweep_may_leave_its_runs_to_the_cluster(cluster: Cluster, store: RunStore, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text("name: left alone\ntechniques: [standard, dropact]\nseeds: [3]\nepochs: 2\ndevice: cpu\n")
    command = [sys.executable, "-m", "core", "sweep", str(spec), "--json", "--engine", "ray"]
    begun = subprocess.run([*command, "--address", cluster.address, "--detach"], capture_output=True, text=True)
    assert begun.returncode == 0, begun.stdout + begun.stderr
    assert len(begun.stdout.splitlines()) == 2
    waiting = store.list()
    assert len(waiting) == 2
    wait_for(lambda: all(run.ended for run in store.list()))
    for run in store.list():
        assert (run.status, run.experiment) == ("done", "left alone"), run.reason
        records, weights = undisturbed(Config.from_dict(run.config))
        assert run.final["test_accuracy"] == records[-1].test_accuracy
        kept = store.load_weights(run.id)
        assert all(torch.equal(kept[name], value) for name, value in weights.items())


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
