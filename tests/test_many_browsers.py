"""A class in front of one server: thirty browsers watch a run to its end, and the server's memory stays bounded.

Thirty real browsers need more than a small machine has: three draw, and the others open the same sessions and ask for
the same points at the same pace, without a screen.
"""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any

import psutil
import pytest

from core.runs import RunStore
from core.training import Config
from tests.browser import Browser, Page, Server, browser, serving, tab, wait_until
from tests.wire import wired

__all__ = ["browser"]
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1200)]

DRAWN = 3
UNSEEN = 27
# Answers with new points that each must get while the run trains.
MOVES = 5
# Seconds from one question to the next, as app/components/live_curves asks.
TICK = 1.0
PATIENCE = 240.0
# Measured: 661 MiB in front of one session, 675 of thirty, 680 of thirty others, while Streamlit still keeps the first
# thirty for two minutes, should they come back. So a session takes half a MiB, and one that was closed a fifth.
MIB_PER_SESSION = 3
MIB_PER_CLOSED = 2


class Unseen:
    """A session of Train without a screen, which asks the live route as the page's curves do."""

    def __init__(self, server: Server, run: str) -> None:
        self.server, self.run = server, run
        self.points = self.moves = 0
        self.status = ""

    def watch(self, leave: Event) -> None:
        """Open the page, ask until the run has ended, and keep the session until all may leave."""
        with (
            wired(self.server) as wire,
            closing(HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)) as line,
        ):
            wire.open("train", f"run={self.run}")
            assert "live" in wire.ids
            assert wire.alerts == []
            since = 0
            while self.status != "stopped" and not leave.is_set():
                asked = monotonic()
                since = self.take(ask(line, self.run, since))
                leave.wait(max(0.0, TICK - (monotonic() - asked)))
            leave.wait()

    def take(self, answer: Any) -> int:
        state = answer["runs"][self.run]
        fresh = len(state["points"]["step"])
        self.points += fresh
        self.moves += fresh > 0 and state["status"] == "running"
        self.status = state["status"]
        return int(answer["seq"])


def ask(line: HTTPConnection, run: str, since: int) -> Any:
    line.request("GET", f"/api/runs/{run}/metrics?since={since}")
    with line.getresponse() as reply:
        assert reply.status == 200
        return json.load(reply)


def drawn(page: Page) -> int:
    """How many points the page's curves have."""
    return int(page.locator(".ds-live").get_attribute("data-points") or 0)


def moves(page: Page) -> None:
    """See one page's curves grow as often as they must."""
    for _ in range(MOVES):
        before = drawn(page)
        wait_until(lambda before=before: drawn(page) > before, "a drawn curve does not move", PATIENCE)


def attended(server: Server, browser: Browser, drawing: int, unseen: int) -> float:
    """Train a run in front of so many sessions until one of them stops it; the server's memory then, in MiB."""
    store = RunStore(server.home)
    run = store.create(Config(dataset="digits", technique="dropcorr", epochs=100_000, device="cpu").to_dict())
    others = [Unseen(server, run) for _ in range(unseen)]
    leave = Event()
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(max(1, unseen)))
        stack.callback(leave.set)
        watching = [pool.submit(other.watch, leave) for other in others]
        pages = [stack.enter_context(tab(browser)) for _ in range(drawing)]
        for page in pages:
            page.set_default_timeout(PATIENCE * 1000)
            page.goto(f"{server.url}/train?run={run}")
        for page in pages:
            moves(page)
        seen_by_all(others, watching, lambda other: other.moves >= MOVES, "a session sees no live curve")
        pages[-1].get_by_role("button", name="Stop DropCorr").click()
        seen_by_all(others, watching, lambda other: other.status == "stopped", "a session does not see the end")
        for page in pages:
            page.get_by_text("1 run: 1 stopped").wait_for()
        recorded = len(store.metrics([run]))
        for page in pages:
            wait_until(lambda page=page: drawn(page) == recorded, "a drawn curve lacks points", PATIENCE)
        assert {other.points for other in others} <= {recorded}
        return float(psutil.Process(server.process.pid).memory_info().rss) / 2**20


def seen_by_all(others: Sequence[Unseen], watching: Sequence[Any], seen: Callable[[Unseen], bool], why: str) -> None:
    def all_see() -> bool:
        for ended in watching:
            if ended.done():
                ended.result()
        return all(seen(other) for other in others)

    wait_until(all_see, why, PATIENCE)


def test_thirty_browsers_see_a_run_to_its_end_and_the_servers_memory_stays_bounded(
    browser: Browser, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with serving(tmp_path / "home", tmp_path) as server:
        alone = attended(server, browser, 1, 0)
        first, second = (attended(server, browser, DRAWN, UNSEEN) for _ in range(2))
    print(f"\nserver: {alone:.0f} MiB in front of one session, {first:.0f} of thirty, {second:.0f} of thirty others")
    record_property("memory_mib", (alone, first, second))
    assert first - alone < MIB_PER_SESSION * (DRAWN + UNSEEN)
    assert second - first < MIB_PER_CLOSED * (DRAWN + UNSEEN)
