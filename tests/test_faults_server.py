"""The server is killed, two begin at once, tabs are closed: training goes on and is found again."""

import json
import os
import signal
import threading
import urllib.request
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.jobs import LocalEngine, processes
from core.runs import Run, RunStore
from core.training import Config
from tests.browser import Browser, Server, browser, healthy, serving, tab, wait_until
from tests.waiting import wait_for

__all__ = ["browser"]

ENDLESS = Config(dataset="digits", technique="dropcorr", epochs=5000, device="cpu", record_every=0.05).to_dict()


def ask(server: Server, run_id: str) -> dict[str, Any]:
    """What a browser is told of a run from its beginning."""
    with urllib.request.urlopen(f"{server.url}/api/runs/{run_id}/metrics?since=0", timeout=30) as reply:
        return dict(json.loads(reply.read())["runs"][run_id])


def working(home: Path) -> list[psutil.Process]:
    """The processes that were started to train for ``home``."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = process.info["cmdline"] or []
        if {"worker", str(home)} <= {*line} and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def begun(store: RunStore, run_id: str, seq: int = 0) -> Run:
    return wait_for(lambda: run if (run := store.get(run_id)).seq > seq else None)


def test_a_killed_server_leaves_its_runs_at_work_and_the_next_one_shows_and_stops_them(tmp_path: Path) -> None:
    home = tmp_path / "home"
    store = RunStore(home)
    run_id = store.create(ENDLESS)
    with serving(home, tmp_path) as first:
        run = begun(store, run_id)
        assert run.owner is not None
        assert psutil.Process(run.owner.pid).ppid() == first.process.pid
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait(30)
        seen = begun(store, run_id, store.get(run_id).seq)
        with serving(home, tmp_path, first.port) as second:
            told = ask(second, run_id)
            assert told["status"] == "running"
            assert len(told["points"]["step"]) >= len(store.metrics(run_id, kind="epoch"))
            later = begun(store, run_id, seen.seq)
            assert (later.status, later.attempt, later.owner) == ("running", 1, run.owner)
            LocalEngine(store).cancel(run_id)
            wait_for(lambda: ask(second, run_id)["status"] == "stopped")
            wait_for(lambda: not working(home) and not processes.is_alive(run), seconds=5.0)


def test_two_servers_that_begin_in_an_empty_folder_share_one_store_and_start_each_run_once(tmp_path: Path) -> None:
    home, servers, ready = tmp_path / "home", list[Server](), threading.Barrier(3)
    close = threading.Event()

    def serve() -> None:
        with serving(home, tmp_path) as server:
            servers.append(server)
            ready.wait(120)
            close.wait(120)

    threads = [threading.Thread(target=serve) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        ready.wait(120)
        store = RunStore(home)
        short = {**ENDLESS, "epochs": 2}
        ids = [store.create({**short, "seed": seed}) for seed in range(3)]
        runs = [wait_for(lambda each=each: run if (run := store.get(each)).ended else None) for each in ids]
        assert [(run.status, run.reason, run.attempt) for run in runs] == [("done", None, 1)] * 3
        assert all(healthy(server) for server in servers)
        for run_id in ids:
            assert ask(servers[0], run_id) == ask(servers[1], run_id)
        assert all("Watching the runs" not in server.log.read_text() for server in servers)
    finally:
        close.set()
        for thread in threads:
            thread.join(60)


@pytest.mark.browser
def test_a_run_goes_on_in_a_closed_tab_and_two_tabs_may_both_stop_it(browser: Browser, tmp_path: Path) -> None:
    with serving(tmp_path / "home", tmp_path) as server:
        store = RunStore(server.home)
        with tab(browser) as page:
            page.goto(f"{server.url}/train?epochs=5000&technique=DropCorr")
            page.get_by_role("button", name="Start", exact=True).click()
            run_id = wait_until(lambda: [run.id for run in store.list()], "no run is started")[0]
            begun(store, run_id)
        seq = store.get(run_id).seq
        assert begun(store, run_id, seq + 5).attempt == 1, "a closed tab ends nothing"
        with tab(browser) as one, tab(browser) as other:
            for page in (one, other):
                page.goto(f"{server.url}/train?run={run_id}")
                page.locator(".ds-run").wait_for()
            buttons = [page.get_by_role("button", name="Stop DropCorr").first for page in (one, other)]
            for button in buttons:
                button.evaluate("(button) => button.click()")
            for page in (one, other):
                row = page.locator(".ds-run").first
                wait_until(lambda row=row: row.get_attribute("data-status") == "stopped", "a tab does not hear of it")
        assert (store.get(run_id).reason or "").startswith("Stopped at epoch ")
