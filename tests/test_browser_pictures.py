"""Bringing an image of one's own in a real browser: files good and bad, and the sheet by pointer and by keys."""

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.browser import Browser, Page, Server, browser, fits_a_phone, page, place, server, tab, wait_until

__all__ = ["browser", "page", "server"]
pytestmark = pytest.mark.browser

INPUT = 'img[alt*="as the network sees it"]'


def opened(page: Page, server: Server, source: str) -> None:
    page.goto(f"{server.url}/?net=digits-none&from={source}")
    page.locator(".st-key-from").wait_for()


def chosen(page: Page, content: bytes, name: str = "digit.png") -> None:
    kind = {".png": "image/png", ".jpg": "image/jpeg"}[Path(name).suffix]
    page.locator("input[type=file]").set_input_files({"name": name, "mimeType": kind, "buffer": content})


def seven() -> bytes:
    image = Image.new("RGB", (300, 200), "white")
    ImageDraw.Draw(image).line([(110, 40), (190, 40), (140, 170)], fill="black", width=24)
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def strokes(page: Page) -> int:
    return int(page.locator(".ds-sketch canvas").get_attribute("data-strokes") or 0)


def drawn(page: Page, *path: tuple[float, float]) -> None:
    """A stroke through points given as shares of the sheet."""
    sheet = page.locator(".ds-sketch canvas")
    sheet.hover()
    box = place(sheet)
    points = [(box["left"] + x * box["width"], box["top"] + y * box["height"]) for x, y in path]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=5)
    page.mouse.up()


def test_an_uploaded_image_shows_as_the_network_sees_it_with_its_steps(page: Page, server: Server) -> None:
    opened(page, server, "Upload")
    chosen(page, seven())
    page.locator(INPUT).wait_for()
    page.get_by_alt_text("Your image, as the network sees it: 8 × 8 pixels", exact=True).wait_for()
    page.get_by_text("How it got there").click()
    for title in ("As it came", "Shape of the frame", "Light on dark", "Ink placed", "Size of the input"):
        page.get_by_text(title, exact=True).wait_for()
    page.get_by_text("Cropped to its middle.").wait_for()
    page.locator(".st-key-square").get_by_text("Pad", exact=True).click()
    page.get_by_text("Padded with the colour of its border.").wait_for()
    wait_until(lambda: "square=Pad" in page.url, "the address does not carry the choice")


def test_a_bad_file_is_one_sentence_and_a_good_one_after_it_works(page: Page, server: Server) -> None:
    opened(page, server, "Upload")
    chosen(page, b"SIMPLE  =                    T", "<b>stars<b>.png")
    page.locator("[data-testid=stAlert]", has_text="FITS file").filter(has_text="whatever its name says").wait_for()
    page.locator(INPUT).wait_for(state="detached")
    assert page.locator("[data-testid=stFileUploader] b").count() == 0
    chosen(page, seven()[:300], "cut.png")
    page.locator("[data-testid=stAlert]", has_text="cut short").wait_for()
    chosen(page, seven())
    page.locator(INPUT).wait_for()
    page.locator("[data-testid=stAlert]", has_text="FITS").wait_for(state="detached")


def test_a_digit_is_drawn_undone_and_cleared(page: Page, server: Server) -> None:
    opened(page, server, "Draw")
    page.locator(".ds-sketch canvas").wait_for()
    page.locator(".ds-sketch").get_by_role("button", name="Undo", disabled=True).wait_for()
    drawn(page, (0.3, 0.25), (0.7, 0.25), (0.45, 0.8))
    page.locator(INPUT).wait_for()
    before = page.locator(INPUT).get_attribute("src")
    drawn(page, (0.35, 0.5), (0.7, 0.5))
    wait_until(lambda: strokes(page) == 2, "the second stroke is not drawn")
    wait_until(lambda: page.locator(INPUT).get_attribute("src") != before, "the second stroke does not arrive")
    page.get_by_role("button", name="Undo").click()
    wait_until(lambda: page.locator(INPUT).get_attribute("src") == before, "undo does not arrive")
    page.get_by_role("button", name="Clear").click()
    page.get_by_text("Draw a digit: the network answers").wait_for()
    wait_until(lambda: page.locator(INPUT).count() == 0, "the drawing is still shown")


def test_a_digit_is_drawn_with_keys_alone(page: Page, server: Server) -> None:
    opened(page, server, "Draw")
    sheet = page.locator(".ds-sketch canvas")
    sheet.focus()
    for key in ("ArrowUp", "ArrowUp", "Space", "ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown", "Space"):
        page.keyboard.press(key)
    assert strokes(page) == 1
    page.locator(".ds-sketch [role=status]", has_text="Pen up").wait_for(state="attached")
    page.locator(INPUT).wait_for()
    page.keyboard.press("ArrowRight")
    assert strokes(page) == 1
    page.keyboard.press("Backspace")
    assert strokes(page) == 0


@pytest.mark.parametrize("dark", [False, True])
def test_the_sheet_fits_a_phone(browser: Browser, server: Server, dark: bool) -> None:
    with tab(browser, 390, 844, dark) as page:
        opened(page, server, "Draw")
        sheet = page.locator(".ds-sketch canvas")
        sheet.wait_for()
        assert sheet.evaluate("sheet => getComputedStyle(sheet).touchAction") == "none"
        wait_until(lambda: place(sheet)["left"] >= 0 and place(sheet)["right"] <= 390, "the sheet leaves the screen")
        fits_a_phone(page, ".ds-sketch button")
        sheet.tap()
        wait_until(lambda: strokes(page) == 1, "a finger draws nothing")
        page.locator(INPUT).wait_for()
