"""Explore in a real browser: the slider moves the masks, a neuron tells its numbers, a link brings it all back."""

import itertools
import re
from typing import Any

import pytest
import torch

from app import networks, pictures
from app.looks import Scene, field_of
from core.checkpoints import load
from core.data import load as load_data
from tests.browser import Browser, Page, Server, browser, fits_a_phone, page, place, server, tab, wait_until

__all__ = ["browser", "page", "server"]
pytestmark = pytest.mark.browser

NET, TITLE = "digits-none", "Digits · no dropout"


def opened(page: Page, server: Server, address: str = "") -> None:
    page.goto(f"{server.url}/?image=0&{address}")
    page.locator(".ds-panel canvas").first.wait_for()
    wait_until(lambda: page.locator(".ds-masks").get_attribute("data-p"), "nothing is drawn")


def view(page: Page, name: str) -> str:
    return str(page.locator(".ds-masks").get_attribute(f"data-{name}"))


def fallen(page: Page, technique: str) -> int:
    return int(page.locator(f'.ds-panel[data-technique="{technique}"]').get_attribute("data-fallen"))


def expected(technique: str, p: float, draw: int, image: int = 0, position: int = 0) -> int:
    """How many units fall, by the layer itself."""
    x = load_data("digits").test.x[image : image + 1]
    shown = field_of(Scene(NET, networks.stamp(NET), position, pictures.digest(x), False, x), technique, {})
    assert shown.falls is not None
    return int((shown.falls[draw - 1] <= shown.grid.index(p)).sum())


def move_to(page: Page, p: float) -> None:
    page.locator(".ds-p input").evaluate(
        "(input, step) => { input.value = step; input.dispatchEvent(new Event('input')); }", round(p * 100)
    )
    wait_until(lambda: view(page, "p") == f"{p:.2f}", "the slider does not move the view")


def test_the_first_screen_shows_a_trained_network_and_its_masks(page: Page, server: Server) -> None:
    opened(page, server)
    page.get_by_role("heading", name="Which neurons fall?").wait_for()
    wait_until(lambda: page.locator(".ds-panel").count() == 4, "there are not four techniques")
    page.get_by_text("Without dropout the network says").wait_for()
    painted = """canvas => {
        const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        return new Set(new Uint32Array(pixels.buffer)).size;
    }"""
    for canvas in page.locator(".ds-panel canvas").all():
        wait_until(lambda: canvas.evaluate(painted) > 10, "a field is not painted")  # noqa: B023
    for plot in page.locator(".ds-masks .ds-plot").all():
        plot.locator(".main-svg").first.wait_for()
        assert len(plot.get_attribute("aria-label")) > 40


def test_the_slider_and_the_draws_move_the_masks_as_the_layers_would(page: Page, server: Server) -> None:
    opened(page, server, f"net={TITLE}&with=Standard&with=DropAct&with=DropCorr&with=Standout")
    for p in (0.0, 0.07, 0.5, 1.0):
        move_to(page, p)
        for name in ("standard", "dropact", "dropcorr", "standout"):
            assert fallen(page, name) == expected(name, p, 1), (name, p)
    move_to(page, 0.3)
    page.get_by_role("button", name="Next draw").click()
    wait_until(lambda: view(page, "draw") == "2", "the draw does not change")
    for name in ("standard", "dropact", "dropcorr", "standout"):
        assert fallen(page, name) == expected(name, 0.3, 2), name


def test_every_technique_is_drawn_without_an_error(page: Page, server: Server) -> None:
    names = ("Standard", "DropConnect", "Gaussian", "Variational", "Standout", "DropAct", "DropInv", "DropCorr")
    opened(page, server, "&".join(f"with={name}" for name in names))
    wait_until(lambda: page.locator(".ds-panel").count() == 8, "there are not eight techniques")
    page.locator('[data-technique="dropconnect"] .ds-count', has_text="of 65,536 weights fall").wait_for()
    page.locator(".ds-diagram canvas").nth(7).wait_for()
    lengths = "tracks => new Set(tracks.map((track) => track.clientWidth)).size"
    for bars in page.locator(".ds-bars").all():
        scales = bars.locator(".ds-track")
        wait_until(lambda: scales.evaluate_all(lengths) == 1, "bars on scales of their own")  # noqa: B023
    move_to(page, 0.9)
    page.get_by_role("button", name="by activation").click()
    page.get_by_text("Compare two masks").click()
    wait_until(lambda: "fall under both" in page.locator(".ds-compare .ds-key").inner_text(), "no difference is told")


def test_a_diagram_in_sight_follows_p(page: Page, server: Server) -> None:
    opened(page, server, "with=Standard")
    words = page.locator(".ds-diagram figcaption")
    words.scroll_into_view_if_needed()
    wait_until(lambda: words.inner_text() == "What lies below the line falls.", "the diagram is not drawn")
    move_to(page, 0.0)
    wait_until(lambda: words.inner_text() == "p is 0: none falls.", "the diagram does not follow")


def test_a_neuron_tells_its_numbers_by_keyboard_and_by_pointer(page: Page, server: Server) -> None:
    opened(page, server, "with=DropAct&with=Standard&p=0.2&unit=1")
    canvas = page.locator('[data-technique="dropact"] canvas')
    assert view(page, "unit") == "1"
    canvas.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    wait_until(lambda: view(page, "unit") == "18", "the arrows do not move the focus")
    page.keyboard.press("End")
    wait_until(lambda: view(page, "unit") == "128", "End does not reach the last unit")
    page.locator(".ds-detail-title", has_text="Unit 128: activation").wait_for()
    canvas.click(position={"x": 3, "y": 3})
    wait_until(lambda: view(page, "unit") == "1", "a click does not choose the unit")
    card = page.locator(".ds-card").first.inner_text()
    number = re.search(r"u = ([\d.]+) [<≥] 0.20 = p", card)
    assert number, card
    assert "of 400 draws" in card
    x = load_data("digits").test.x[:1]
    first = networks.FIRST
    shown = field_of(Scene(first, networks.stamp(first), 0, pictures.digest(x), False, x), "standard", {})
    assert float(number[1]) == pytest.approx(float(shown.score[0, 0]), abs=0.006)


def test_the_address_brings_the_view_back(page: Page, server: Server, browser: Browser) -> None:
    opened(page, server, f"net={TITLE}&with=Standard&with=DropInv")
    move_to(page, 0.42)
    page.get_by_role("button", name="Next draw").click()
    page.locator('[data-technique="standard"] canvas').focus()
    page.keyboard.press("Home")
    asked = "new URLSearchParams(location.search)"
    page.wait_for_function(f"{asked}.get('p') === '0.42' && {asked}.get('draw') === '2' && {asked}.get('unit') === '1'")
    counts = [fallen(page, name) for name in ("standard", "dropinv")]
    with tab(browser) as other:
        other.goto(page.url)
        other.locator(".ds-panel canvas").first.wait_for()
        wait_until(lambda: view(other, "p") == "0.42", "p is not brought back")
        wait_until(lambda: (view(other, "draw"), view(other, "unit")) == ("2", "1"), "the view is not brought back")
        wait_until(lambda: other.locator(".ds-panel").count() == 2, "other techniques are shown")
        assert [fallen(other, name) for name in ("standard", "dropinv")] == counts


def test_another_layer_has_another_unit(page: Page, server: Server) -> None:
    opened(page, server, f"net={TITLE}&with=Standard&unit=128&p=0.3")
    assert view(page, "unit") == "128"
    page.get_by_label("Layer", exact=True).click()
    page.get_by_role("option", name="Hidden 2").click()
    wait_until(lambda: view(page, "unit") != "128", "the unit stays though the layer changes")
    page.wait_for_function(f"new URLSearchParams(location.search).get('unit') === '{view(page, 'unit')}'")


def test_another_page_and_back_keeps_the_view(page: Page, server: Server) -> None:
    opened(page, server, f"net={TITLE}&with=Standard")
    move_to(page, 0.42)
    page.wait_for_function("new URLSearchParams(location.search).get('p') === '0.42'")
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()
    page.get_by_role("link", name="Covariance").click()
    page.get_by_role("heading", name="Covariance").wait_for()
    page.get_by_role("link", name="Explore").click()
    page.locator(".ds-panel canvas").first.wait_for()
    page.wait_for_function("new URLSearchParams(location.search).get('p') === '0.42'")
    wait_until(lambda: view(page, "p") == "0.42", "the view and the address differ")


def test_a_wrong_value_in_the_address_is_named(page: Page, server: Server) -> None:
    opened(page, server, "p=7&net=Nobody&unit=500&with=Standard")
    warning = page.get_by_test_id("stAlert")
    for told in ("“7”", "“Nobody”", "“500” in the address does not lie between 1 and 128"):
        warning.filter(has_text=told).wait_for()
    wait_until(lambda: view(page, "p") == "0.20", "p does not fall back")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_phone_shows_it_without_scrolling_sideways(browser: Browser, server: Server, dark: bool) -> None:
    with tab(browser, 390, 844, dark) as phone:
        opened(phone, server)
        fits_a_phone(phone, ".ds-masks button")


def test_a_phone_keeps_p_in_sight_and_what_belongs_together(browser: Browser, server: Server) -> None:
    with tab(browser, 390, 844) as phone:
        opened(phone, server, "with=Standard&with=DropAct&with=DropInv&with=Standout")
        decided = phone.locator('[class*="st-key-how-"]')
        decided.nth(3).wait_for()
        told = [phone.locator(f".st-key-how-{name}") for name in ("standard", "standout", "dropact")]
        wait_until(
            lambda: all(place(a)["bottom"] <= place(b)["top"] for a, b in itertools.pairwise(told)),
            "techniques are told in another order than they are shown",
        )
        phone.get_by_text("Options of the techniques").click()
        switch = phone.get_by_test_id("stCheckbox").first
        switch.wait_for()
        track, text = (switch.locator(part) for part in ("label > div:nth-of-type(1)", "p"))
        wait_until(lambda: abs(middle(track) - middle(text)) <= 2, "a switch is not beside its label")
        moved = phone.locator(".ds-moved")
        wait_until(lambda: moved.scroll_into_view_if_needed() or place(moved)["top"] < 844, "not scrolled")
        header, p = phone.get_by_test_id("stHeader"), phone.locator(".ds-p input")
        wait_until(lambda: place(p)["top"] >= place(header)["bottom"], "p is hidden by the header")


def middle(part: Page) -> float:
    """How far the middle of an element lies below the top of the window."""
    return (place(part)["top"] + place(part)["bottom"]) / 2


def test_headings_leave_no_level_out(page: Page, server: Server) -> None:
    opened(page, server, "with=Standard")
    page.get_by_role("heading", name="How sure is it?").wait_for()
    level = "found => found.map((heading) => Number(heading.tagName[1]))"

    def in_order() -> bool:
        levels = page.locator("h1, h2, h3, h4").evaluate_all(level)
        return levels[0] == 1 and all(after <= before + 1 for before, after in itertools.pairwise(levels))

    wait_until(in_order, "a level of headings is left out")


def test_a_forged_view_changes_nothing(page: Page, server: Server) -> None:
    opened(page, server)
    wishes: list[Any] = [{"p": 7}, {"p": "x", "draw": None, "unit": []}, 3, {"p": 0.5, "draw": 10**9, "unit": 0}]
    for wish in wishes:
        page.evaluate("wish => window.dropscopeMasks.tell('view', wish)", wish)
    move_to(page, 0.61)
    page.wait_for_function("new URLSearchParams(location.search).get('p') === '0.61'")
    assert page.get_by_test_id("stAlert").count() == 0
    assert page.get_by_test_id("stException").count() == 0


def test_the_scene_is_computed_from_the_shipped_network() -> None:
    """What the tests above hold the browser against."""
    assert load(NET).title == TITLE
    assert torch.equal(load_data("digits").test.x[:1], pictures.gallery_of(load(NET)).x[:1])
