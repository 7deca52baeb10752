"""The dashboard as a person meets it: a real server, a real browser, real training."""

import json
import re
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest

from core.runs import RunStore
from tests.browser import (
    Browser,
    Page,
    Server,
    browser,
    fits_a_phone,
    overflow,
    page,
    place,
    server,
    serving,
    stop,
    tab,
    wait_until,
)
from tests.waiting import waiting

__all__ = ["browser", "page", "server"]
pytestmark = pytest.mark.browser

# Long enough that nothing ends before the test has looked: it is always stopped.
LONG = "epochs=5000&technique=DropCorr"


def points(page: Page) -> int:
    return int(page.locator(".ds-live").get_attribute("data-points") or 0)


def state(page: Page) -> str:
    return str(page.locator(".ds-run").first.get_attribute("data-status"))


def started(page: Page, server: Server, address: str = LONG) -> str:
    """Open the Train page, press Start, wait for points; the id of the first run started."""
    page.goto(f"{server.url}/train?{address}")
    page.get_by_role("button", name="Start", exact=True).click()
    address_now = "new URLSearchParams(location.search).get('run')"
    run = wait_until(lambda: page.evaluate(address_now), "the address does not name the run")
    page.locator(".ds-live").wait_for()
    wait_until(lambda: RunStore(server.home).get(run).seq > 0 and points(page) > 0, "no point of the curve arrives")
    return str(run)


def stopped(page: Page) -> None:
    page.get_by_role("button", name="Stop DropCorr").first.click()
    wait_until(lambda: state(page) == "stopped", "the run does not stop")


def drawn(page: Page, chart: int = 0) -> int:
    """How many points plotly draws in one chart."""
    script = "(plot) => (plot.data ?? []).reduce((sum, trace) => sum + trace.x.length, 0)"
    return int(page.locator(".ds-plot").nth(chart).evaluate(script))


def test_train_watch_pause_stop_reload_and_find_the_run_in_compare(page: Page, server: Server) -> None:
    run = started(page, server)
    before = points(page)
    wait_until(lambda: points(page) > before + 3, "the curve does not grow")
    wait_until(lambda: drawn(page) > 0 and drawn(page, 1) > 0, "a chart stays empty")
    page.locator(".ds-headline", has_text=re.compile("^1 run: 1 running on the CPU$")).wait_for()

    page.get_by_role("button", name="Pause DropCorr").click()
    wait_until(lambda: state(page) == "paused", "the run does not pause")
    page.get_by_role("button", name="Resume DropCorr").click()
    wait_until(lambda: state(page) == "running", "the run does not go on")

    page.reload()
    page.locator(".ds-live").wait_for()
    wait_until(lambda: points(page) > before, "a reload does not find the run again")
    wait_until(lambda: state(page) == "running", "the reloaded page does not say that the run is running")
    stopped(page)

    page.get_by_role("link", name="Compare").click()
    page.get_by_role("heading", name="Compare").wait_for()
    page.locator(".ds-figure .ds-legend button", has_text="DropCorr").first.wait_for()
    stored = RunStore(server.home).get(run)
    assert stored.status == "stopped"
    assert stored.config["technique"] == "dropcorr"


def test_a_worker_waits_for_the_run_that_the_page_starts_and_ends_with_its_server(page: Page, tmp_path: Path) -> None:
    with serving(tmp_path / "home", tmp_path) as server:
        page.goto(f"{server.url}/train?{LONG}")
        page.get_by_text("Nothing has been trained yet").wait_for()
        assert not page.locator(".ds-live").is_visible()
        (worker,) = wait_until(lambda: waiting(server.home), "no worker waits")
        run = started(page, server)
        owner = RunStore(server.home).get(run).owner
        assert owner is not None
        assert owner.pid == worker.pid
        wait_until(lambda: len(waiting(server.home)) == 2, "the next worker does not wait")
        server.process.kill()
        wait_until(lambda: [each.pid for each in waiting(server.home)] == [worker.pid], "it outlives its server")


def test_a_short_run_ends_with_its_test_accuracy_in_train_and_in_compare(page: Page, server: Server) -> None:
    started(page, server, "epochs=3&technique=Standard")
    wait_until(lambda: state(page) == "done", "the run does not end")
    run = RunStore(server.home).list(status=["done"])[0]
    percent = f"{100 * run.final['test_accuracy']:.1f} %"
    page.locator(".ds-words", has_text=percent).first.wait_for()
    page.goto(f"{server.url}/compare")
    page.get_by_role("table").get_by_text(percent).wait_for()


def test_zoom_stays_while_points_arrive(page: Page, server: Server) -> None:
    started(page, server)
    plot = page.locator(".ds-plot").first
    wait_until(lambda: drawn(page) > 4, "nothing is drawn")
    sheet = plot.locator(".nsewdrag").first
    sheet.hover()
    box = place(sheet)
    page.mouse.move(box["left"] + 0.2 * box["width"], box["top"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["left"] + 0.7 * box["width"], box["top"] + 0.7 * box["height"], steps=5)
    page.mouse.up()
    ranges = "(plot) => [...plot.layout.xaxis.range, ...plot.layout.yaxis.range]"
    wait_until(lambda: plot.evaluate("(plot) => plot.layout.xaxis.autorange") is False, "the zoom does not take")
    zoomed = plot.evaluate(ranges)
    before = points(page)
    wait_until(lambda: points(page) > before + 3, "no more points arrive")
    assert plot.evaluate(ranges) == zoomed
    stopped(page)
    assert plot.evaluate(ranges) == zoomed


def test_a_second_tab_sees_the_run_and_what_is_done_to_it(browser: Browser, page: Page, server: Server) -> None:
    run = started(page, server)
    with tab(browser) as other:
        other.goto(f"{server.url}/train")
        wait_until(lambda: other.locator(".ds-run").count() > 0 and points(other) > 0, "the other tab stays empty")
        stopped(page)
        wait_until(lambda: RunStore(server.home).get(run).status == "stopped", "the store does not know")
        wait_until(lambda: state(other) == "stopped", "the other tab does not hear of it")


def test_the_page_says_that_the_server_is_gone_and_recovers(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("restarted") / "home"
    with tab(browser) as page, serving(home, home.parent) as first:
        run = started(page, first)
        before = points(page)
        stop(first.process)
        page.get_by_text("The server does not answer. Training goes on in its own process").wait_for()
        wait_until(lambda: RunStore(home).get(run).seq > before + 20, "training does not go on without the server")
        with serving(home, home.parent, first.port):
            wait_until(lambda: points(page) > before + 20, "the page does not recover")
            page.locator(".ds-trouble").wait_for(state="detached")
            stopped(page)


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_a_phone(browser: Browser, server: Server, dark: bool) -> None:
    with tab(browser, 390, 844, dark) as page:
        started(page, server)
        fits_a_phone(page, ".ds-live button")
        above, below = (page.locator(".ds-chart").nth(i) for i in (0, 1))
        wait_until(lambda: place(below)["top"] > place(above)["bottom"] - 1, "the charts stand side by side")
        stopped(page)
        page.goto(f"{server.url}/compare")
        page.get_by_role("heading", name="Runs").wait_for()
        wait_until(lambda: overflow(page) == 0, "Compare stays wider than the phone")


def test_the_theme_is_chosen_in_the_header_of_a_phone_too(browser: Browser, server: Server) -> None:
    with tab(browser, 390, 844) as page:
        page.goto(f"{server.url}/compare")
        menu = page.get_by_role("button", name="Light or dark")
        page.get_by_role("heading", name="Compare", exact=True).wait_for()
        wait_until(lambda: place(menu)["right"] <= 390, "the menu is out of sight")
        wait_until(lambda: min(place(menu)["width"], place(menu)["height"]) >= 44, "a finger misses the menu")
        wait_until(lambda: overflow(page) == 0, "Compare stays wider than the phone")
        ground = "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
        wait_until(lambda: page.evaluate(ground) == "rgb(255, 255, 255)", "the page is not light")
        menu.click()
        page.get_by_role("menuitemradio", name="Dark").click()
        wait_until(lambda: page.evaluate(ground) == "rgb(14, 17, 23)", "the page stays light")
        page.reload()
        wait_until(lambda: page.evaluate(ground) == "rgb(14, 17, 23)", "a reload forgets the theme")


def test_curves_follow_the_axis_that_is_chosen(page: Page, server: Server) -> None:
    started(page, server)
    for name, title in (("step", "Step"), ("seconds", "Training time (s)"), ("epoch", "Epoch")):
        page.locator(".ds-choice").get_by_role("button", name=name).click()
        page.locator(".ds-plot").first.get_by_text(title, exact=True).wait_for()
    stopped(page)


def test_names_from_the_store_are_shown_as_text(page: Page, server: Server) -> None:
    evil = "<img src=x onerror=\"document.title='broken'\">"
    store = RunStore(server.home)
    run = store.create({"technique": evil, "dataset": "digits", "seed": 0, "epochs": 1})
    store.record(run, [{"kind": "epoch", "step": 1, "epoch": 1.0, "val_accuracy": 0.5, "loss": 1.0}])
    store.finish(run, "done", final={"test_accuracy": 0.5, "train_seconds": 1.0})
    try:
        page.goto(f"{server.url}/train?run={run}")
        page.locator(".ds-name strong", has_text="onerror").wait_for()
        page.goto(f"{server.url}/compare")
        page.locator(".ds-legend button", has_text="onerror").first.wait_for()
        page.get_by_role("table").get_by_text(evil, exact=True).wait_for()
        assert page.locator("img[src=x]").count() == 0
        assert page.title() == "Compare · Dropscope"
    finally:
        store.delete(run)


def test_a_selected_run_is_in_the_address_and_deleting_it_can_be_undone(page: Page, server: Server) -> None:
    store = RunStore(server.home)
    run = store.create({"technique": "none", "dataset": "doomed", "seed": 0, "epochs": 1})
    store.finish(run, "done", final={"test_accuracy": 0.5, "train_seconds": 1.0})
    page.goto(f"{server.url}/compare")
    page.get_by_role("heading", name="Runs").wait_for()
    grid = page.get_by_test_id("stDataFrame")
    # The grid is a canvas: its first box to tick lies in the row under the head.
    grid.click(position={"x": 18, "y": 52})
    delete, undo = page.get_by_role("button", name="Delete 1 run"), page.get_by_role("button", name="Undo")
    delete.wait_for()
    wait_until(lambda: f"runs={run}" in page.url, "the address does not name the run")
    delete.click()
    undo.wait_for()
    assert run not in [left.id for left in store.list()]
    undo.click()
    wait_until(lambda: run in [left.id for left in store.list()], "the run does not come back")
    undo.wait_for(state="detached")
    page.goto(f"{server.url}/compare?runs={run}")
    delete.click()
    undo.wait_for()
    assert [left.id for left in store.aside()] == [run]
    store.purge(0)


def test_only_known_hosts_are_answered(server: Server) -> None:
    with pytest.raises(HTTPError) as refused:
        ask(server, "/api/runs/abc/metrics", Host="evil.example")
    assert refused.value.code == 400
    assert json.loads(ask(server, "/api/runs/abc/metrics")) == {"seq": 0, "runs": {}}


def ask(server: Server, path: str, **headers: str) -> Any:
    with urllib.request.urlopen(urllib.request.Request(server.url + path, headers=headers), timeout=10) as reply:
        return reply.read()


def test_the_server_listens_on_loopback_only(server: Server) -> None:
    import psutil

    own = [c.laddr.ip for c in psutil.Process(server.process.pid).net_connections("inet") if c.status == "LISTEN"]
    assert own == ["127.0.0.1"]
    assert "Access code" not in server.log.read_text()
    assert not Path(server.home / "runs.sqlite-journal").exists()
