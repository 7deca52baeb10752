"""The Paper page in a real browser: the masks of the three techniques live, and the diagrams that follow them."""

import pytest

from tests.browser import Page, Server, browser, page, server, wait_until

__all__ = ["browser", "page", "server"]
pytestmark = pytest.mark.browser


def test_p_moves_the_masks_and_nothing_of_explore_stands_below_them(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/paper")
    panels = page.locator(".ds-panel")
    page.locator(".ds-panel canvas").nth(2).wait_for()
    wait_until(lambda: panels.count() == 3, "there are not three techniques")
    wait_until(lambda: page.locator(".ds-masks").get_attribute("data-p") == "0.20", "the masks are not drawn")
    counts = [int(panel.get_attribute("data-fallen")) for panel in panels.all()]
    assert counts == [25, 25, 25]  # k = ⌊0.2 · 128⌋, and more are active
    slider = page.get_by_label("Drop probability p")
    slider.focus()
    slider.press("Home")
    wait_until(lambda: page.locator(".ds-masks").get_attribute("data-p") == "0.00", "p does not move")
    assert [int(panel.get_attribute("data-fallen")) for panel in panels.all()] == [0, 0, 0]
    diagrams = page.locator(".ds-diagram")
    diagrams.first.scroll_into_view_if_needed()
    wait_until(lambda: "p is 0" in diagrams.first.inner_text(), "the diagrams do not follow")
    for part in (".ds-detail-strip", ".ds-charts", ".ds-compare"):
        page.locator(part).wait_for(state="hidden")
