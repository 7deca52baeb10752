"""The queue: its order and times against a plain simulation, for this machine's runs only, whoever submits."""

import multiprocessing
import random
from pathlib import Path
from typing import Any

import pytest

from app import live
from core.cli.following import progress
from core.cli.run_commands import duration, place
from core.config import Config
from core.jobs import LocalEngine, processes
from core.jobs.places import Pace, Queue, Turn, turns
from core.jobs.processes import owner_of
from core.runs import Owner, Run, RunStore

NOW = 1.8e9
HERE, ELSEWHERE = owner_of(), Owner("another machine", 1, 1.0)


def trained(
    store: RunStore, *, epoch: float, seconds: float, startup: float = 0.0, owner: Owner = HERE, **config: Any
) -> Run:
    """A run at work, with a record of its time."""
    run_id = store.create(Config(**config).to_dict(), {"startup_seconds": startup}, owner=owner)
    times = {"epoch": epoch, "train_seconds": 0.75 * seconds, "eval_seconds": 0.25 * seconds}
    store.record(run_id, [{"kind": "epoch", "step": 1, **times}] if epoch else [])
    return store.change(run_id, lambda _: {"seen": NOW})


def queued(store: RunStore, **config: Any) -> str:
    return store.create(Config(**config).to_dict())


def test_those_that_wait_begin_as_places_become_free(store: RunStore) -> None:
    """Two places: free after 3 × 2 s and 1 × 4 s; each that waits takes 1 s to start and 10 × 2 or 4 s."""
    done = trained(store, epoch=10, seconds=20, startup=1.0, epochs=10, seed=1)
    store.finish(done.id, "done")
    first = trained(store, epoch=7, seconds=14, epochs=10)
    second = trained(store, epoch=4, seconds=16, epochs=5, technique="dropcorr")
    waiting = [queued(store, epochs=10, seed=2), queued(store, epochs=10, technique="none"), queued(store, epochs=10)]
    found = turns(store.list(status=("queued", "running")), 2, Pace([done]), NOW)
    assert (found[first.id], found[second.id]) == (Turn(None, None, 6.0), Turn(None, None, 4.0))
    assert [found[each] for each in waiting] == [Turn(1, 4.0, 25.0), Turn(2, 6.0, 27.0), Turn(3, 25.0, 46.0)]


def test_turns_agree_with_a_simulation_second_by_second(store: RunStore) -> None:
    """The oracle lets whole seconds pass and hands out places as they become free."""
    dice = random.Random(3)
    done = trained(store, epoch=1, seconds=1, epochs=1)
    store.finish(done.id, "done")
    left = {}
    for _ in range(3):
        rest = dice.randint(1, 9)
        left[trained(store, epoch=10, seconds=10, epochs=10 + rest).id] = rest
    lengths = {queued(store, epochs=n): n for n in (dice.randint(1, 9) for _ in range(12))}
    found = turns(store.list(status=("queued", "running")), 3, Pace([done]), NOW)
    second, waiting = 0, list(lengths)
    while left:
        while len(left) < 3 and waiting:
            begun = waiting.pop(0)
            assert found[begun].starts_in == second
            left[begun] = lengths[begun]
        second += 1
        left = {run_id: rest - 1 for run_id, rest in left.items()}
        for run_id in [run_id for run_id, rest in left.items() if not rest]:
            assert found[run_id].ends_in == second
            del left[run_id]


def test_where_more_train_than_the_limit_the_first_to_end_make_no_place(store: RunStore) -> None:
    for epochs in (11, 15, 19):
        trained(store, epoch=10, seconds=10, epochs=epochs)
    first, second = queued(store), queued(store)
    found = turns(store.list(), 2, Pace(()), NOW)
    assert (found[first], found[second]) == (Turn(1, 5.0, None), Turn(2, 9.0, None))


def test_times_are_of_the_likest_runs_and_unknown_where_there_are_none(store: RunStore) -> None:
    measured = [
        trained(store, epoch=2, seconds=2, epochs=2, technique="standard"),
        trained(store, epoch=2, seconds=6, epochs=2, technique="dropcorr"),
        trained(store, epoch=2, seconds=98, epochs=2, technique="standard", width=2.0),
        trained(store, epoch=2, seconds=98, epochs=2, technique="standard", owner=ELSEWHERE),
        trained(store, epoch=0, seconds=0, epochs=2, technique="dropact"),
    ]
    pace = Pace(measured)

    def remaining(**config: Any) -> float:
        return pace.remaining(store.get(queued(store, epochs=10, **config)), NOW)

    assert remaining(technique="standard") == 10
    assert remaining(technique="dropcorr") == 30
    assert remaining(technique="dropact") == 20  # nothing like it but the technique: the median of 1 and 3 s
    assert remaining(technique="standard", width=0.5) == float("inf")
    assert remaining(technique="standard", width=0.5, time_budget=7.0) == 7
    assert remaining(technique="standard", time_budget=7.0) == 7


def test_a_resumed_run_has_only_the_rest_before_it(store: RunStore) -> None:
    run = trained(store, epoch=8, seconds=8, epochs=10)
    store.change(run.id, lambda _: {"status": "queued", "owner": None})
    assert turns([store.get(run.id)], 1, Pace([run]), NOW)[run.id] == Turn(1, 0.0, 2.0)


def test_what_a_run_did_since_it_was_heard_of_counts(store: RunStore) -> None:
    done = trained(store, epoch=10, seconds=20, startup=4.0, epochs=10)
    store.finish(done.id, "done")
    begun = trained(store, epoch=0, seconds=0, epochs=10)
    pace = Pace([done])
    assert [pace.remaining(begun, NOW + seconds) for seconds in (-1, 0, 3, 100)] == [24, 24, 21, 0]
    waits = store.get(queued(store, epochs=10))
    assert pace.remaining(waits, NOW + 100) == 24


def test_runs_of_another_machine_take_no_place_here(store: RunStore) -> None:
    elsewhere = [store.create(Config().to_dict()) for _ in range(2)]
    assert [run.id for run in (store.claim(ELSEWHERE, 2), store.claim(ELSEWHERE, 2)) if run] == elsewhere
    assert store.claim(ELSEWHERE, 2) is None or pytest.fail("over the limit there")
    first, second = queued(store), queued(store)
    assert turns(store.list(), 1, Pace(()), NOW)[first] == Turn(1, 0.0, None)
    claimed = store.claim(HERE, 1)
    assert claimed is not None
    assert (claimed.id, claimed.slot) == (first, 0)
    assert store.claim(HERE, 1) is None
    assert store.get(second).status == "queued"


def test_a_run_that_waits_for_one_process_alone_takes_nobody_s_turn(store: RunStore) -> None:
    reserved = store.create(Config().to_dict(), starter=ELSEWHERE)
    first = queued(store)
    assert turns(store.list(), 1, Pace(()), NOW) == {first: Turn(1, 0.0, None)}
    assert store.get(reserved).reserved


def test_whether_anybody_has_a_turn_is_told_as_a_claim_would_find(store: RunStore) -> None:
    assert not store.has_turn(HERE.host, 1)
    first = queued(store)
    assert store.has_turn(HERE.host, 1)
    assert [run.id for run in store.list()] == [first]
    assert store.list(taken=True) == []
    store.claim(HERE, 1)
    queued(store)
    assert not store.has_turn(HERE.host, 1)
    assert store.has_turn(HERE.host, 2)
    assert store.has_turn(ELSEWHERE.host, 1)
    assert [run.id for run in store.list(taken=True)] == [first]
    store.set_status(first, "paused")
    store.request(first, "pause")
    assert store.has_turn(HERE.host, 1)
    store.request(first, "run")
    assert not store.has_turn(HERE.host, 1)


class _Child:
    pid = 1

    def poll(self) -> None:
        return None


def _submit(home: Path, start: Any, seeds: range) -> None:
    processes.start = lambda *_: _Child()  # type: ignore[assignment, return-value]
    processes.owner_of = lambda _=None: HERE  # type: ignore[assignment]
    engine = LocalEngine(RunStore(home, timeout=60.0), limit=2)
    start.wait()
    for seed in seeds:
        engine.submit(Config(seed=seed), "one")
    engine.advance()


def test_people_who_submit_at_once_start_no_more_than_the_machine_takes_and_none_twice(store: RunStore) -> None:
    """Three processes submit overlapping halves of one experiment."""
    context = multiprocessing.get_context("fork")
    start = context.Barrier(3)
    parts = [range(0, 6), range(3, 9), range(0, 9)]
    people = [context.Process(target=_submit, args=(store.home, start, part)) for part in parts]
    for person in people:
        person.start()
    for person in people:
        person.join(120)
    assert [person.exitcode for person in people] == [0] * 3
    runs = store.list()
    assert sorted(run.config["seed"] for run in runs) == list(range(9))
    assert sorted(run.slot for run in runs if run.status == "running") == [0, 1]
    assert [run.status for run in runs].count("queued") == 7


def test_a_page_and_a_terminal_say_the_turn_of_a_run_that_waits(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.jobs.places.time.time", lambda: NOW)
    run = trained(store, epoch=5, seconds=50, epochs=10)
    first, second = queued(store, epochs=9), queued(store, epochs=9)
    found = Queue(store, 1).turns()
    states = live.snapshot(store, [run.id, first, second], 0, lambda: found)["runs"]
    shown = [(states[each]["place"], states[each]["starts_in_s"]) for each in (run.id, first, second)]
    assert shown == [(None, None), (1, 50.0), (2, 140.0)]
    assert [place(found[each]) for each in (first, second)] == ["next in 50 s", "number 2 in 2.33 min"]
    known = {each.id: each for each in store.list()}
    assert progress(known, found) == "2 queued, 1 running · the next begins in 50 s · about 3.83 min left"
    assert progress(known, {**found, second: Turn(2, 140.0, None)}).endswith("time left not known yet")


def test_nobody_asks_for_turns_where_nothing_waits(store: RunStore) -> None:
    run = trained(store, epoch=1, seconds=1, epochs=2)
    state = live.snapshot(store, [run.id], 0, lambda: pytest.fail("asked"))["runs"][run.id]
    assert (state["place"], state["starts_in_s"]) == (None, None)


@pytest.mark.parametrize(
    ("requested", "resuming"), [("pause", False), ("run", True), ("epoch", True), ("batch", False), ("stop", False)]
)
def test_a_paused_run_that_waits_for_its_place_again_is_told_from_one_that_stays(
    store: RunStore, requested: str, resuming: bool
) -> None:
    run = trained(store, epoch=1, seconds=1, epochs=2)
    changes = {"status": "paused", "requested": requested}
    store.change(run.id, lambda _: changes)
    assert live.snapshot(store, [run.id], 0)["runs"][run.id]["resuming"] is resuming


@pytest.mark.parametrize(("seconds", "words"), [(0.2, "0 s"), (89.0, "89 s"), (90.0, "1.5 min"), (5400.0, "1.5 h")])
def test_times_are_said_in_units_that_fit(seconds: float, words: str) -> None:
    assert duration(seconds) == words
