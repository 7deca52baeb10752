"""Changing a run while it trains, and taking it through a step at a time."""

import io
import json
import math
import os
import random
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from app import live
from core.checkpoints import export, of_run
from core.config import Config, ConfigError
from core.data import Dataset, load
from core.dropout import dropouts
from core.jobs import JobError, LocalEngine, processes, wishes, worker
from core.jobs.keeper import Keeper
from core.runs import Run, RunStore, steps
from core.training import Progress, Trainer, evaluate
from core.training.changes import as_changes, checked
from tests.waiting import wait_for

SMALL = Config(dataset="digits", technique="dropcorr", epochs=5000, device="cpu", record_every=0.05)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


def paused(engine: LocalEngine, run_id: str, step: int | None = None) -> Run:
    """The run once it is paused, at ``step`` where that is given."""

    def look() -> Run | None:
        run = engine.poll(run_id)
        there = run.status == "paused" and run.requested == "pause" and run.owner is not None
        return run if there and step in (None, run.latest.get("step")) else None

    found: Run = wait_for(look)
    return found


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


def test_a_run_that_is_to_go_on_while_it_takes_a_step_runs_again(store: RunStore, digits: Dataset) -> None:
    config = replace(SMALL, epochs=1, record_every=0.0)
    run_id = store.create(config.to_dict(), owner=processes.owner_of())
    statuses = []

    class Hurried(Trainer):
        """Somebody presses play while it takes its single step."""

        def single(self) -> Any:
            store.request(run_id, "run")
            return super().single()

    def press() -> None:
        wait_for(lambda: store.get(run_id).status == "paused")
        store.request(run_id, "batch")

    store.request(run_id, "pause")
    thread = threading.Thread(target=press)
    thread.start()
    worker.carry_out(
        store,
        store.get(run_id),
        lambda: Hurried(config, digits),
        watch=lambda _: statuses.append(store.get(run_id).status),
    )
    thread.join()
    assert (statuses[0], {*statuses[1:]}) == ("paused", {"running"})


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

    ends_as_one_never_disturbed(store, end, config)


@pytest.mark.slow
def test_a_run_changed_and_killed_again_and_again_ends_as_one_never_disturbed(
    engine: LocalEngine, store: RunStore
) -> None:
    config = replace(SMALL, technique="dropact", epochs=150)
    chance = random.Random(7)
    run_id = engine.submit(config)
    for kill in range(1, 6):
        began = wait_for(lambda: run if (run := engine.poll(run_id)).status == "running" and run.owner else None)
        assert began.attempt == kill
        engine.adjust(run_id, {"p": chance.random(), "lr": chance.uniform(1e-4, 1e-3)})
        target = began.latest.get("step", 0) + chance.randrange(40)
        wait_for(lambda: store.get(run_id).latest.get("step", 0) > target)  # noqa: B023, it is awaited here
        os.kill(store.get(run_id).owner.pid, signal.SIGKILL)
        wait_for(lambda: engine.poll(run_id).status == "lost")
        engine.resume(run_id)
    end = wait_for(lambda: run if (run := engine.poll(run_id)).ended else None)
    assert (end.status, end.reason) == ("done", None)
    assert store.orders(run_id) == []
    assert len(end.marks) > 1
    ends_as_one_never_disturbed(store, end, config)


def ends_as_one_never_disturbed(store: RunStore, end: Run, config: Config, data: Dataset | None = None) -> None:
    """The weights of ``end`` are those of a training in which the changes were made at the steps of its marks."""
    undisturbed = Trainer(config, data)
    plan = {mark["step"]: as_changes(mark["changes"]) for mark in end.marks}
    while undisturbed.status == "running":
        if undisturbed.step in plan:
            undisturbed.adjust(plan.pop(undisturbed.step))
        undisturbed.advance(steps=1)
    saved = store.load_weights(end.id)
    assert all(torch.equal(saved[name], value) for name, value in undisturbed.model.state_dict().items())


REPEATED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"technique": "none"}, {"lr": 1e-2}),
    ({"technique": "standard", "schedule": "alternate"}, {"p": (0.1, 0.9), "knobs": {"vanilla": True}}),
    ({"technique": "dropconnect"}, {"p": 0.7, "knobs": {"mask": "example", "draws": 3}}),
    ({"technique": "variational"}, {"p": 0.8}),
    ({"technique": "variational", "knobs": {"kl": "kingma", "form": "weight"}}, {"p": 0.1}),
    ({"technique": "standout", "knobs": {"learn": True}}, {"p": 0.2}),
    ({"technique": "standout"}, {"knobs": {"alpha": -1.0, "beta": 0.5}}),
    ({"technique": "dropact"}, {"knobs": {"count": "active", "rescale": "unbiased", "clamp": float("inf")}}),
    ({"technique": "dropcorr"}, {"knobs": {"refresh_every": 3}}),
    ({"technique": "dropcorr", "refresh_epochs": 0.5, "schedule": "linear"}, {"p": 0.6}),
]


def names(case: dict[str, Any]) -> str:
    return "-".join(str(value) for value in case.values())


@pytest.mark.parametrize(("settings", "change"), REPEATED, ids=names)
def test_changes_are_made_again_where_they_were_made(
    digits: Dataset, settings: dict[str, Any], change: dict[str, Any]
) -> None:
    """Whatever state a run goes on from: from before the changes, from between them, or from their very step."""
    few = replace(digits, train=digits.train.take(torch.arange(230)))  # three steps an epoch
    config = replace(SMALL, epochs=3, width=0.25, record_every=1e9, **settings)
    run, marks, states = Trainer(config, few), [], {}
    while run.status == "running":
        if run.step in (2, 4):
            states[f"{run.step} before"] = saved(run)
            marks.append((run.step, json.loads(json.dumps(run.adjust({"lr": 5e-3} if run.step == 2 else change)))))
        states[str(run.step)] = saved(run)
        end = run.advance(steps=1)
    assert all(changes for _, changes in marks)
    for place, state in states.items():
        again = Trainer(config, few)
        again.load_state(torch.load(io.BytesIO(state), weights_only=True))
        again.plan(marks)
        *_, last = again.run()
        assert not again.planned
        assert (last.test_loss, last.test_accuracy, last.p) == (end.test_loss, end.test_accuracy, end.p)
        for name, value in run.model.state_dict().items():
            assert torch.equal(value, again.model.state_dict()[name]), f"{name} from step {place}"


def saved(run: Trainer) -> bytes:
    file = io.BytesIO()
    torch.save(run.state(), file)
    return file.getvalue()


def _interrupt() -> None:
    raise InterruptedError


def test_an_epoch_is_evaluated_as_it_was_trained_whenever_a_change_was_ordered(
    store: RunStore, digits: Dataset
) -> None:
    """Stopped within the evaluation, resumed, changed at that very step, killed before anything is saved, resumed."""
    few = replace(digits, train=digits.train.take(torch.arange(230)))  # three steps an epoch
    # Evaluated by sampling with p: a change of p shows.
    config = replace(SMALL, technique="dropconnect", epochs=2, width=0.25, record_every=1e9)
    run_id = store.create(config.to_dict(), owner=processes.owner_of())

    def begun() -> tuple[Trainer, Keeper]:
        trainer, keeper = Trainer(config, few), Keeper(store, store.get(run_id))
        keeper.restore(trainer)
        return trainer, keeper

    trainer, keeper = begun()
    trainer.between = _interrupt
    with pytest.raises(InterruptedError):
        trainer.advance()
    keeper.save(trainer)
    stopped = store.load_state(run_id)
    assert stopped is not None

    store.order(run_id, {"p": 0.9}, lambda _: None)
    for _ in range(2):
        store.save_state(run_id, stopped)
        trainer, keeper = begun()
        keeper.adjust(trainer)
        evaluated = trainer.advance()
        keeper.adjust(trainer)
    assert [mark["step"] for mark in store.get(run_id).marks] == [3]

    undisturbed = Trainer(config, few)
    expected = undisturbed.advance()
    undisturbed.adjust({"p": 0.9})
    for name in ("val_loss", "val_accuracy", "train_eval_loss", "p"):
        assert getattr(evaluated, name) == getattr(expected, name), name
    after, wanted = trainer.advance(), undisturbed.advance()
    assert (after.p, after.loss, after.val_loss) == (wanted.p, wanted.loss, wanted.val_loss)
    assert after.p == (0.9, 0.9)


def test_a_change_after_an_early_end_does_not_change_the_test(store: RunStore, digits: Dataset) -> None:
    config = replace(SMALL, technique="dropconnect", epochs=50, time_budget=1e-9)
    run_id = store.create(config.to_dict(), owner=processes.owner_of())
    trainer, keeper = Trainer(config, digits), Keeper(store, store.get(run_id))
    trainer.advance()
    store.order(run_id, {"p": 0.95}, lambda _: None)
    keeper.adjust(trainer)
    assert trainer.advance().p == (0.2, 0.2)
    assert (store.get(run_id).marks, trainer.status) == ((), "done")


def test_under_a_schedule_the_p_that_it_starts_from_changes(digits: Dataset) -> None:
    few = replace(digits, train=digits.train.take(torch.arange(230)))
    run = Trainer(replace(SMALL, technique="standard", epochs=4, schedule="alternate", record_every=1e9), few)
    records = [run.advance()]
    run.adjust({"p": (0.5, 0.6)})
    records += [run.advance() for _ in range(2)]
    assert [record.p for record in records] == [(0.2, 0.2), (0.0, 0.0), (0.5, 0.6)]


def test_a_noise_that_is_learned_starts_again_from_a_new_p(digits: Dataset) -> None:
    run = Trainer(replace(SMALL, technique="variational"), digits)
    assert run.adjust({"p": 0.75}) == [{"name": "p", "before": "learned", "after": 0.75}]
    assert [layer.alpha.item() for layer in dropouts(run.model)] == pytest.approx([3.0, 3.0], rel=1e-5)


def test_a_new_change_comes_after_those_that_are_made_again(store: RunStore, digits: Dataset) -> None:
    config = replace(SMALL, technique="standard", epochs=2, record_every=0.0)
    run_id = store.create(config.to_dict(), owner=processes.owner_of())
    mark = {"step": 3, "epoch": 0.2, "seconds": 1.0, "changes": [{"name": "lr", "before": 5e-4, "after": 1e-2}]}
    store.mark(run_id, [], mark)
    store.order(run_id, {"lr": 1e-4}, lambda _: None)
    trainer = Trainer(config, digits)
    keeper = Keeper(store, store.get(run_id))
    keeper.restore(trainer)
    rates = []
    for _ in range(6):
        keeper.adjust(trainer)
        rates.append(trainer.advance(steps=1).lr)
    assert rates == [5e-4] * 3 + [1e-2] + [1e-4] * 2
    assert [mark["step"] for mark in store.get(run_id).marks] == [3, 4]
    assert store.orders(run_id) == []


def test_changes_at_one_step_are_one_mark_and_none_where_all_is_as_before(store: RunStore, digits: Dataset) -> None:
    config = replace(SMALL, technique="dropact")
    run_id = store.create(config.to_dict(), owner=processes.owner_of())
    trainer, keeper = Trainer(config, digits), Keeper(store, store.get(run_id))

    def order(**changes: Any) -> list[list[dict[str, Any]]]:
        store.order(run_id, changes, lambda _: None)
        keeper.adjust(trainer)
        return [mark["changes"] for mark in store.get(run_id).marks]

    assert order(p=0.4) == [[{"name": "p", "before": 0.2, "after": 0.4}]]
    assert order(p=0.6, knobs={"clamp": math.inf}) == [
        [{"name": "p", "before": 0.2, "after": 0.6}, {"name": "clamp", "before": 10.0, "after": math.inf}]
    ]
    shown = live.snapshot(store, [run_id], 0)["runs"][run_id]["marks"]
    assert json.dumps(shown, allow_nan=False).count("\\u221e") == 1
    assert order(p=0.2, knobs={"clamp": 10.0}) == []


def test_a_change_after_the_last_step_does_not_change_the_test(store: RunStore, digits: Dataset) -> None:
    config = replace(SMALL, technique="dropconnect", epochs=1)
    run_id = store.create(config.to_dict(), owner=processes.owner_of())
    trainer, keeper = Trainer(config, digits), Keeper(store, store.get(run_id))
    while trainer.step < trainer.total_steps:
        keeper.take(trainer.advance(), trainer)
    store.order(run_id, {"p": 0.95}, lambda _: None)
    keeper.adjust(trainer)
    assert trainer.advance().p == (0.2, 0.2)
    assert store.get(run_id).marks == ()


@pytest.mark.parametrize("resumed", [False, True])
def test_a_change_taken_back_while_paused_is_not_in_what_the_run_goes_on_from(
    store: RunStore, digits: Dataset, resumed: bool
) -> None:
    run_id = store.create(SMALL.to_dict(), owner=processes.owner_of())
    trainer, keeper = Trainer(SMALL, digits), Keeper(store, store.get(run_id))
    keeper.take(trainer.advance(steps=1), trainer, single=True)
    store.order(run_id, {"lr": 0.1}, lambda _: None)
    keeper.adjust(trainer)
    keeper.save(trainer)
    if resumed:
        trainer, keeper = Trainer(SMALL, digits), Keeper(store, store.get(run_id))
        keeper.restore(trainer)
    store.order(run_id, {"lr": SMALL.lr}, lambda _: None)
    keeper.adjust(trainer)
    killed = store.get(run_id)
    assert killed.marks == ()
    again = Trainer(SMALL, digits)
    Keeper(store, killed).restore(again)
    assert again.advance(steps=1).lr == SMALL.lr


@pytest.mark.parametrize(
    ("technique", "changes"),
    [("dropconnect", {"p": 0.9}), ("standard", {"p": [0.8, 0.9], "knobs": {"vanilla": True}})],
)
def test_the_network_of_a_changed_run_evaluates_as_it_was_trained_last(
    store: RunStore, digits: Dataset, technique: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    config = replace(SMALL, technique=technique, epochs=2)
    run_id = store.create(config.to_dict(), owner=processes.owner_of())
    store.order(run_id, changes, lambda _: None)
    run = worker.carry_out(store, store.get(run_id), lambda: Trainer(config, digits))
    checkpoint = of_run(store, run)
    assert evaluate(checkpoint.model(), digits, digits.test)[1] == run.final["test_accuracy"]
    plain = of_run(store, replace(run, marks=()))
    assert evaluate(plain.model(), digits, digits.test)[0] != pytest.approx(run.final["test_loss"], abs=1e-3)
    command = export(store, run, tmp_path / "changed").command
    assert "  # changed while it trained: p 0.2 → " in command
    assert command.endswith(" before step 1")


def test_a_change_that_the_saved_state_holds_has_its_mark_though_the_process_was_killed_before(
    store: RunStore, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = store.create(SMALL.to_dict(), owner=processes.owner_of())
    trainer, keeper = Trainer(SMALL, digits), Keeper(store, store.get(run_id))
    keeper.restore(trainer)
    trainer.advance(steps=1)
    keeper.save(trainer)
    for changes in ({"lr": 0.01}, {"p": [0.1, 0.2, 0.3]}):
        store.order(run_id, changes, lambda _: None)
    with monkeypatch.context() as killed:
        killed.setattr(store, "mark", lambda *_, **__: _interrupt())
        with pytest.raises(InterruptedError):
            keeper.adjust(trainer)
    assert (store.get(run_id).marks, len(store.orders(run_id))) == ((), 2)

    for _ in range(2):  # the second finds nothing left to do
        trainer, keeper = Trainer(SMALL, digits), Keeper(store, store.get(run_id))
        keeper.restore(trainer)
        keeper.adjust(trainer)
        assert trainer.advance(steps=1).lr == 0.01
        (mark,) = store.get(run_id).marks
        assert (mark["step"], mark["changes"]) == (1, [{"name": "lr", "before": SMALL.lr, "after": 0.01}])
        assert (store.orders(run_id), len(refusals(store, run_id))) == ([], 1)


@pytest.mark.parametrize("when", [3, 4], ids=["a change that the saved state holds", "one after it"])
def test_a_run_that_fails_from_a_change_goes_on_once_that_is_taken_back(
    engine: LocalEngine, store: RunStore, digits: Dataset, monkeypatch: pytest.MonkeyPatch, when: int
) -> None:
    monkeypatch.setattr(wishes, "LOOK_EVERY", 0.0)
    few = replace(digits, train=digits.train.take(torch.arange(230)))  # three steps an epoch
    config = replace(SMALL, technique="standard", epochs=4, width=0.25, record_every=0.0)
    run_id = store.create(config.to_dict(), owner=processes.owner_of())

    def spoil(progress: Progress) -> None:
        if progress.step == when and store.get(run_id).attempt == 1:
            store.order(run_id, {"lr": 1e9}, lambda _: None)

    def train(run: Run) -> Run:
        return worker.carry_out(store, run, lambda: Trainer(config, few), watch=spoil)

    with pytest.raises(JobError, match="is running: stop it"):
        engine.take_back(run_id)
    failed = train(store.get(run_id))
    state = store.load_state(run_id)
    assert (failed.status, failed.marks[0]["step"], state and state["step"]) == ("failed", when, 3)
    assert " lower the learning rate or p. It was changed before step " in str(failed.reason)
    assert f"{when + 1} (lr 0.0005 → 1e+09), and would go on so: `python -m core runs take-back {run_id}`" in str(
        failed.reason
    )
    again = train(worker.take(store, run_id))
    assert (again.status, again.marks) == ("failed", failed.marks)

    back = engine.take_back(run_id)
    assert f"The change before step {when + 1} (lr 0.0005 → 1e+09) is taken back. Resume it" in str(back.reason)
    if when == 4:
        assert store.metrics(run_id)["step"].max() == when, "what came of the change is forgotten"
    end = train(worker.take(store, run_id))
    assert (end.status, end.reason, end.marks, end.orders) == ("done", None, (), ())
    ends_as_one_never_disturbed(store, end, config, few)
    with pytest.raises(JobError, match="is done: start a new one"):
        engine.take_back(run_id)


def test_what_cannot_be_taken_back_says_why(engine: LocalEngine, store: RunStore) -> None:
    run_id = store.create(SMALL.to_dict())
    store.finish(run_id, "stopped")
    with pytest.raises(JobError, match="was not changed while it trained"):
        engine.take_back(run_id)
    learned = {"name": "p", "before": "learned", "after": 0.5}
    store.mark(run_id, [], {"step": 2, "epoch": 0.1, "seconds": 1.0, "changes": [learned]})
    store.save_state(run_id, {"trainer": {"step": 2}, "step": 2})
    with pytest.raises(JobError, match="is not kept: start a new run"):
        engine.take_back(run_id)
    assert (store.get(run_id).marks[0]["changes"], store.orders(run_id)) == ([learned], [])


def refusals(store: RunStore, run_id: str) -> list[tuple[dict[str, Any], str | None]]:
    return [(order["changes"], order["refused"]) for order in store.get(run_id).orders]


def test_an_order_that_does_not_fit_the_network_is_refused_to_who_gave_it(store: RunStore, digits: Dataset) -> None:
    run_id = store.create(SMALL.to_dict(), owner=processes.owner_of())
    wrong = {"p": [0.1, 0.2, 0.3]}
    for changes in (wrong, {"lr": 0.01}):
        store.order(run_id, changes, lambda _: None)
    assert live.state(store.get(run_id))["waiting"] == 2
    trainer = Trainer(SMALL, digits)
    Keeper(store, store.get(run_id)).adjust(trainer)
    sentence = "This network has 2 dropout positions, but p has 3 values; give one each."
    assert refusals(store, run_id) == [(wrong, sentence)]
    assert (store.orders(run_id), trainer.advance(steps=1).lr) == ([], 0.01)
    state = live.state(store.get(run_id))
    assert (state["waiting"], state["refused"]["sentence"]) == (0, sentence)
    assert [each["name"] for mark in store.get(run_id).marks for each in mark["changes"]] == ["lr"]

    store.order(run_id, {"lr": 0.1}, lambda _: None)
    assert refusals(store, run_id) == [({"lr": 0.1}, None)]
    assert live.state(store.get(run_id))["refused"] is None


@pytest.mark.parametrize(
    ("end", "refused"), [("done", "The run ended before it could make this change: it had taken its last step.")]
    + [(end, None) for end in ("stopped", "failed", "lost")],
)  # fmt: skip
def test_an_order_that_comes_as_a_run_ends_waits_for_a_resume_or_is_refused(
    store: RunStore, end: str, refused: str | None
) -> None:
    run_id = store.create(SMALL.to_dict(), owner=processes.owner_of())
    other = store.create(SMALL.to_dict(), owner=processes.owner_of())
    for each in (run_id, other):
        store.order(each, {"lr": 0.1}, lambda _: None)
    store.finish(run_id, end, attempt=1)
    assert refusals(store, run_id) == [({"lr": 0.1}, refused)]
    assert len(store.orders(run_id)) == (refused is None)
    assert refusals(store, other) == [({"lr": 0.1}, None)]


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
