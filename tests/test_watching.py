"""The watching half of Train without a browser: which settings of a run it offers, and what becomes of wishes."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from app import routes, services, theme, watching
from app.step_view import pack
from core.config import Config
from core.dropout import TECHNIQUES
from core.jobs import LocalEngine
from core.runs import RunStore, steps
from core.runs.steps import Batch, Place, Update
from tests.test_app import opened
from tests.test_app_parts import get


def begun(**settings: Any) -> str:
    return RunStore().create(Config(**settings).to_dict(), {"network": "digits"})


def offered(run_id: str) -> dict[str, dict[str, Any]]:
    return {field["name"]: field for field in watching.fields(services.store().get(run_id))}


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_run_offers_p_the_learning_rate_and_the_knobs_that_may_change(technique: str) -> None:
    fields = offered(begun(technique=technique, p=0.3, lr=0.01))
    free = [knob for knob in TECHNIQUES[technique].knobs if not knob.structural]
    assert list(fields) == ["p", "lr", *(knob.name for knob in free)]
    assert (fields["p"]["value"], fields["p"]["kind"], fields["lr"]["value"]) == (0.3, "number", 0.01)
    assert [fields[knob.name]["value"] for knob in free] == [knob.default for knob in free]
    assert all(fields[knob.name]["knob"] for knob in free)


def test_fields_show_what_the_run_was_begun_with() -> None:
    run = begun(technique="dropact", knobs={"count": "active", "clamp": 4.0})
    fields = offered(run)
    assert (fields["count"]["value"], fields["clamp"]["value"], fields["rescale"]["value"]) == ("active", 4.0, "none")
    assert fields["count"]["options"] == ["layer", "active"]
    # The network's own p, which the config leaves open.
    assert fields["p"]["value"] == 0.2
    # Neither has a run that waits been told which network it gets.
    assert offered(RunStore().create(Config(technique="dropact").to_dict(), {}))["p"]["value"] == 0.2
    layers = offered(begun(technique="standard", p=(0.2, 0.5)))["p"]
    assert (layers["value"], layers["kind"]) == ([0.2, 0.5], "numbers")


def test_without_dropout_only_the_learning_rate_may_change_and_after_the_end_nothing() -> None:
    store = RunStore()
    run = begun(technique="none")
    assert list(offered(run)) == ["lr"]
    store.finish(run, "done")
    (ended,) = store.list()
    assert watching.described([ended])[run]["fields"] == []


def test_settings_of_a_technique_are_told_apart_by_look_and_words_and_seeds_only_by_words() -> None:
    for p in (0.1, 0.2, 0.5):
        for seed in (0, 1):
            begun(technique="dropact", p=p, seed=seed)
    begun(technique="dropact", p=0.1, knobs={"count": "layer"}, lr=0.01)
    begun(technique="standard", p=0.1)
    shown = list(watching.described(services.store().list()[::-1]).values())
    assert [one["detail"] for one in shown] == [
        *(f"p {p} · lr 0.0005 · seed {seed}" for p in (0.1, 0.2, 0.5) for seed in (0, 1)),
        "p 0.1 · lr 0.01 · count layer · seed 0",
        "p 0.1 · seed 0",
    ]
    drawn = [(one["style"]["light"], one["style"]["dash"], one["style"]["marker"]) for one in shown]
    assert [drawn[i] for i in (0, 2, 4)] == [drawn[i] for i in (1, 3, 5)]
    assert len({colour for colour, _, _ in drawn[:7]}) == 1
    # A training curve has no markers: its dash alone tells it apart.
    assert len({dash for _, dash, _ in drawn[:7]}) == 4
    # Runs of one technique do not change the look of another, and what was first looks as everywhere.
    assert (drawn[0], drawn[7]) == tuple(
        (look.light, look.dash, look.marker) for look in (theme.style("dropact"), theme.style("standard"))
    )


def test_data_sets_networks_and_widths_are_told_where_they_are_not_the_same() -> None:
    same = {"technique": "dropact", "p": 0.5}
    others = ({"network": "mnist"}, {"dataset": "/images/cats"}, {"width": 0.5})
    for other in others:
        begun(**same)
        begun(**same | other)
        *_, one, two = watching.described(services.store().list()[:2][::-1]).values()
        assert one["style"]["marker"] != two["style"]["marker"] or one["style"]["dash"] != two["style"]["dash"], other
        assert (one["detail"], two["detail"]) == {
            "network": ("p 0.5 · auto · seed 0", "p 0.5 · mnist · seed 0"),
            "dataset": ("p 0.5 · digits · seed 0", "p 0.5 · cats · seed 0"),
            "width": ("p 0.5 · width 1 · seed 0", "p 0.5 · width 0.5 · seed 0"),
        }[next(iter(other))]


def test_of_many_runs_the_part_where_one_trains_is_shown_and_any_other_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalEngine, "advance", lambda self: None)
    shown: list[list[str]] = []
    draw = watching.live_curves
    monkeypatch.setattr(
        watching, "live_curves", lambda runs, **more: (shown.append([one["id"] for one in runs]), draw(runs, **more))[1]
    )
    ids = [begun(technique="dropact", seed=seed) for seed in range(60)]
    store = RunStore()
    for run in ids[:30]:
        store.finish(run, "done")
    store.change(ids[30], lambda _: {"status": "running"})
    test = opened("train", run=ids)
    assert not test.exception
    assert (test.selectbox(key="part").label, test.selectbox(key="part").options) == (
        "Runs shown, of 60", ["1 to 24", "25 to 48", "49 to 60"],
    )  # fmt: skip
    test.selectbox(key="part").select("48").run()
    test.selectbox(key="part").select("0").run()
    assert shown == [ids[24:48], ids[48:], ids[:24]]


@pytest.mark.parametrize(("wish", "stopped"), [({"ids": ["1"]}, [1]), ({"ids": ["1"], "all": True}, [0, 1, 2])])
def test_what_is_wished_of_all_is_done_to_runs_that_are_not_shown_too(
    wish: dict[str, Any], stopped: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    acted: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(services, "act", lambda verb, ids: acted.append((verb, list(ids))))
    watching.carry_out({"verb": "stop"} | wish, ["0", "1", "2"])
    assert acted == [("stop", [str(i) for i in stopped])]


def test_why_a_wish_was_refused_is_told_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    state: dict[str, Any] = {}
    monkeypatch.setattr(watching.st, "session_state", state)
    assert watching.recently_refused() is None
    why = {"turn": "1", "ids": ["0"], "sentence": "No."}
    state["refused"] = (watching.time.monotonic(), why)
    assert watching.recently_refused() == why
    state["refused"] = (watching.time.monotonic() - watching.REFUSED_SECONDS, why)
    assert watching.recently_refused() is None


def test_what_was_started_together_last_is_watched_where_nothing_trains_and_no_run_is_asked_for() -> None:
    store, ids = RunStore(), [begun(seed=seed) for seed in range(4)]
    for run_id in ids:
        store.finish(run_id, "done")
    started = dict(zip(ids, (0.0, 100.0, 100.0 + watching.TOGETHER, 100.0 + 2 * watching.TOGETHER), strict=True))
    runs = [replace(run, created=started[run.id]) for run in store.list()]
    assert [run.id for run in watching.watched_runs([], runs)] == ids[1:], "each began soon after the one before"
    assert [run.id for run in watching.watched_runs([ids[0]], runs)] == ids[:1]
    live = [replace(run, status="running") if run.id == ids[1] else run for run in runs]
    assert [run.id for run in watching.watched_runs([ids[0]], live)] == ids[:2]


def test_runs_of_a_lesson_are_watched_while_they_train_and_then_only_where_there_are_no_others() -> None:
    store, own = RunStore(), begun()
    lesson = store.create(Config(seed=1).to_dict(), experiment="Lesson: overfitting")
    assert {run.id for run in watching.watched_runs([], store.list())} == {own, lesson}
    for run_id in (own, lesson):
        store.finish(run_id, "done")
    assert [run.id for run in watching.watched_runs([], store.list())] == [own]
    assert [run.id for run in watching.watched_runs([lesson], store.list())] == [lesson]
    assert [run.id for run in watching.watched_runs([], [store.get(lesson)])] == [lesson]


@pytest.mark.parametrize(
    ("wished", "changes"),
    [
        (None, {}),
        ([1], {}),
        ({"p": [0.1, 0.2], "lr": 1e-3}, {"p": (0.1, 0.2), "lr": 1e-3}),
        ({"knobs": "all"}, {"knobs": {}}),
    ],
)
def test_whatever_a_browser_sends_as_changes_is_for_the_engine_to_check(wished: Any, changes: Any) -> None:
    assert watching.changes_of(wished) == changes


def batch(technique: str = "standard", examples: int = 3) -> Batch:
    torch.manual_seed(0)
    x = torch.rand(examples, 6)
    mask = torch.rand(examples, 6) < 0.5
    scale = torch.full_like(x, 2.0)
    grad = torch.randn(examples, 6)
    place = Place("Hidden 1", (10,), 0.5, x, x * mask * scale, mask, scale, grad, grad * mask * scale)
    return Batch(
        7, 0.5, technique, "units", 1.25, 1e-3, 100, torch.randint(0, 256, (examples, 1, 8, 8), dtype=torch.uint8),
        (3, 1, 4), ("zero", "one"), torch.rand(examples, 2), (place,), (Update("Hidden 1", 0.1, 10.0),),
    )  # fmt: skip


def unpacked(body: bytes) -> tuple[dict[str, Any], list[dict[str, torch.Tensor]]]:
    """The header and the tensors of each part, read as the browser reads them."""
    length = int.from_bytes(body[:4], "little")
    header = json.loads(body[4 : 4 + length])
    kinds = {"u1": torch.uint8, "f4": torch.float32}
    parts = []
    for part in header["techniques"]:
        arrays = {}
        for name, about in part["arrays"].items():
            kind, count = kinds[about["type"]], torch.Size(about["shape"]).numel()
            start = 4 + length + about["offset"]
            arrays[name] = torch.frombuffer(bytearray(body), dtype=kind, count=count, offset=start).view(about["shape"])
        parts.append(arrays)
    return header, parts


def test_a_batch_reaches_the_browser_with_the_tensors_of_the_step() -> None:
    sent = batch()
    header, (examples, place) = unpacked(pack(sent))
    assert (header["step"], header["title"], header["size"], header["labels"]) == (7, "Standard", 100, [3, 1, 4])
    assert header["updates"] == [{"title": "Hidden 1", "norm": 0.1, "before": 10.0}]
    assert torch.equal(examples["images"], sent.images)
    (kept,) = sent.places
    for name, tensor in {"activation": kept.x, "out": kept.out, "scale": kept.scale, "grad_x": kept.grad_x}.items():
        assert torch.equal(place[name], tensor)
    assert torch.equal(place["mask"].bool(), kept.mask)
    assert "weight" not in place


def test_a_batch_that_ended_in_no_number_is_still_json() -> None:
    lost = replace(batch(), loss=math.nan, updates=(Update("Hidden 1", math.inf, math.nan), Update("Output", 0.1, 1.0)))
    body = pack(lost)
    header = json.loads(body[4 : 4 + int.from_bytes(body[:4], "little")], parse_constant=pytest.fail)
    assert header["loss"] is None
    assert [tuple(update.values()) for update in header["updates"]] == [("Hidden 1", None, None), ("Output", 0.1, 1.0)]


def test_the_route_of_a_batch_gives_the_last_one_or_says_that_there_is_none(dropscope_home: Path) -> None:
    run = begun()
    status, _, body = get(f"/api/runs/{run}/step")
    assert (status, json.loads(body)) == (404, {"error": "No step on a single batch of this run is kept: take one."})
    assert get("/api/runs/..%2f..%2fetc/step")[0] == 404
    folder = RunStore().folder(run)
    steps.save(folder, batch())
    status, headers, body = get(f"/api/runs/{run}/step")
    assert (status, headers["content-type"]) == (200, "application/octet-stream")
    assert body == pack(batch())
    (folder / steps.FILE).write_bytes(b"nothing")
    assert get(f"/api/runs/{run}/step")[0] == 503


def test_the_state_of_a_run_says_when_its_last_batch_was_written() -> None:
    run = begun()
    read = lambda: json.loads(get(f"/api/runs/{run}/metrics")[2])["runs"][run]["batch"]  # noqa: E731
    assert read() is None
    folder = services.store().folder(run)
    steps.save(folder, batch())
    assert read() == (folder / steps.FILE).stat().st_mtime


def test_nothing_but_reading_is_routed() -> None:
    assert all(route.methods <= {"GET", "HEAD"} for route in routes.ROUTES if route.path.startswith("/api/runs"))
