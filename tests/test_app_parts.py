"""The dashboard's parts without a browser: looks, controls, live data, routes, and what may be written."""

import asyncio
import json
import math
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from starlette.applications import Starlette
from streamlit.testing.v1 import AppTest

from app import charts, controls, live, routes, server, services, theme
from app.keeping import bytes_of, kept_within
from app.options import changed
from core import comparison, variants
from core.config import Config, ConfigError
from core.dropout import TECHNIQUES, Knob
from core.runs import RunStore, StoreError
from core.sweep import Experiment

NAMES = ["none", *TECHNIQUES]


def record(step: int, kind: str = "step", **values: Any) -> dict[str, Any]:
    return {"kind": kind, "step": step, "epoch": step / 10, "loss": 1.0, "train_seconds": step / 100, **values}


def get(path: str, headers: Mapping[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of a GET to the dashboard's own routes, without a server."""
    path, _, query = path.partition("?")
    sent: list[Any] = []
    scope = {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": query.encode(),
        "headers": [(k.encode(), v.encode()) for k, v in (headers or {}).items()],
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Starlette(routes=routes.ROUTES)(scope, receive, send))
    head = {k.decode(): v.decode() for k, v in sent[0]["headers"]}
    return sent[0]["status"], head, b"".join(part.get("body", b"") for part in sent[1:])


# How a technique looks


@pytest.mark.parametrize("name", [*NAMES, "a-new-technique", "another"])
def test_every_technique_can_be_read_on_both_grounds(name: str) -> None:
    look = theme.style(name)
    assert theme.contrast(look.light, theme.LIGHT_GROUND) >= 3.0
    assert theme.contrast(look.dark, theme.DARK_GROUND) >= 4.5


def test_techniques_differ_in_colour_and_in_marker_and_dash() -> None:
    looks = [theme.style(name) for name in NAMES]
    assert len({look.light for look in looks}) == len({look.dark for look in looks}) == len(NAMES)
    assert len({look.marker for look in looks}) == len(NAMES)


def test_a_technique_without_a_row_keeps_a_look_of_its_own() -> None:
    theme._spare.cache_clear()
    first = theme.style("a-new-technique")
    theme._spare.cache_clear()
    assert theme.style("a-new-technique") == first
    assert first.light not in {theme.style(name).light for name in NAMES}


# Settings


def test_what_the_address_says_is_checked_and_named() -> None:
    parts = [
        controls.Choices("technique", "Techniques", {"none": "No dropout", "dropact": "DropAct"}, ("none",)),
        controls.Number("epochs", "Epochs", 10, 1, 10_000, integer=True),
        controls.Number("p", "Drop probability p", None, 0.0, 1.0, optional=True),
        controls.Number("lr", "Learning rate", 1e-3, 1e-6, 1.0),
        controls.Switch("x.on", "On", True),
    ]
    address = {
        "technique": ["DropAct", "Foo <b>"], "epochs": ["0"], "p": ["nan"], "lr": ["fast"], "x.on": ["maybe"],
        "unrelated": ["1"],
    }  # fmt: skip
    assert controls.notices(address, parts) == [
        "“Foo <b>” in the address is no choice of “Techniques”; there are No dropout, DropAct.",
        "“0” in the address does not lie between 1 and 10,000, so “Epochs” is as it was.",
        "“nan” in the address does not lie between 0 and 1, so “Drop probability p” is as it was.",
        "“fast” in the address is not a number, so “Learning rate” is as it was.",
        "“maybe” in the address is neither true nor false, so “On” is as it was.",
    ]
    good = {"technique": ["DropAct"], "epochs": ["3"], "p": [""], "lr": ["0.01"], "x.on": ["false"]}
    assert controls.notices(good, parts) == []


def _a_page() -> None:
    from app.controls import Choice, Slider, address, misfits, warn

    parts = [Choice("net", "Network", {"a": "A"}, "a"), Slider("p", "p", 0.5, 0.0, 1.0)]
    warn(misfits(address(), parts))
    for part in parts:
        part.draw()


def test_what_is_wrong_in_the_address_is_told_over_several_runs_and_then_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    page = AppTest.from_function(_a_page)
    page.query_params["p"] = "7"
    page.run()
    (told,) = [warning.value for warning in page.warning]
    assert "7" in told
    page.query_params.clear()
    page.run()
    assert [warning.value for warning in page.warning] == [told]
    monkeypatch.setattr(controls, "TOLD_SECONDS", 0.0)
    page.run()
    assert not page.warning


@pytest.mark.parametrize(
    ("knob", "kind"),
    [
        (Knob("count", "layer", "h", choices=("layer", "active")), controls.Choice),
        (Knob("learn", False, "h"), controls.Switch),
        (Knob("clamp", 10.0, "h", low=1.0), controls.Number),
    ],
)
def test_a_knob_becomes_the_control_that_fits_it(knob: Knob, kind: type) -> None:
    control = controls.knob_control("dropact", knob)
    assert isinstance(control, kind)
    assert control.key == f"dropact.{knob.name}"


def test_every_knob_of_every_technique_has_a_control() -> None:
    found = [controls.knob_control(name, knob).key for name, cls in TECHNIQUES.items() for knob in cls.knobs]
    assert len(found) == len(set(found)) > 0


def test_only_options_that_were_changed_are_said() -> None:
    knobs = [Knob("count", "layer", "h", choices=("layer", "active")), Knob("clamp", 10.0, "h")]
    assert changed(knobs, {"count": "active", "clamp": 10.0}) == {"count": "active"}


def test_text_of_people_is_not_read_as_markdown() -> None:
    assert controls.plain_text("a *b* [c](d) <img> $x$ :red[y]") == (
        "a \\*b\\* \\[c\\](d) \\<img\\> \\$x\\$ \\:red\\[y\\]"
    )


# Live data


def test_a_browser_gets_every_record_once_and_states_every_time() -> None:
    store = RunStore()
    one, two = (store.create(Config(technique=name).to_dict()) for name in ("none", "dropcorr"))
    store.record(one, [record(1), record(2)])
    first = live.snapshot(store, [one, two, "gone"], 0)
    assert set(first["runs"]) == {one, two}
    assert first["runs"][one]["points"]["step"] == [1, 2]
    assert first["runs"][two]["points"]["step"] == []
    store.record(two, [record(1)])
    store.record(one, [record(3, "epoch", val_accuracy=0.5)])
    second = live.snapshot(store, [one, two], first["seq"])
    assert second["runs"][one]["points"]["step"] == [3]
    assert second["runs"][one]["points"]["val_accuracy"] == [0.5]
    assert second["runs"][two]["points"]["step"] == [1]
    third = live.snapshot(store, [one, two], second["seq"])
    assert third["seq"] == second["seq"]
    assert third["runs"][one]["points"]["step"] == []
    assert third["runs"][one]["status"] == "queued"


def test_what_json_cannot_say_becomes_null() -> None:
    store = RunStore()
    run = store.create(Config().to_dict())
    store.record(run, [record(1, accuracy=math.nan, loss=math.inf)])
    points = live.snapshot(store, [run], 0)["runs"][run]["points"]
    assert (points["accuracy"], points["loss"]) == ([None], [None])
    json.dumps(points, allow_nan=False)


def test_very_many_records_are_thinned_but_epochs_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "MAX_POINTS", 10)
    store = RunStore()
    run = store.create(Config().to_dict())
    store.record(run, [record(i, "epoch" if i % 25 == 24 else "step") for i in range(100)])
    points = live.snapshot(store, [run], 0)["runs"][run]["points"]
    assert points["step"] == sorted({*range(0, 100, 10), 24, 49, 74, 99})
    assert {len(values) for values in points.values()} == {len(points["step"])}


def test_the_time_left_follows_from_the_time_an_epoch_took() -> None:
    assert live.eta({"epoch": 2.0, "train_seconds": 6.0, "eval_seconds": 2.0}, 10) == pytest.approx(32.0)
    assert live.eta({}, 10) is None
    assert live.eta({"epoch": 0.0, "train_seconds": 0.0}, 10) is None


# Routes


def test_the_route_answers_with_states_and_points_and_is_not_kept() -> None:
    store = RunStore()
    run = store.create(Config().to_dict())
    store.record(run, [record(1)])
    status, headers, body = get(f"/api/runs/{run}/metrics?since=0")
    assert status == 200
    assert headers["cache-control"] == "no-store"
    answer = json.loads(body)
    assert answer["runs"][run]["points"]["loss"] == [1.0]
    assert json.loads(get(f"/api/runs/{run}/metrics?since={answer['seq']}")[2])["runs"][run]["points"]["loss"] == []


@pytest.mark.parametrize("since", ["-1", "x", "1.5", "٣", "9" * 30])
def test_the_route_refuses_a_since_that_is_no_number(since: str) -> None:
    from urllib.parse import quote

    status, _, body = get(f"/api/runs/abc/metrics?since={quote(since)}")
    assert status == 400
    assert json.loads(body)["error"] == "“since” takes a whole number from 0, the “seq” of the last answer."


def test_the_route_refuses_too_many_runs() -> None:
    status, _, body = get(f"/api/runs/{','.join(f'r{i}' for i in range(65))}/metrics")
    assert status == 400
    assert json.loads(body)["error"] == "Ask for 1 to 64 runs at once; this address names 65."


def test_runs_that_are_not_there_are_left_out() -> None:
    status, _, body = get("/api/runs/nothere/metrics")
    assert (status, json.loads(body)) == (200, {"seq": 0, "runs": {}})


def test_the_route_says_what_is_wrong_with_the_store(dropscope_home: Any) -> None:
    dropscope_home.mkdir()
    (dropscope_home / "runs.sqlite").write_bytes(b"no database at all" * 100)
    status, _, body = get("/api/runs/abc/metrics")
    assert status == 503
    assert "was damaged: it is kept" in json.loads(body)["error"]


def test_plotly_is_served_packed_and_may_be_kept_for_long() -> None:
    status, headers, body = get(routes.PLOTLY_URL, {"accept-encoding": "gzip"})
    assert (status, headers["content-encoding"], headers["content-type"]) == (
        200, "gzip", "text/javascript; charset=utf-8",
    )  # fmt: skip
    assert "immutable" in headers["cache-control"]
    assert len(body) < 2_000_000
    _, plain, text = get(routes.PLOTLY_URL)
    assert "content-encoding" not in plain
    assert b"plotly.js" in text[:200]


def test_the_server_answers_to_this_machine_and_to_hosts_that_were_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DROPSCOPE_HOSTS", "lab.example, *.school.example")
    names = server.allowed_hosts()
    assert {"localhost", "127.0.0.1", "lab.example", "*.school.example"} <= set(names)
    assert "*" not in names


# Writing


def test_nothing_starts_when_one_of_the_configs_is_wrong() -> None:
    with pytest.raises(ConfigError, match=r"p is the probability of dropping and must lie between 0 and 1, got 1\.5"):
        services.start(Experiment(p=(0.5, 1.5)))
    assert RunStore().list() == []


def test_a_wish_that_is_none_of_the_three_is_refused() -> None:
    run = RunStore().create(Config().to_dict())
    with pytest.raises(StoreError, match="A run can be paused, resumed, stepped or stopped, not 'delete'"):
        services.act("delete", [run])


def test_wishes_for_runs_that_ended_or_are_gone_change_nothing() -> None:
    store = RunStore()
    run = store.create(Config().to_dict())
    store.finish(run, "done")
    for verb in ("pause", "resume", "stop"):
        services.act(verb, [run, "gone"])
    assert store.get(run).status == "done"


def test_a_run_that_waits_is_stopped_at_once_and_only_then_deleted() -> None:
    store = RunStore()
    run = store.create(Config().to_dict())
    with pytest.raises(StoreError, match="A run that still trains cannot be deleted: stop it first"):
        services.delete([run])
    services.act("stop", [run])
    assert store.get(run).status == "stopped"
    services.delete([run])
    assert store.list() == []


# Figures


def test_bands_lie_behind_lines_and_every_variant_has_its_look() -> None:
    curves = pd.DataFrame(
        {
            "variant": ["A", "A", "B", "B"], "technique": ["dropact", "dropact", "none", "none"],
            "epoch": [1, 2, 1, 2], "mean": [0.5, 0.7, 0.4, 0.6], "sd": [0.1, 0.0, 0.0, 0.0], "n": [2, 2, 1, 1],
        }
    )  # fmt: skip
    chart = charts.accuracy_per_epoch(curves, ["B", "A"])
    assert list(chart.legend) == ["B", "A"]
    kinds = [(trace.fill, trace.legendgroup) for trace in chart.figure.data]
    assert kinds == [("toself", "A"), (None, "B"), (None, "A")]
    assert list(chart.figure.data[0].y) == pytest.approx([60.0, 70.0, 70.0, 40.0])
    assert chart.figure.data[1].line.color == theme.style("none").light
    assert chart.alt == "Validation accuracy per epoch (%): A ends at 70.0 %; B ends at 60.0 %"


def test_names_are_not_read_as_markup_in_hover_texts() -> None:
    store = RunStore()
    run = store.create(Config(technique="none").to_dict())
    store.finish(run, "done", final={"test_accuracy": 0.9, "train_seconds": 1.0})
    rows = variants.table(store.list(), {"none": "<b>%{x}</b>"})
    hover = charts.accuracy_against_time(comparison.summary(rows), "x").figure.data[0].hovertemplate
    assert hover.startswith("&lt;b>&#37;{x}&lt;/b>")


def test_settings_of_one_technique_share_its_colour_and_can_be_told_apart() -> None:
    names = {"DropAct (p 0.5)": "dropact", "DropAct (p 0.2)": "dropact", "DropAct (p 0.8)": "dropact", "None": "none"}
    found = charts.looks(names)
    assert list(found) == list(names)
    assert {found[name].light for name in list(names)[:3]} == {theme.style("dropact").light}
    assert len({(look.marker, look.dash) for look in found.values()}) == 4
    assert charts.looks(dict(reversed(names.items()))) == found


def test_a_small_difference_is_not_stretched_over_the_whole_figure() -> None:
    low, high = charts._span(pd.Series([93.3, 93.6]), pd.Series([math.nan, math.nan]), 2.0)
    assert high - low == pytest.approx(2.32)
    assert (low + high) / 2 == pytest.approx(93.45)


# What is kept of looks


def test_results_are_kept_by_their_bytes_and_the_ones_used_last_stay() -> None:
    asked: list[int] = []

    @kept_within(2500)
    def made(size: int) -> torch.Tensor:
        asked.append(size)
        return torch.zeros(size, dtype=torch.uint8)

    for size in (1000, 1100, 1000):
        assert len(made(size)) == size
    assert asked == [1000, 1100]
    made(1200)  # 1100 was used longest ago
    made(1000)
    assert asked == [1000, 1100, 1200]
    made(1100)
    assert asked == [1000, 1100, 1200, 1100]
    assert len(made(3000)) == len(made(3000)) == 3000
    made(1100)
    assert asked[4:] == [3000, 3000], "what is too large to keep takes the place of nothing"


def test_memory_that_tensors_share_counts_once_and_whole() -> None:
    class Result:
        def __init__(self) -> None:
            self.name, self.nothing = "a", None
            self.first = torch.zeros(100)
            self.part = self.first[:10]
            self.other = torch.zeros(5, dtype=torch.uint8)

    assert bytes_of(Result()) == 405
    assert bytes_of(torch.zeros(4)[:1]) == 16
    assert bytes_of((np.zeros(3), 7, torch.zeros(2))) == 32
    assert bytes_of(None) == 0


def test_what_a_server_loads_ahead_is_never_looked_through_for_garbage() -> None:
    code = (
        "import gc, sys\n"
        "from app import streamlit_app\n"
        "streamlit_app._load_ahead()\n"
        "print(gc.get_freeze_count() > 10 * len(gc.get_objects()))\n"
        "print('torch' in sys.modules, 'scipy.stats' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    # scipy.stats alone would take 0.8 s to load.
    assert done.stdout.split() == ["True", "True", "False"]
