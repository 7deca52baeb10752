"""A class in front of one server: thirty browsers watch one run live, and the server's memory stays bounded."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from core.jobs import LocalEngine
from core.runs import RunStore
from core.training import Config
from tests.browser import Browser, Page, browser, serving, tab, wait_until

__all__ = ["browser"]
pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.timeout(1800)]

SESSIONS = 30
# What a session may hold of the server's memory while it is open, and what may be left when all have gone twice.
MIB_PER_SESSION = 15
MIB_LEFT = 150
PATIENCE = 300.0


def points(page: Page) -> int:
    return int(page.locator(".ds-live").get_attribute("data-points") or 0)


def watched(browser: Browser, address: str, memory: Callable[[], float]) -> float:
    """Open all sessions, see each curve grow, close them; the server's memory while they were open, in MiB."""
    with ExitStack() as stack:
        pages = [stack.enter_context(tab(browser)) for _ in range(SESSIONS)]
        for page in pages:
            page.set_default_timeout(PATIENCE * 1000)
            page.goto(address)
        for page in pages:
            page.locator(".ds-live").wait_for()
            wait_until(lambda page=page: points(page) > 0, "a session sees no curve", PATIENCE)
        before = [points(page) for page in pages]
        for page, seen in zip(pages, before, strict=True):
            wait_until(lambda page=page, seen=seen: points(page) > seen, "a curve does not move", PATIENCE)
        return memory()


def test_thirty_browsers_see_a_live_curve_and_the_servers_memory_stays_bounded(
    browser: Browser, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    config = Config(dataset="digits", technique="dropcorr", epochs=100_000, device="cpu")
    with serving(tmp_path / "home", tmp_path) as server:
        run = RunStore(server.home).create(config.to_dict())
        process = psutil.Process(server.process.pid)

        def memory() -> float:
            return float(process.memory_info().rss) / 2**20

        address = f"{server.url}/train?run={run}"
        with tab(browser) as page:
            page.goto(address)
            wait_until(lambda: page.locator(".ds-live").count() and points(page) > 0, "no point arrives", PATIENCE)
        alone = memory()
        first = watched(browser, address, memory)
        second = watched(browser, address, memory)
        LocalEngine(RunStore(server.home)).cancel(run)
    print(f"\nserver: {alone:.0f} MiB after one session, {first:.0f} with {SESSIONS}, {second:.0f} with as many new")
    record_property("memory_mib", (alone, first, second))
    assert first - alone < MIB_PER_SESSION * SESSIONS
    assert second - first < MIB_LEFT
