"""The Covariance page in a real browser: what is drawn, what moves it, and what the address keeps."""

from urllib.parse import parse_qs, urlparse

import pandas as pd
import pytest

from tests.browser import Browser, Page, Server, browser, overflow, page, place, server, tab, wait_until

__all__ = ["browser", "page", "server"]
pytestmark = pytest.mark.browser

FALLING = "DropCorr: pairs that fall together"


def opened(page: Page, server: Server, address: str = "") -> None:
    page.goto(f"{server.url}/covariance?{address}")
    page.locator(".ds-square .heatmaplayer image").nth(2).wait_for()


def alt(page: Page, start: str) -> str:
    return str(page.locator(f'[role=img][aria-label^="{start}"]').get_attribute("aria-label"))


def colours(page: Page) -> list[str]:
    """The colours of the first matrix, from its lowest value to its highest, and those of what has none."""
    read = "(plot) => [...plot.data[0].colorscale.map((stop) => stop[1]), plot.layout.plot_bgcolor]"
    return list(page.locator(".ds-square").first.evaluate(read))


def query(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlparse(page.url).query)


def test_the_matrices_are_drawn_as_squares_with_words_for_those_who_do_not_see_them(page: Page, server: Server) -> None:
    opened(page, server)
    assert page.locator(".ds-square .heatmaplayer image").count() == 3
    assert "Its correlation with the covariance is 0." in alt(page, FALLING)
    sides = page.locator(".ds-square .heatmaplayer image").first.evaluate(
        "(cells) => [cells.width.baseVal.value, cells.height.baseVal.value]"
    )
    assert sides[0] == pytest.approx(sides[1], rel=0.02)
    assert sides[0] > 200


def test_p_moves_the_masks_and_the_address(page: Page, server: Server) -> None:
    opened(page, server)
    before = alt(page, FALLING)
    page.get_by_role("slider", name="Drop probability p").focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    wait_until(lambda: "p 0.4." in alt(page, FALLING), "the matrix does not follow p")
    assert alt(page, FALLING) != before
    wait_until(lambda: query(page).get("p") == ["0.4"], "the address does not name p")
    page.reload()
    wait_until(lambda: page.locator(".ds-square").count() == 3, "the page does not come back")
    wait_until(lambda: "p 0.4." in alt(page, FALLING), "p is not brought back")


def test_what_is_chosen_is_drawn_and_kept_in_the_address(page: Page, server: Server) -> None:
    opened(page, server, "measure=Correlation&order=Index&net=digits-none")
    assert alt(page, "Correlation without dropout (−1 to 1), by index")
    page.get_by_role("radio", name="Before and after").click()
    page.locator('[aria-label^="Correlation after DropCorr"]').wait_for()
    page.get_by_role("radio", name="Variance", exact=True).click()
    page.locator('[aria-label^="Correlation after DropCorr (−1 to 1), largest variance first"]').wait_for()
    wait_until(
        lambda: query(page) == {
            "net": ["Digits · no dropout"], "measure": ["Correlation"], "order": ["Variance"],
            "view": ["Before and after"],
        },
        f"the address is {page.url}",
    )  # fmt: skip


def test_an_epoch_before_training_has_another_covariance(page: Page, server: Server) -> None:
    opened(page, server)
    read = "(plot) => plot.data[0].zmax"
    last = page.locator(".ds-square").first.evaluate(read)
    page.get_by_role("slider", name="Epoch of training").focus()
    page.keyboard.press("Home")
    wait_until(lambda: query(page).get("epoch") == ["0"], "the address does not name the epoch")
    wait_until(lambda: page.locator(".ds-square").first.evaluate(read) < last / 10, "the matrix stays as it was")


def test_a_wrong_value_in_the_address_is_named(page: Page, server: Server) -> None:
    opened(page, server, "net=Nowhere&p=7")
    notice = page.get_by_role("alert").text_content() or ""
    assert "“Nowhere” in the address is no choice of “Network”" in notice
    assert "“7” in the address does not lie between" in notice


def test_the_pairs_can_be_had_as_a_table(page: Page, server: Server) -> None:
    opened(page, server)
    with page.expect_download() as download:
        page.get_by_role("button", name="Pairs as CSV").click()
    frame = pd.read_csv(download.value.path())
    assert len(frame) == 128 * 127 // 2
    assert list(frame) == [
        "unit", "other", "covariance", "correlation", "dropcorr: fall together", "standard: fall together",
    ]  # fmt: skip


@pytest.mark.parametrize("dark", [False, True])
def test_zero_has_the_ground_of_the_page_and_nothing_leaves_a_small_screen(
    browser: Browser, server: Server, dark: bool
) -> None:
    with tab(browser, width=390, dark=dark) as page:
        opened(page, server)
        ground = "#0E1117" if dark else "#FFFFFF"
        found = colours(page)
        assert found[len(found) // 2 - 1] == ground
        assert found[-1] == ("#262C39" if dark else "#ECEEF2")
        wait_until(lambda: overflow(page) == 0, "something is wider than the screen")
        picture, below = page.locator(".ds-square").first, page.get_by_text("Techniques", exact=True).first
        wait_until(lambda: place(picture)["bottom"] <= place(below)["top"], "no picture stands first")


def test_every_picture_and_control_has_a_name(page: Page, server: Server) -> None:
    opened(page, server)
    nameless = page.evaluate(
        "[...document.querySelectorAll('[role=img]:not([aria-label]), button:not([aria-label])')]"
        ".filter((part) => !part.textContent.trim() && !part.getAttribute('title')).map((part) => part.outerHTML)"
    )
    assert nameless == []
