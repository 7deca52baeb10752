"""Lessons: predict, do, see, explain, with the pictures of the other pages."""

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from app import lesson_links, services
from app import lessons as lessons_folder
from app.components.lesson import guide
from app.components.lesson_list import lesson_list
from app.controls import Switch, address, html_text, misfits, notices, plain_text, warn
from app.lesson_question import Said, answered, ask, tell
from app.lessons.lesson import Lesson, Picture, Step
from app.lessons.reading import lessons
from app.lessons.training import Wait
from app.lessons.words import filled

LEAD = """<p class="ds-lead">Short lessons for a class or for yourself. Each step asks what you expect, shows what
happens in a real network, and says why.</p>"""
STYLE = Path(lessons_folder.__file__).with_name("style.css")
QR_WIDTH = 240
LOOK_AGAIN_SECONDS = 1.0
SHARED = ("lesson", "step", "said")
FLAGS = (Switch("present", "Present", False), Switch("handout", "Handout", False))
STATE = (*SHARED, *(flag.key for flag in FLAGS))


def page() -> None:
    st.html(STYLE)
    found, wrong = lessons()
    by_key = {lesson.key: lesson for lesson in found}
    asked = st.query_params.get("lesson", "")
    if asked and asked not in by_key:
        warn([f"There is no lesson “{asked[:40]}”; choose one of these."])
    with services.guard():
        if asked in by_key and st.query_params.get("handout") == "true":
            handout(by_key[asked])
        elif asked in by_key:
            teach(by_key[asked], found)
        else:
            overview(found)
            for error in wrong:
                st.error(plain_text(error), icon=":material/error:")


def overview(found: list[Lesson]) -> None:
    st.title("Lessons", anchor=False)
    st.html(LEAD)
    cards = [
        {"key": x.key, "number": place, "title": x.title, "about": x.about, "minutes": x.minutes,
         "steps": len(x.steps)}
        for place, x in enumerate(found, 1)
    ]  # fmt: skip
    chosen = lesson_list(cards)
    if chosen in {lesson.key for lesson in found}:
        st.query_params["lesson"] = str(chosen)
        st.rerun()


def teach(lesson: Lesson, found: list[Lesson]) -> None:
    """One step of a lesson."""
    number = step_number(lesson)
    step = lesson.steps[number - 1]
    said = st.query_params.get("said")
    told = answered(step, said)
    if lesson.training:
        lesson.training.look()  # begins it, so that its first step need not be waited for
    shown = step.after if told else step.before
    presenting = st.query_params.get("present") == "true"
    given = address()
    warn([*notices(given, [*FLAGS, Said(step)]), *misfits(given, shown.controls)])
    with st.container(key="lesson-presenting" if presenting else "lesson-reading"):
        tools = st.container(key="lesson-tools", horizontal=True, vertical_alignment="center")
        with st.container(key="lesson-stage"):
            with st.container(key="lesson-words"):
                st.header(plain_text(step.title), anchor=False)
                # On a projector there is no room for what everybody has read by then.
                if not (told and presenting):
                    st.markdown(filled(step.text, step.before.facts()))
            with st.container(key="lesson-picture"):
                shown.live(f"{lesson.key}-{number}-{'after' if told else 'before'}")
            with st.container(key="lesson-answer"):
                awaited = shown.waits() if told else None
                if awaited:
                    wait(shown, awaited)
                elif told:
                    explain(step, said)
                else:
                    ask(step, go)
                turn(lesson, number, found)
        with tools:  # last, so that the link has what the picture has just put into the address
            head(lesson, found.index(lesson) + 1, number, shown)
    guide(lesson.key, number, step.title, answered=told, told=told and not awaited, spoken=shown.spoken)


def step_number(lesson: Lesson) -> int:
    """The step that the address names, from 1; the first where it names none of them."""
    text = st.query_params.get("step", "1")
    last = len(lesson.steps)
    if text.isascii() and text.isdigit() and 1 <= int(text) <= last:
        return int(text)
    warn([f"“{text[:40]}” in the address is no step of this lesson; it has {last}, and this is the first."])
    return 1


def head(lesson: Lesson, place: int, number: int, shown: Picture) -> None:
    count = len(lesson.steps)
    presenting = st.query_params.get("present") == "true"
    dots = "".join(f'<span class="{"ds-reached" if i < number else ""}"></span>' for i in range(count))
    st.html(
        f'<p class="ds-step-head">Lesson {place} · {html_text(lesson.title)} · step {number} of {count}'
        f'<span class="ds-dots" aria-hidden="true">{dots}</span></p>'
    )
    st.space("stretch")
    with st.popover("Share", icon=":material/qr_code_2:"):
        share([control.key for control in shown.controls])
    if not presenting:
        st.button("Handout", icon=":material/print:", key="lesson-handout", on_click=go, kwargs={"handout": "true"})
    st.button(
        "End presenting" if presenting else "Present", icon=":material/slideshow:", key="lesson-present", on_click=go,
        kwargs={"present": None if presenting else "true"},
    )  # fmt: skip
    st.button("All lessons", key="lesson-all", on_click=leave)


def explain(step: Step, said: str | None) -> None:
    """What was right, why, and what to try."""
    facts = step.after.facts()
    tell(step, said, facts)
    if not all(check.holds(facts) for check in step.checks):
        st.warning("On this machine the numbers came out otherwise than the text expects: trust the picture.")
    st.markdown(filled(step.explain, facts))
    if step.do:
        st.markdown(f"**Try it.** {filled(step.do, facts)}")


def wait(shown: Picture, awaited: Wait) -> None:
    """In the place of an explanation whose numbers are not there yet: why, until they are."""

    @st.fragment(run_every=LOOK_AGAIN_SECONDS if awaited.active else None)
    def until_they_are() -> None:
        if now := shown.waits():
            st.info(plain_text(now.sentence), icon=":material/hourglass_top:")
        else:
            st.rerun()

    until_they_are()


def turn(lesson: Lesson, number: int, found: list[Lesson]) -> None:
    """Back and on, also to the next lesson: nothing keeps a person from going on."""
    later = [other for other in found if (other.number, other.key) > (lesson.number, lesson.key)]
    last = number == len(lesson.steps)
    forward, to = ("Next", {"step": str(number + 1)})
    if last:
        forward, to = ("Next lesson", {"lesson": later[0].key, "step": None}) if later else ("All lessons", {})
    with st.container(horizontal=True, key="lesson-turn"):
        back = {"step": str(number - 1), "said": None}
        st.button(
            "Back", key="lesson-back", disabled=number == 1, on_click=go, kwargs=back, icon=":material/arrow_back:"
        )
        act: Callable[..., None] = go if to else leave
        st.button(
            forward, key="lesson-next", type="primary", on_click=act, kwargs={**to, "said": None} if to else None,
            icon=":material/arrow_forward:", icon_position="right",
        )  # fmt: skip


def go(**changes: str | None) -> None:
    """Change the page's address, which is all its state; another picture begins as the lesson has it."""
    if {*changes} & {*SHARED}:
        changes = dict.fromkeys(st.query_params.keys() - {*STATE}) | changes
    for name, value in changes.items():
        if value is None:
            st.query_params.pop(name, None)
        else:
            st.query_params[name] = value


def leave() -> None:
    go(**dict.fromkeys(STATE))


def share(keys: Sequence[str]) -> None:
    """A link to this step as it is, ``keys`` of its picture too, and its QR code."""
    state = {name: st.query_params[name] for name in (*SHARED, *keys) if name in st.query_params}
    address = lesson_links.link(st.context.url, state)
    st.image(lesson_links.qr(address), width=QR_WIDTH, alt=f"QR code of {address}")
    st.code(address, language=None, wrap_lines=True)
    if lesson_links.only_here(address):
        st.caption(
            "This address works on this computer only. Open the dashboard by its name or address in your network, "
            "and the code is for the others' phones."
        )


def handout(lesson: Lesson) -> None:
    """The whole lesson on paper: every step with its picture, its question, the answer and why."""
    with st.container(key="lesson-tools", horizontal=True):
        st.caption("Print this page (Ctrl+P or ⌘P): it fits A4.")
        st.space("stretch")
        st.button("Back to the lesson", key="lesson-handout-end", on_click=go, kwargs={"handout": None})
    st.title(plain_text(lesson.title), anchor=False)
    st.markdown(plain_text(lesson.about))
    for number, step in enumerate(lesson.steps, 1):
        with st.container(key=f"handout-step-{number}"):
            with st.container(key=f"handout-words-{number}"):
                facts = step.after.facts()
                st.header(f"{number}. {plain_text(step.title)}", anchor=False)
                st.markdown(filled(step.text, step.before.facts()))
                if awaited := step.after.waits():
                    wait(step.after, awaited)
                else:
                    tell(step, None, facts)
                    st.markdown(filled(step.explain, facts))
            with st.container(key=f"handout-picture-{number}"):
                step.after.draw(f"handout-{lesson.key}-{number}")


page()
