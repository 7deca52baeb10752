"""Lessons in a real browser: by keyboard alone, by pointer on a phone, on a projector, on paper."""

import pytest

from app.lessons.lesson import Choices, Lesson
from app.lessons.reading import lessons
from tests.browser import Browser, Page, Server, browser, page, server, tab, wait_until

__all__ = ["browser", "page", "server"]
pytestmark = pytest.mark.browser

LESSONS = lessons()[0]
SIZE = "(() => { const m = document.querySelector('[data-testid=stMain]'); return [m.scrollHeight, m.clientHeight, m.scrollWidth, m.clientWidth]; })()"  # noqa: E501


def at_rest(page: Page) -> None:
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()


def at_step(page: Page, lesson: Lesson, number: int) -> None:
    page.get_by_role("heading", name=lesson.steps[number - 1].title, exact=True).first.wait_for()
    at_rest(page)
    page.wait_for_function("document.querySelector('.ds-lesson-said')?.dropscopeView")


def fits(page: Page) -> bool:
    height, room, width, across = page.evaluate(SIZE)
    return bool(height <= room and width <= across)


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until the element is in focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"the Tab key does not reach {selector}")


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.key)
def test_a_lesson_is_presented_by_keyboard_alone_without_scrolling(
    browser: Browser, server: Server, lesson: Lesson
) -> None:
    with tab(browser, 1280, 720) as page:
        page.goto(f"{server.url}/lessons?lesson={lesson.key}&present=true")
        for number, step in enumerate(lesson.steps, 1):
            at_step(page, lesson, number)
            wait_until(lambda: not page.get_by_test_id("stHeader").is_visible(), "the page's head stays")
            wait_until(lambda: fits(page), f"step {number} does not fit before the answer: {page.evaluate(SIZE)}")
            if isinstance(step.question, Choices):
                page.keyboard.press("1")
            else:
                tab_to(page, ".st-key-lesson-estimate :is(input, [role=slider])")
                page.keyboard.press("ArrowRight")
                tab_to(page, ".st-key-lesson-guess button")
                page.keyboard.press("Enter")
            page.locator(".ds-verdict-line").wait_for()
            page.wait_for_function("document.activeElement.matches('.ds-verdict-line')")
            at_rest(page)
            wait_until(lambda: fits(page), f"step {number} does not fit behind the answer: {page.evaluate(SIZE)}")
            page.keyboard.press("ArrowRight")
        page.wait_for_function(f"new URLSearchParams(location.search).get('lesson') !== '{lesson.key}'")


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.key)
def test_a_lesson_is_done_on_a_phone_and_the_browser_remembers_it(
    browser: Browser, server: Server, lesson: Lesson
) -> None:
    with tab(browser, 390, 844, dark=True) as phone:
        phone.goto(f"{server.url}/lessons")
        phone.get_by_role("link", name=lesson.title).click()
        for number, step in enumerate(lesson.steps, 1):
            at_step(phone, lesson, number)
            _, _, width, across = phone.evaluate(SIZE)
            assert width <= across, f"step {number} is wider than the phone"
            right = step.question.right if isinstance(step.question, Choices) else None
            phone.locator(f".st-key-lesson-answer-{right} button" if right else ".st-key-lesson-guess button").click()
            verdict = phone.locator(".ds-verdict-line")
            verdict.wait_for()
            if right:
                assert verdict.inner_text() == "You were right."
            at_rest(phone)
            if number < len(lesson.steps):
                phone.locator(".st-key-lesson-next button").click()
        phone.get_by_role("button", name="All lessons").first.click()
        phone.get_by_role("link", name=lesson.title).get_by_text("all steps answered").wait_for()


def test_words_mark_what_they_speak_of_and_a_link_brings_the_step_back(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/lessons?lesson=masks&step=2&said=1")
    at_step(page, LESSONS[0], 2)
    link = page.locator('.st-key-lesson-stage a[href="#p"]').first
    link.hover()
    page.locator(".ds-p.ds-spoken").wait_for()
    page.mouse.move(5, 5)
    wait_until(lambda: page.locator(".ds-spoken").count() == 0, "the mark stays")
    link.focus()
    page.locator(".ds-p.ds-spoken").wait_for()
    assert "It is otherwise." in page.locator(".ds-verdict-line").inner_text()
    assert page.locator(".ds-masks").get_attribute("data-p") == "0.80"
    page.get_by_role("button", name="Share").click()
    page.get_by_alt_text("QR code of").wait_for()
    assert "lesson=masks&step=2&said=1" in page.locator('[data-testid="stCode"]').inner_text()


def test_a_handout_prints_light_on_a_few_pages_of_a4_without_controls(browser: Browser, server: Server) -> None:
    with tab(browser, dark=True) as page:
        page.goto(f"{server.url}/lessons?lesson=masks&handout=true")
        page.locator(".ds-masks canvas").nth(4).wait_for()
        at_rest(page)
        page.emulate_media(media="print")
        for hidden in ("header[data-testid=stHeader]", ".st-key-lesson-tools", ".ds-masks-bar"):
            assert not page.locator(hidden).first.is_visible(), hidden
        ground = "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
        page.wait_for_function(f"{ground} === 'rgb(255, 255, 255)'")
        printed = page.pdf(format="A4", prefer_css_page_size=True)
    assert 2 <= printed.count(b"/Type /Page\n") <= 6
