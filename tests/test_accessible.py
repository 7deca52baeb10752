"""Every page under axe: no finding that is serious or critical, at both widths and in both themes."""

from pathlib import Path
from typing import Any

import pytest

from tests.browser import Browser, Server, browser, server, tab
from tests.test_browser_compare import drawn, filled

__all__ = ["browser", "server"]
pytestmark = pytest.mark.browser

PAGES = Path(__file__).parent.parent / "app" / "app_pages"
GRAVE = ("serious", "critical")


@pytest.fixture(scope="module")
def runs(server: Server) -> list[str]:
    return filled(server.home)


def found(page: Any) -> list[str]:
    """What axe finds, one line an element: the rule, how grave it is, the element, and what is wrong there."""
    from axe_playwright_python.sync_playwright import Axe

    violations = Axe().run(page).response["violations"]
    assert not any(v["impact"] is None for v in violations)
    return [
        f"{v['id']} ({v['impact']}): {node['html'][:200]}: {node['failureSummary']}"
        for v in violations
        if v["impact"] in GRAVE
        for node in v["nodes"]
    ]


@pytest.mark.parametrize(("width", "height", "dark"), [(1280, 800, False), (390, 844, True)])
@pytest.mark.parametrize("name", sorted(path.stem for path in PAGES.glob("[a-z]*.py")))
def test_a_page_has_no_grave_finding(
    browser: Browser, server: Server, runs: list[str], name: str, width: int, height: int, dark: bool
) -> None:
    of_runs = {
        "train": "&".join(f"run={run}" for run in runs),
        "compare": f"confusion=true&runs={runs[0]},{runs[3]}",
    }
    address = "" if name == "explore" else name
    with tab(browser, width, height, dark) as page:
        page.goto(f"{server.url}/{address}?{of_runs.get(name, '')}")
        page.locator("h1, h2").first.wait_for()
        if name == "compare":
            drawn(page, 4)
        page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
        assert found(page) == []
