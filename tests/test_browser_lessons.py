"""Lessons in a real browser: by keyboard alone, by pointer on a phone, on a projector, on paper."""

import re
from contextlib import suppress

import pytest

from app.lessons.lesson import Choices, Lesson
from app.lessons.reading import lessons
from app.lessons.training import EXPERIMENT
from core.config import Config
from core.jobs import LocalEngine
from core.jobs.processes import owner_of
from core.runs import RunStore
from tests import lesson_runs
from tests.browser import Browser, Page, Server, browser, overflow, page, place, server, tab, wait_until

__all__ = ["browser", "page", "server"]
pytestmark = pytest.mark.browser

LESSONS = lessons()[0]
SIZE = "(() => { const m = document.querySelector('[data-testid=stMain]'); return [m.scrollHeight, m.clientHeight, m.scrollWidth, m.clientWidth]; })()"  # noqa: E501

# 297 mm less two margins of 12, in CSS pixels.
A4_BETWEEN_MARGINS = (297 - 24) * 96 / 25.4
# Whether an outline, a shadow or a border tells that an element is in focus: it looks otherwise when it is not.
FOCUS_SHOWS = """(() => {
  const node = document.activeElement;
  const around = [node, node.parentElement, node.previousElementSibling, node.nextElementSibling].filter(Boolean);
  const look = () => around.map((n) => { const s = getComputedStyle(n); return [s.outlineStyle, s.outlineWidth, s.boxShadow, s.borderColor].join(); }).join("|");
  const focused = look();
  node.blur();
  const plain = look();
  node.focus();
  return focused !== plain;
})()"""  # noqa: E501


WAITS = """\
title: A short training
about: One run of one epoch.
minutes: 1
training: {techniques: [none], epochs: 1, train_size: 50}
steps:
  - title: Wait for it
    text: "[Curves](#loss) of {{images}} images."
    picture: {kind: curves, curves: [train]}
    question: {ask: "Which?", answers: [one, two], right: 1}
    then: {curves: [train, validation]}
    explain: It is {{none.validation:.2f}}.
    check: none.validation > 0
"""


@pytest.fixture(scope="module", autouse=True)
def _trained(server: Server) -> None:
    """What the lessons train is there: how that is waited for has a test of its own."""
    lesson_runs.train(server.home)


def at_rest(page: Page) -> None:
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()


def at_step(page: Page, lesson: Lesson, number: int) -> None:
    page.get_by_role("heading", name=lesson.steps[number - 1].title, exact=True).first.wait_for()
    at_rest(page)
    page.wait_for_function("document.querySelector('.ds-lesson-said')?.dropscopeView")


def awaited_to_fit(page: Page, what: str) -> None:
    def fits() -> bool:
        height, room, width, across = page.evaluate(SIZE)
        return bool(height <= room and width <= across)

    wait_until(fits, lambda: f"{what} does not fit: {page.evaluate(SIZE)}")


def answer(page: Page, key: str, button: str, sign: str = ".ds-verdict-line") -> None:
    """Press the key until there is a sign, again where a page that was being drawn anew did not take it."""
    told = page.locator(sign)

    def pressed() -> bool:
        from playwright.sync_api import TimeoutError as NotYet

        at_rest(page)
        if told.count():
            return True
        with suppress(NotYet):
            page.locator(button).focus(timeout=8_000)
            page.keyboard.press(key)
            told.wait_for(timeout=8_000)
        return bool(told.count())

    wait_until(pressed, f"{key} does not answer")


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until the element is in focus."""
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    pytest.fail(f"the Tab key does not reach {selector}")


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (390, 844)])
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.key)
def test_a_lesson_is_done_by_keyboard_alone_and_presented_without_scrolling(
    browser: Browser, server: Server, lesson: Lesson, width: int, height: int
) -> None:
    presented = width == 1280
    with tab(browser, width, height) as page:
        page.goto(f"{server.url}/lessons?lesson={lesson.key}{'&present=true' if presented else ''}")
        for number, step in enumerate(lesson.steps, 1):
            at_step(page, lesson, number)
            if presented:
                wait_until(lambda: not page.get_by_test_id("stHeader").is_visible(), "the page's head stays")
                awaited_to_fit(page, f"step {number} before the answer")
            if isinstance(step.question, Choices):
                answer(page, "1", ".st-key-lesson-answer-1 button")
            else:
                tab_to(page, ".st-key-lesson-estimate :is(input, [role=slider])")
                wait_until(lambda: page.evaluate(FOCUS_SHOWS), "nothing shows that the slider is in focus")
                page.keyboard.press("ArrowRight")
                tab_to(page, ".st-key-lesson-guess button")
                wait_until(lambda: page.evaluate(FOCUS_SHOWS), "nothing shows that the button is in focus")
                answer(page, "Enter", ".st-key-lesson-guess button")
            page.locator(".ds-verdict-line").wait_for()
            page.wait_for_function("document.activeElement.matches('.ds-verdict-line')")
            at_rest(page)
            if presented:
                awaited_to_fit(page, f"step {number} behind the answer")
            page.keyboard.press("ArrowRight")
        page.wait_for_function(f"new URLSearchParams(location.search).get('lesson') !== '{lesson.key}'")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.key)
def test_a_lesson_is_done_by_pointer_and_the_browser_remembers_it(
    browser: Browser, server: Server, lesson: Lesson, width: int, height: int
) -> None:
    with tab(browser, width, height, dark=True) as page:
        page.goto(f"{server.url}/lessons")
        page.get_by_role("link", name=lesson.title).click()
        for number, step in enumerate(lesson.steps, 1):
            at_step(page, lesson, number)
            wait_until(lambda: overflow(page) == 0, f"step {number} is wider than the screen")
            if width == 390:
                tools, share = page.locator(".st-key-lesson-tools"), page.get_by_role("button", name="Share")
                wait_until(lambda: place(share)["left"] == place(tools)["left"], "not below the heading")  # noqa: B023
            right = step.question.right if isinstance(step.question, Choices) else None
            page.locator(f".st-key-lesson-answer-{right} button" if right else ".st-key-lesson-guess button").click()
            verdict = page.locator(".ds-verdict-line")
            verdict.wait_for()
            if right:
                page.locator(".ds-verdict-line", has_text=re.compile(r"^\s*You were right\.\s*$")).wait_for()
            at_rest(page)
            if number < len(lesson.steps):
                page.locator(".st-key-lesson-next button").click()
        page.get_by_role("button", name="All lessons").first.click()
        page.get_by_role("link", name=lesson.title).get_by_text("all steps answered").wait_for()


def test_a_link_brings_back_what_is_on_the_projector(browser: Browser, page: Page, server: Server) -> None:
    page.goto(f"{server.url}/lessons?lesson=masks&step=5&said=20&present=true")
    at_step(page, LESSONS[0], 5)
    page.locator(".ds-masks[data-p]").wait_for()
    page.locator(".ds-p input").press("ArrowRight")
    page.get_by_role("button", name="Next draw").click()
    page.wait_for_function("new URLSearchParams(location.search).get('draw') === '2'")
    at_rest(page)
    page.get_by_role("button", name="Share").click()
    page.get_by_alt_text("QR code of").wait_for()
    link = page.locator('[data-testid="stCode"]').inner_text().strip()
    shown = page.locator(".ds-masks")
    state = {name: shown.get_attribute(f"data-{name}") for name in ("p", "draw", "unit")}
    assert state["p"] not in ("0.50", None)
    with tab(browser, 390, 844, dark=True) as phone:
        phone.goto(link)
        at_step(phone, LESSONS[0], 5)
        there = phone.locator(".ds-masks[data-p]")
        there.wait_for()
        wait_until(
            lambda: {name: there.get_attribute(f"data-{name}") for name in state} == state,
            "the phone shows another view",
        )
        phone.locator(".ds-verdict-line").wait_for()
        phone.get_by_test_id("stHeader").wait_for()
        phone.locator(".st-key-lesson-back button").click()
        at_step(phone, LESSONS[0], 4)
        keys = "[...new URLSearchParams(location.search).keys()]"
        wait_until(lambda: not {"p", "draw", "unit"} & {*phone.evaluate(keys)}, "the address keeps another step's view")


def test_a_matrix_follows_p_and_the_address_keeps_it(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/lessons?lesson=falling-together&step=3&said=20&p=0.5")
    figure = page.locator('[class*="st-key-lesson-pair-falling-dropcorr"] [role=img]')
    wait_until(lambda: "p 0.5." in (figure.get_attribute("aria-label") or ""), "the address is not read")
    page.locator(".st-key-p :is(input, [role=slider])").first.press("ArrowRight")
    wait_until(lambda: "p 0.55." in (figure.get_attribute("aria-label") or ""), "the figure does not follow")
    page.wait_for_function("new URLSearchParams(location.search).get('p') === '0.55'")
    page.locator('.st-key-lesson-stage a[href="#marks"], .st-key-lesson-stage a[href="#dropcorr"]').last.hover()
    page.locator('[class*="st-key-lesson-pair-falling-dropcorr"] .ds-figure.ds-spoken').wait_for()


def test_an_answer_that_is_still_trained_comes_by_itself_and_keeps_nobody(page: Page, server: Server) -> None:
    (server.home / "lessons").mkdir(exist_ok=True)
    (server.home / "lessons" / "99-wait.yaml").write_text(WAITS)
    # As long as others have the machine's places, the page waits.
    store = RunStore(server.home, timeout=60.0)
    others = [
        store.create(Config(epochs=100).to_dict(), owner=owner_of(), experiment=f"{EXPERIMENT}wait")
        for _ in range(LocalEngine(store).limit)
    ]
    page.goto(f"{server.url}/lessons?lesson=wait")
    page.locator(".st-key-lesson-answer-1 button").wait_for()
    at_rest(page)
    page.locator(".st-key-lesson-next button:enabled").wait_for()
    answer(page, "1", ".st-key-lesson-answer-1 button", "text=Training now")
    for other in others:
        store.finish(other, "stopped")
    page.locator(".ds-verdict-line").wait_for(timeout=240_000)
    page.wait_for_function("document.activeElement.matches('.ds-verdict-line')")
    page.get_by_text("It is 2.").wait_for()
    page.wait_for_function("document.querySelector('.ds-live').dataset.points > 0")
    labels = "all => all.map((one) => one.ariaLabel ?? '')"
    wait_until(
        lambda: (
            ["validation 2." in one for one in page.locator(".ds-chart:visible .ds-plot").evaluate_all(labels)]
            == [True]
        ),
        "one chart does not tell the validation loss",
    )


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
    page.locator(".ds-verdict-line", has_text="It is otherwise.").wait_for()
    page.locator('.ds-masks[data-p="0.80"]').wait_for()
    page.get_by_role("button", name="Share").click()
    page.get_by_alt_text("QR code of").wait_for()
    page.locator('[data-testid="stCode"]', has_text="lesson=masks&step=2&said=1").wait_for()


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.key)
def test_a_handout_prints_light_without_controls_and_breaks_no_step(
    browser: Browser, server: Server, lesson: Lesson
) -> None:
    last = f".st-key-handout-picture-{len(lesson.steps)}"
    with tab(browser, dark=True) as page:
        page.goto(f"{server.url}/lessons?lesson={lesson.key}&handout=true")
        page.locator(f"{last} :is(canvas, svg, img)").first.wait_for()
        at_rest(page)
        page.emulate_media(media="print")
        for hidden in ("header[data-testid=stHeader]", ".st-key-lesson-tools", ".ds-masks-bar", ".ds-save"):
            page.locator(hidden).first.wait_for(state="hidden")
        ground = "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
        page.wait_for_function(f"{ground} === 'rgb(255, 255, 255)'")
        steps = page.locator('[class*="st-key-handout-step-"]')
        heights = steps.evaluate_all("nodes => nodes.map((node) => node.getBoundingClientRect().height)")
        printed = page.pdf(format="A4", prefer_css_page_size=True)
    assert len(heights) == len(lesson.steps)
    assert max(heights) <= A4_BETWEEN_MARGINS
    assert printed.count(b"/Type /Page\n") <= len(lesson.steps)
