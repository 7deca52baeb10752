"""Runs on a real Ray of two nodes: nothing is lost with a node, and the other engines keep their hands off."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pandas as pd
import pytest
import ray
import torch
from ray.cluster_utils import Cluster

from core.__main__ import run as command
from core.config import Config
from core.jobs import LocalEngine, processes
from core.jobs.processes import owner_of
from core.jobs.ray_engine import RayEngine
from core.jobs.ray_foreman import Foreman
from core.jobs.ray_worker import Reporter
from core.jobs.worker import carry_out, take, trainer_of
from core.runs import Run, RunStore, SupersededError, steps
from core.training import Progress, Trainer
from tests.waiting import wait_for

SMALL = Config(dataset="digits", technique="dropcorr", epochs=2, device="cpu")
# What must not differ by a bit between a run that lost its machine and one that was left in peace.
EXACT = ["step", "loss", "accuracy", "train_eval_loss", "val_loss", "val_accuracy"]
MEMORY = 80 * 2**20
EPOCHS = 20
# On a busy machine a worker takes long to begin.
PATIENCE = 400.0


@pytest.fixture
def store(dropscope_home: Path) -> Iterator[RunStore]:
    store = RunStore(dropscope_home, timeout=60.0)
    yield store
    for run in store.list():
        if run.owner and run.owner.pid != os.getpid():
            processes.kill(run.owner)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two nodes on this machine, with room for one run each, beside the one of the store, which has none."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": MEMORY})
    for _ in range(2):
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


def first(engine: LocalEngine, condition: Callable[[Run], Any]) -> Run:
    """The first run that fulfils ``condition``."""

    def found() -> Run | None:
        engine.advance()
        return next(filter(condition, engine.store.list()), None)

    return wait_for(found, PATIENCE)


def ended(engine: LocalEngine) -> list[Run]:
    """All runs, the oldest first, once they have ended."""

    def found() -> list[Run]:
        engine.advance()
        runs = engine.store.list()[::-1]
        return runs if all(run.ended for run in runs) else []

    return wait_for(found, PATIENCE)


def undisturbed(config: Config) -> tuple[list[Progress], dict[str, torch.Tensor]]:
    trainer = Trainer(config)
    records = [*trainer.run()]
    return records, trainer.model.state_dict()


def epochs_of(store: RunStore, run_id: str) -> pd.DataFrame:
    return store.metrics(run_id, kind="epoch")


def test_a_node_that_dies_loses_nothing(
    cluster: Cluster, engine: RayEngine, store: RunStore, capfd: pytest.CaptureFixture[str]
) -> None:
    configs = [replace(SMALL, epochs=EPOCHS, seed=seed, snapshots=True) for seed in (0, 1)]
    for config in configs:
        engine.submit(config)
    victim = first(engine, lambda run: run.latest.get("epoch", 0) >= 2 and store.has_state(run.id))
    (doomed,) = [node for node in cluster.worker_nodes if node.node_id == victim.environment["ray_node"]]
    told = epochs_of(store, victim.id)
    cluster.remove_node(doomed, allow_graceful=False)

    for run, config in zip(ended(engine), configs, strict=True):
        assert (run.status, run.attempt) == ("done", 2 if run.id == victim.id else 1), run.reason
        records, weights = undisturbed(config)
        table = epochs_of(store, run.id)
        expected = [record for record in records if record.kind == "epoch"]
        for name in EXACT:
            assert list(table[name]) == [getattr(record, name) for record in expected], name
        assert run.final["test_loss"] == records[-1].test_loss
        kept = store.load_weights(run.id)
        assert all(torch.equal(kept[name], value) for name, value in weights.items())
        assert len([*store.folder(run.id).glob("snapshots/*")]) == EPOCHS + 1
        assert not store.has_state(run.id)
    assert capfd.readouterr().out == ""
    again = epochs_of(store, victim.id).head(len(told))
    assert list(again["loss"]) == list(told["loss"])
    # It went on, and did not begin again: no two trainings take the same time.
    assert again["train_seconds"].iloc[0] == told["train_seconds"].iloc[0]
    assert store.get(victim.id).environment["ray_node"] != doomed.node_id


def test_a_sweep_may_leave_its_runs_to_the_cluster(cluster: Cluster, store: RunStore, tmp_path: Path) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text("name: left alone\ntechniques: [standard, dropact]\nseeds: [3]\nepochs: 2\ndevice: cpu\n")
    words = ["sweep", str(spec), "--json", "--engine", "ray", "--address", cluster.address, "--detach"]
    begun = subprocess.run([sys.executable, "-m", "core", *words], capture_output=True, text=True)
    assert begun.returncode == 0, begun.stdout + begun.stderr
    assert len(begun.stdout.splitlines()) == 2
    waiting = store.list()
    assert len(waiting) == 2
    wait_for(lambda: all(run.ended for run in store.list()), PATIENCE)
    for run in store.list():
        assert (run.status, run.experiment) == ("done", "left alone"), run.reason
        records, weights = undisturbed(Config.from_dict(run.config))
        assert run.final["test_accuracy"] == records[-1].test_accuracy
        kept = store.load_weights(run.id)
        assert all(torch.equal(kept[name], value) for name, value in weights.items())


def test_a_run_on_ray_obeys_the_dashboard_and_outlives_its_worker(
    cluster: Cluster, engine: RayEngine, store: RunStore
) -> None:
    """The dashboard's engine knows nothing of Ray, and yet must not harm its runs."""
    dashboard = LocalEngine(store)
    run_id = engine.submit(replace(SMALL, epochs=4000))
    dashboard.step(run_id, "batch")

    def paused(after: int = 0) -> Run:
        def waits(run: Run) -> bool:
            return run.status == "paused" and run.requested == "pause" and run.latest["step"] > after

        return first(dashboard, waits)

    step = paused().latest["step"]
    batch = steps.load(store.folder(run_id))
    assert batch is not None
    assert batch.step == step
    dashboard.adjust(run_id, {"lr": 1e-4})
    wait_for(lambda: store.get(run_id).marks, PATIENCE)
    dashboard.step(run_id, "epoch")
    assert paused(after=step).latest["epoch"] == 1.0

    dashboard.resume(run_id)
    before = first(dashboard, lambda run: run.latest["epoch"] > 2.0)
    assert before.owner is not None
    assert before.latest["lr"] == 1e-4
    told = epochs_of(store, run_id)
    processes.kill(before.owner)
    after = first(dashboard, lambda run: run.attempt == 2 and run.latest["epoch"] > before.latest["epoch"] + 1.0)
    assert (after.status, after.latest["lr"]) == ("running", 1e-4)
    again = epochs_of(store, run_id).head(len(told))
    assert list(again["loss"]) == list(told["loss"])
    assert again["train_seconds"].iloc[0] == told["train_seconds"].iloc[0]

    dashboard.cancel(run_id)
    (stopped,) = ended(dashboard)
    assert stopped.status == "stopped"
    assert stopped.reason is not None
    assert stopped.reason.startswith("Stopped at epoch ")
    engine.resume(run_id)
    assert first(engine, lambda run: run.attempt == 3 and run.latest["epoch"] > stopped.latest["epoch"]).live
    engine.cancel(run_id, force=True)
    (forced,) = ended(engine)
    assert forced.status == "stopped"


def test_runs_share_a_gpu_and_can_be_resumed_when_the_foreman_is_gone(cluster: Cluster, store: RunStore) -> None:
    # Ray believes that there is one: the runs train on the CPU.
    node = cluster.add_node(num_cpus=8, num_gpus=1, object_store_memory=MEMORY)
    engine = RayEngine(store, cluster.address, cpus_per_run=0.5, gpus_per_run=0.5)
    try:
        ids = [engine.submit(replace(SMALL, epochs=100_000, seed=seed)) for seed in range(3)]

        def running() -> list[Run]:
            engine.advance()
            return [run for run in store.list(status=("running",)) if store.has_state(run.id)]

        both = wait_for(lambda: found if len(found := running()) == 2 else None, PATIENCE)
        (waiting,) = store.list(status=("queued",))
        assert {run.id for run in both} | {waiting.id} == {*ids}
        assert {run.environment["ray_node"] for run in both} == {node.node_id}

        foreman = engine.starter
        assert foreman is not None
        processes.kill(foreman)
        lost = ended(LocalEngine(store))
        assert [run.status for run in lost] == ["lost"] * 3
        assert "it begins again" in str(store.get(waiting.id).reason)
        assert "it goes on from its last saved state" in str(store.get(both[0].id).reason)

        engine.resume(both[0].id)
        again = first(engine, lambda run: run.status == "running" and run.attempt == 2)
        assert again.id == both[0].id
        assert engine.starter != foreman
        engine.cancel(again.id, force=True)
    finally:
        ray.kill(engine._foreman)
        cluster.remove_node(node)


@pytest.fixture
def foreman(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> Foreman:
    """A foreman in this process, whose tasks nobody carries out."""
    monkeypatch.setattr(Foreman, "_task", lambda *_: object())
    return Foreman(str(store.home), watches=False)


def in_hand(foreman: Foreman, store: RunStore, config: Config = SMALL) -> str:
    run_id = store.create(config.to_dict(), starter=foreman.owner())
    foreman.begin(run_id, {"num_cpus": 1})
    return run_id


def taken(foreman: Foreman, run_id: str) -> tuple[Run, bytes | None]:
    found = foreman.take(run_id, owner_of())
    assert found is not None
    return found


def reporter(foreman: Foreman, run_id: str, folder: Path) -> tuple[Run, RunStore]:
    """A worker's run and store, without Ray in between."""
    run, state = taken(foreman, run_id)

    def ask(method: str, *arguments: Any) -> Any:
        return getattr(foreman, method)(*arguments)

    return run, cast(RunStore, Reporter(ask, run, folder, state, {"ray_node": "n"}))


def test_what_a_worker_leaves_arrives_and_nothing_else_is_written(
    foreman: Foreman, store: RunStore, tmp_path: Path
) -> None:
    config = replace(SMALL, snapshots=True)
    run_id = in_hand(foreman, store, config)
    run, reported = reporter(foreman, run_id, tmp_path / "there")
    carry_out(reported, run, lambda: trainer_of(run), heed_signals=False)
    kept = store.get(run_id)
    assert (kept.status, kept.environment["ray_node"]) == ("done", "n")
    records, weights = undisturbed(config)
    assert kept.final["test_loss"] == records[-1].test_loss
    assert all(torch.equal(store.load_weights(run_id)[name], value) for name, value in weights.items())
    assert len([*store.folder(run_id).glob("snapshots/*")]) == 3
    assert not (tmp_path / "there" / "runs.sqlite").exists()


def test_a_worker_that_was_believed_lost_writes_no_more(foreman: Foreman, store: RunStore, tmp_path: Path) -> None:
    run_id = in_hand(foreman, store)
    run, early = reporter(foreman, run_id, tmp_path / "early")
    early.save_state(run_id, {"step": 1})
    late_run, late = reporter(foreman, run_id, tmp_path / "late")
    assert (late_run.attempt, late.load_state(run_id)) == (2, {"step": 1})
    late.save_state(run_id, {"step": 2})
    record = Progress("step", 1, 0.1).to_dict()
    for write in (
        lambda: early.save_state(run_id, {"step": 0}),
        lambda: early.record(run_id, [record], attempt=run.attempt),
        lambda: early.finish(run_id, "done", attempt=run.attempt),
    ):
        with pytest.raises(SupersededError):
            write()
    assert store.load_state(run_id) == {"step": 2}
    assert store.get(run_id).status == "running"


def test_a_run_that_never_gets_further_is_given_up(foreman: Foreman, store: RunStore) -> None:
    run_id = in_hand(foreman, store)
    for attempt in (1, 2, 3):
        assert taken(foreman, run_id)[0].attempt == attempt
    assert foreman.take(run_id, owner_of()) is None

    other = in_hand(foreman, store)
    for epoch in range(1, 8):
        run, _ = taken(foreman, other)
        store.record(other, [Progress("epoch", 10 * epoch, float(epoch)).to_dict()], attempt=run.attempt)


@pytest.mark.parametrize("elsewhere", ["stopped", "queued", "running", "deleted"])
def test_a_run_that_somebody_else_has_is_not_taken(foreman: Foreman, store: RunStore, elsewhere: str) -> None:
    run_id = in_hand(foreman, store)
    taken(foreman, run_id)
    if elsewhere == "running":
        store.finish(run_id, "lost")
        take(store, run_id)
    elif elsewhere == "queued":
        store.change(run_id, lambda _: {"status": "queued", "owner": None})
    else:
        store.finish(run_id, "stopped")
    if elsewhere == "deleted":
        store.delete(run_id)
    before = store.list()
    assert foreman.take(run_id, owner_of()) is None
    assert store.list() == before


def test_the_foreman_leaves_alone_a_run_that_is_at_another_attempt_by_now(
    foreman: Foreman, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "cancel", lambda *_, **__: None)
    run_id = in_hand(foreman, store)
    taken(foreman, run_id)
    store.finish(run_id, "lost")
    take(store, run_id)
    foreman.end_by_force(run_id)
    assert (store.get(run_id).status, store.get(run_id).attempt) == ("running", 2)

    other = in_hand(foreman, store)
    taken(foreman, other)
    store.finish(other, "lost")
    take(store, other)
    store.finish(other, "lost")
    foreman._see_to(foreman._hands[other], store.get(other))
    assert store.get(other).status == "lost"


@pytest.mark.parametrize("name", ["../other/state.pt", "/etc/passwd", "a/../../b"])
def test_a_file_stays_in_the_folder_of_its_run(foreman: Foreman, store: RunStore, name: str) -> None:
    run_id = in_hand(foreman, store)
    with pytest.raises(ValueError, match="is not the name of a file"):
        foreman.put(run_id, taken(foreman, run_id)[0].attempt, name, b"")


def test_a_reason_names_the_file_where_it_lies(foreman: Foreman, store: RunStore, tmp_path: Path) -> None:
    run_id = in_hand(foreman, store)
    run, reported = reporter(foreman, run_id, tmp_path / "there")

    def fail() -> Trainer:
        raise LookupError("no such thing")

    carry_out(reported, run, fail, heed_signals=False)
    log = store.folder(run_id) / "worker.log"
    assert store.get(run_id).reason == f"Training failed with LookupError: no such thing. More is in {log}."
    assert "no such thing" in log.read_text()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--engine", "ray", "--address", "127.0.0.1:1"], "No Ray cluster answers at 127.0.0.1:1 (Connection refused)"),
        (["--engine", "ray", "--address", "ray://a:1"], "Dropscope must run on a machine of the Ray cluster"),
        (["--engine", "ray", "--gpus-per-run", "2"], "gpus-per-run lies between 0 and 1, got 2"),
        (["--engine", "ray", "--cpus-per-run", "0"], "A run needs more than 0 CPU cores"),
        (["--address", "a:1"], "Only --engine ray takes --address"),
    ],
)
def test_a_sweep_that_cannot_be_had_on_ray_begins_nothing(
    store: RunStore, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    spec = tmp_path / "spec.yaml"
    spec.write_text("techniques: [standard]\nseeds: [3]\nepochs: 2\n")
    assert command(["sweep", str(spec), *options]) in (1, 2)
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line
    assert store.list() == []


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
