"""The question of a lesson's step: how it is asked, and what is said to a prediction."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from app.controls import html_text
from app.lessons.lesson import Choices, Estimate, Step
from app.lessons.words import Facts, filled

# What the address carries where somebody only wanted to see.
SHOWN = "shown"


def answered(step: Step, said: str | None) -> bool:
    """Whether the prediction was made, or the answer asked for."""
    return said == SHOWN or prediction(step, said) is not None


def prediction(step: Step, said: str | None) -> float | None:
    """What somebody predicted, as the address has it: the number of a choice, or an estimate; None for neither."""
    try:
        value = float(said or "")
    except ValueError:
        return None
    question = step.question
    if isinstance(question, Choices):
        return value if value in range(1, len(question.answers) + 1) else None
    return value if question.low <= value <= question.high else None


@dataclass(frozen=True)
class Said:
    """The prediction of a step as a part of the address, which :func:`ask` writes."""

    step: Step
    key: str = "said"

    def problem(self, values: Sequence[str]) -> str | None:
        if answered(self.step, values[0]):
            return None
        question = self.step.question
        if isinstance(question, Choices):
            able = f"there are 1 to {len(question.answers)}"
        else:
            able = f"guesses lie between {question.low:g} and {question.high:g}"
        return f"“{values[0][:40]}” in the address is no answer to this question: {able}."

    def draw(self) -> None:
        """Asked by :func:`ask`."""


def ask(step: Step, go: Callable[..., None]) -> None:
    """The question with its ways to answer; ``go(said=…)`` is called with the answer."""
    question = step.question
    st.markdown(f"**{filled(question.ask, step.before.facts())}**")
    if isinstance(question, Choices):
        facts = step.before.facts()
        for number, answer in enumerate(question.answers, 1):
            st.button(
                f"{number} · {filled(answer, facts)}", key=f"lesson-answer-{number}", on_click=go,
                kwargs={"said": str(number)}, width="stretch",
            )  # fmt: skip
    else:
        guess = estimate(question)
        st.button("That is my guess", key="lesson-guess", on_click=go, kwargs={"said": f"{guess:g}"}, type="primary")
    st.button("Show the answer", key="lesson-show", on_click=go, kwargs={"said": SHOWN}, type="tertiary")


def estimate(question: Estimate) -> float:
    low, high, step = (question.low, question.high, question.step)
    whole = all(float(value).is_integer() for value in (low, high, step))
    cast = int if whole else float
    middle = cast(low + round((high - low) / 2 / step) * step)
    label = f"Your guess ({question.unit})" if question.unit else "Your guess"
    return float(st.slider(label, cast(low), cast(high), middle, cast(step), key="lesson-estimate"))


def tell(step: Step, said: str | None, facts: Facts) -> None:
    """What is right, and beside it what was predicted; never by colour alone."""
    question = step.question
    made = prediction(step, said)
    if isinstance(question, Choices):
        st.markdown(f"**{filled(question.ask, step.before.facts())}**")
        answers = [filled(answer, step.before.facts()) for answer in question.answers]
        rows = [_row(number, answer, question.right, made) for number, answer in enumerate(answers, 1)]
        st.html(f'<ol class="ds-answers">{"".join(rows)}</ol>')
        verdict = "" if made is None else "You were right." if made == question.right else "It is otherwise."
    else:
        st.markdown(f"**{filled(question.ask, step.before.facts())}**")
        verdict = judged(question, made, float(facts[question.right]))
    if verdict:
        st.html(f'<p class="ds-verdict-line">{html_text(verdict)}</p>')


def judged(question: Estimate, made: float | None, right: float) -> str:
    """What is said to an estimate, in a sentence or two."""
    unit = f" {question.unit}" if question.unit else ""
    is_ = f"It is {_number(right)}{unit}."
    if made is None:
        return is_
    near = abs(made - right) <= question.near
    words = "just right" if made == right else "close" if near else "too low" if made < right else "too high"
    return f"{is_} Your guess, {_number(made)}, was {words}."


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 or float(value).is_integer() else f"{value:.2g}"


def _row(number: int, answer: str, right: int, made: float | None) -> str:
    marks = [mark for mark, holds in (("✓ right", number == right), ("your answer", number == made)) if holds]
    kind = ' class="ds-right"' if number == right else ""
    return f"<li{kind}><span>{html_text(answer)}</span><em>{' · '.join(marks)}</em></li>"
