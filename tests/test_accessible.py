"""Every page under axe: no finding that is serious or critical, at both widths and in both themes."""

from pathlib import Path
from typing import Any

import pytest

from app.lessons.reading import lessons
from tests.browser import Browser, Server, browser, server, tab, wait_until
from tests.test_browser_compare import drawn, filled

__all__ = ["browser", "server"]
pytestmark = pytest.mark.browser

PAGES = Path(__file__).parent.parent / "app" / "app_pages"
AT_REST = "[data-testid=stApp][data-test-script-state=notRunning]"
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
        page.locator(AT_REST).wait_for()
        wait_until(lambda: not found(page), lambda: "\n".join(found(page)))


@pytest.mark.parametrize(
    ("what", "width", "height", "dark"),
    [
        ("", 390, 844, False),
        ("said=shown", 1280, 800, True),
        ("said=shown&present=true", 1280, 720, False),
        ("present=true", 1280, 720, True),
        ("handout=true", 1280, 800, True),
    ],
)
def test_no_lesson_has_a_grave_finding(
    browser: Browser, server: Server, what: str, width: int, height: int, dark: bool
) -> None:
    with tab(browser, width, height, dark) as page:
        for lesson in lessons()[0]:
            page.goto(f"{server.url}/lessons?lesson={lesson.key}&step={len(lesson.steps)}&{what}")
            page.locator('.st-key-lesson-stage h2, [class*="st-key-handout-step"] h2').first.wait_for()
            page.locator(AT_REST).wait_for()
            wait_until(lambda: not found(page), lambda: "\n".join([lesson.key, *found(page)]))  # noqa: B023
