"""Changing a run while it trains, and taking it through a step at a time."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from app import live
from core.config import Config, ConfigError
from core.data import Dataset, load
from core.jobs import JobError, LocalEngine, processes
from core.runs import Run, RunStore, steps
from core.training import Trainer
from core.training.changes import as_changes, checked
from tests.waiting import wait_for

SMALL = Config(dataset="digits", technique="dropcorr", epochs=5000, device="cpu", record_every=0.05)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


@pytest.fixture
def store(dropscope_home: Path) -> RunStore:
    return RunStore(dropscope_home, timeout=60.0)


@pytest.fixture
def engine(store: RunStore) -> Iterator[LocalEngine]:
    engine = LocalEngine(store, limit=1)
    yield engine
    for run in store.list():
        if run.owner and run.owner.pid != os.getpid():
            processes.kill(run.owner)


def paused(engine: LocalEngine, run_id: str, step: int | None = None) -> Run:
    """The run once it is paused, at ``step`` where that is given."""

    def look() -> Run | None:
        run = engine.poll(run_id)
        there = run.status == "paused" and run.requested == "pause" and run.owner is not None
        return run if there and step in (None, run.latest.get("step")) else None

    found: Run = wait_for(look)
    return found


def marks(store: RunStore, run_id: str) -> list[list[dict[str, Any]]]:
    return [mark["changes"] for mark in store.get(run_id).marks]


def test_a_run_goes_by_batches_and_epochs_as_asked(engine: LocalEngine, store: RunStore) -> None:
    run_id = engine.submit(replace(SMALL, record_every=100.0))
    engine.step(run_id, "batch")
    first = paused(engine, run_id)
    assert first.latest["step"] >= 1
    step = first.latest["step"]
    for more in (1, 2):
        engine.step(run_id, "batch")
        assert paused(engine, run_id, step + more).latest["loss"] > 0
        batch = steps.load(store.folder(run_id))
        assert batch is not None
        assert (batch.step, len(batch.places)) == (step + more, 2)
    engine.step(run_id, "epoch")
    whole = wait_for(lambda: run if (run := paused(engine, run_id)).latest["epoch"] % 1 == 0 else None)
    assert whole.latest["val_loss"] > 0
    assert store.has_state(run_id)


def test_a_change_takes_effect_at_the_next_step_and_leaves_a_mark(engine: LocalEngine, store: RunStore) -> None:
    run_id = engine.submit(SMALL)
    engine.step(run_id, "epoch")
    before = paused(engine, run_id)
    engine.adjust(run_id, {"p": 0.4, "lr": 1e-3, "knobs": {"clamp": 5.0}})
    run = wait_for(lambda: run if (run := store.get(run_id)).marks else None)
    (mark,) = run.marks
    assert (mark["step"], mark["epoch"]) == (before.latest["step"], before.latest["epoch"])
    assert mark["changes"] == [
        {"name": "p", "before": 0.2, "after": 0.4},
        {"name": "lr", "before": 5e-4, "after": 1e-3},
        {"name": "clamp", "before": 10.0, "after": 5.0},
    ]
    assert run.config["lr"] == 5e-4, "the settings stay what the run was begun with"
    engine.step(run_id, "batch")
    after = paused(engine, run_id, before.latest["step"] + 1)
    assert (after.latest["p"], after.latest["lr"]) == ([0.4, 0.4], 1e-3)
    assert live.snapshot(store, [run_id], 0)["runs"][run_id]["marks"] == [mark]


def test_a_changed_run_that_is_killed_ends_bit_identical_to_one_never_disturbed(
    engine: LocalEngine, store: RunStore
) -> None:
    config = replace(SMALL, technique="standard", epochs=30, schedule="linear")
    run_id = engine.submit(config)
    engine.step(run_id, "epoch")
    paused(engine, run_id)
    engine.step(run_id, "batch")
    run = paused(engine, run_id)
    # Nothing is saved after this change but its mark.
    engine.adjust(run_id, {"p": (0.3, 0.6), "lr": 2e-3})
    wait_for(lambda: store.get(run_id).marks)
    engine.resume(run_id)
    wait_for(lambda: engine.poll(run_id).latest["step"] > run.latest["step"])
    killed = store.get(run_id)
    assert killed.owner is not None
    os.kill(killed.owner.pid, signal.SIGKILL)
    wait_for(lambda: engine.poll(run_id).status == "lost")
    state = store.load_state(run_id)
    assert state is not None
    engine.resume(run_id)
    end = wait_for(lambda: run if (run := engine.poll(run_id)).ended else None)
    assert end.status == "done"

    undisturbed = Trainer(config)
    plan = {mark["step"]: as_changes(mark["changes"]) for mark in end.marks}
    while undisturbed.status == "running":
        if undisturbed.step in plan:
            undisturbed.adjust(plan.pop(undisturbed.step))
        undisturbed.advance(steps=1)
    saved = store.load_weights(run_id)
    assert all(torch.equal(saved[name], value) for name, value in undisturbed.model.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "changes", "sentence"),
    [
        ({}, {}, "Say what is to change: p, lr or a knob."),
        ({}, {"epochs": 3}, "Of a run that trains p, lr and knobs can change, not epochs."),
        ({}, {"p": 1.5}, "p is the probability of dropping and must lie between 0 and 1, got 1.5."),
        ({}, {"p": (0.1, 0.2, 0.3)}, "This network has 2 dropout positions, but p has 3 values; give one each."),
        ({}, {"lr": 0}, "lr must be a number above 0, got 0."),
        ({}, {"knobs": {"vanilla": True}}, "dropcorr has no option 'vanilla'"),
        ({}, {"knobs": {"rescale": "unbiased"}}, "rescale must be one of 'none', 'uniform', 'mass', got 'unbiased'"),
        ({"refresh_epochs": 1.0}, {"knobs": {"refresh_every": 3}}, "follows this run's refresh_epochs"),
        ({"technique": "none"}, {"p": 0.5}, "trains without dropout: only its learning rate can change."),
        ({"technique": "standout"}, {"knobs": {"learn": True}}, "learn decides which parameters the network has"),
        ({"technique": "standout", "knobs": {"learn": True}}, {"knobs": {"alpha": 2.0}}, "alpha is learned"),
        ({"technique": "variational"}, {"knobs": {"form": "weight"}}, "start a new run with it."),
    ],
    ids=lambda value: "-".join(map(str, value)) if isinstance(value, dict) else None,
)
def test_what_a_run_cannot_take_is_refused_at_once(
    settings: dict[str, Any], changes: dict[str, Any], sentence: str, digits: Dataset
) -> None:
    config = replace(SMALL, **settings)
    with pytest.raises(ConfigError) as refusal:
        checked(config, changes, 2)
    assert sentence in str(refusal.value)
    trainer = Trainer(config, digits)
    with pytest.raises(ConfigError):
        trainer.adjust(changes)


def test_an_ended_run_takes_no_change_and_an_unknown_unit_is_refused(engine: LocalEngine, store: RunStore) -> None:
    run_id = store.create(SMALL.to_dict())
    store.finish(run_id, "done")
    with pytest.raises(JobError, match="is done, so nothing of it can change"):
        engine.adjust(run_id, {"lr": 1e-3})
    with pytest.raises(JobError, match="one batch or one epoch, not by 'week'"):
        engine.step(run_id, "week")  # type: ignore[arg-type]
    assert store.orders(run_id) == []
