"""Lessons: every number in them is computed, every claim holds, and a mistake in a file is named with its line."""

from pathlib import Path

import pytest
import torch

from app import lesson_links, mask_view
from app.lesson_question import judged, prediction
from app.lessons import reading, words
from app.lessons.lesson import Choices, Estimate, Lesson, LessonError, Step
from app.lessons.reading import from_yaml, lessons
from core.checkpoints import load
from core.data import load as load_data
from core.dropout import dropouts
from core.inspection import activations
from tests.lesson_runs import lesson_runs, trained_home
from tests.test_app import html, opened
from tests.test_app import words as said_by

__all__ = ["lesson_runs", "trained_home"]

SHIPPED = [(lesson, number) for lesson in lessons()[0] for number in range(1, len(lesson.steps) + 1)]

GOOD = """\
title: A lesson
about: What it is about.
minutes: 3
steps:
  - title: First
    text: "{{units}} units, [the cells](#cells)"
    picture: {kind: masks, techniques: [standard], p: 0}
    question:
      ask: How many fall?
      from: 0
      to: 128
      right: standard.fallen
      near: 5
    then: {p: 0.5}
    explain: It is {{standard.fallen}}, p = {{p:.1f}}.
    check: standard.fallen > 20
"""
ESTIMATED = GOOD[GOOD.index("      from: 0") : GOOD.index("    then:")]


def named(value: object) -> str:
    return f"{value.key}" if isinstance(value, Lesson) else str(value)


def test_all_lessons_can_be_read() -> None:
    found, wrong = lessons()
    assert wrong == []
    assert [lesson.key for lesson in found[:1]] == ["masks"]
    assert len({lesson.number for lesson in found}) == len(found)
    assert all(lesson.minutes <= 5 for lesson in found)


@pytest.mark.usefixtures("lesson_runs")
@pytest.mark.parametrize(("lesson", "number"), SHIPPED, ids=named)
def test_the_claims_of_a_step_hold_and_its_texts_have_their_numbers(lesson: Lesson, number: int) -> None:
    step = lesson.steps[number - 1]
    before, after = step.before.facts(), step.after.facts()
    assert set(before) == step.before.names()
    assert set(after) == step.after.names()
    for check in step.checks:
        assert check.holds(after), check
    for text, facts in ((step.text, before), (step.question.ask, before), (step.explain, after), (step.do, after)):
        assert "{{" not in words.filled(text, facts)
    if isinstance(step.question, Estimate):
        assert step.question.low <= after[step.question.right] <= step.question.high
    assert step.checks or isinstance(step.question, Estimate)


def test_the_facts_of_masks_are_what_the_layers_do() -> None:
    step = from_yaml(GOOD.replace("[standard]", "[standard, dropact]"), "1-a.yaml").steps[0]
    facts = step.after.facts()
    net = load("digits-none")
    x = net.normalise(load_data("digits").test.x[:1])
    clean = activations(net.model("standard"), x, 0)[0]
    active = int((clean > 0).sum())
    assert (facts["units"], facts["active"]) == (128, active)
    assert facts["total"] == pytest.approx(float(clean.sum()), rel=1e-5)
    assert facts["dropact.fallen"] == facts["dropact.active_fallen"] == active // 2
    assert facts["dropact.left"] == active - active // 2
    assert (facts["k"], facts["k_active"]) == (64, active // 2)
    # The sum after a mask of k of the active units, by forwards of the layer itself.
    layer = dropouts(net.model("standard", p=0.5).train())[0]
    torch.manual_seed(3)
    sums = torch.stack([layer(clean[None]).sum() for _ in range(4000)])
    error = float(sums.std()) / 32**0.5
    assert facts["standard.mean_total"] == pytest.approx(float(sums.mean()), abs=4 * error)
    assert facts["standard.fewest"] <= facts["standard.fallen"] <= facts["standard.most"]
    # 400 draws: four standard errors of a share of one half are 10 percentage points.
    assert facts["standard.strongest"] == pytest.approx(50, abs=10)
    assert facts["dropact.strongest"] < facts["dropact.weakest"]


@pytest.mark.parametrize(
    ("old", "new", "line", "sentence"),
    [
        ("minutes: 3", "minutes: long", 3, "minutes must be a whole number from 1 to 60, got 'long'"),
        ("minutes: 3\n", "", 1, "A lesson lacks minutes"),
        ("about:", "abuot:", 1, "A lesson lacks about"),
        ("minutes: 3", "minutes: 3\nlevel: 2", 4, "no setting 'level'"),
        ("kind: masks", "kind: mask", 7, "did you mean masks?"),
        ("[standard]", "[standart]", 7, "'standart' is no technique; did you mean standard?"),
        ("p: 0}", "p: 3}", 7, "p must be a number from 0 to 1, got 3"),
        ("p: 0}", "p: 0, parts: [knobs]}", 7, "'knobs' is no part"),
        ("p: 0}", "p: 0, net: nobody}", 7, "'nobody' is no net"),
        ("p: 0}", "p: 0, layer: 3}", 7, "layer must be a whole number from 1 to 2"),
        ("p: 0}", "p: 0, options: {standard: {shade: 1}}}", 7, "shade"),
        ("then: {p: 0.5}", "then: {p: much}", 14, "p must be a number"),
        ("{{units}}", "{{unit}}", 6, "This picture has no fact 'unit'"),
        ("#cells", "#cell", 6, "This picture has no part 'cell'"),
        ("right: standard.fallen", "right: fallen", 12, "This picture has no fact 'fallen'"),
        ("p = {{p:.1f}}", "p = {{p:q}}", 15, "'q' is no way to write a number"),
        ("p = {{p:.1f}}", "p = {{2 p}}", 15, "is no fact; write {{p}}"),
        ("standard.fallen > 20", "standard.fallen is large", 16, "is no comparison of two facts"),
        ("standard.fallen > 20", "dropact.fallen > 20", 16, "This picture has no fact 'dropact.fallen'"),
        ("    question:\n      ask: How many fall?", "    question:", 8, "A question lacks ask"),
        ("  - title: First", "  - tilte: First", 5, "A step lacks title"),
        (ESTIMATED, "      answers: [\"{{p}}\", \"{{q}}\"]\n      right: 1\n", 10, "This picture has no fact 'q'"),
        ("right: standard.fallen", "right: 64", 12, "right names the fact that answers it, such as standard.fallen"),
        ("How many fall?", "How many: all?", 9, "a text with a colon in it is put into quotation marks"),
        ("    question:", "\tquestion:", 8, "lines are indented by spaces, not by the Tab key"),
        ("title: A lesson", "title: [A](#p) lesson", 1, "begins with [ or { is put into quotation marks"),
        ("minutes: 3", "minutes: [3", 4, "is not YAML"),
        ("title: First", "title: First\n    title: Second", 6, "title is given a second time"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_is_one_sentence_with_its_line(old: str, new: str, line: int, sentence: str) -> None:
    assert GOOD.count(old) >= 1
    with pytest.raises(LessonError) as caught:
        from_yaml(GOOD.replace(old, new, 1), "9-mine.yaml")
    told = str(caught.value)
    assert told.startswith("9-mine.yaml")
    assert f"ine {line}" in told, told
    assert sentence in told
    assert "\n" not in told


@pytest.mark.parametrize("text", ["", "- 1", "just words", "steps: 3", "title: x\nabout: y\nminutes: 1\nsteps: []"])
def test_what_is_no_lesson_is_refused(text: str) -> None:
    with pytest.raises(LessonError):
        from_yaml(text, "9-mine.yaml")


def test_a_lesson_of_ones_own_lies_in_the_home_folder(dropscope_home: Path) -> None:
    folder = dropscope_home / "lessons"
    folder.mkdir(parents=True)
    (folder / "90-mine.yaml").write_text(GOOD)
    (folder / "91-broken.yaml").write_text(GOOD.replace("minutes: 3", "minutes: 0"))
    (folder / "mine.yaml").write_text(GOOD)
    (folder / "92-latin.yaml").write_bytes("title: é".encode("latin-1"))
    found, wrong = lessons()
    assert found[-1].key == "mine"
    assert found[-1].number == 90
    assert len(wrong) == 3
    page = opened("lessons")
    assert not page.exception
    assert "91-broken.yaml, line 3: minutes must be" in " ".join(error.value.replace("\\", "") for error in page.error)
    (folder / "93-masks.yaml").write_text(GOOD)
    assert "Two lessons are called masks" in str(lessons()[1])
    assert [lesson.number for lesson in lessons()[0] if lesson.key == "masks"] == [1]


def test_facts_are_written_as_the_text_asks() -> None:
    facts: words.Facts = {"n": 1234, "p": 0.25, "name": "7", "a.b": 2.0}
    assert words.filled("{{n}} {{p}} {{ p:.1f }} {{name}} {{a.b:.0f}} {p} \\frac{1}{2}", facts) == (
        "1,234 0.25 0.2 7 2 {p} \\frac{1}{2}"
    )
    assert words.check("a.b >= 2").holds(facts)
    assert not words.check("n<p").holds(facts)
    assert words.check("p == 0.25").names() == {"p"}


ESTIMATE = Estimate("How many?", 0, 100, 1, "n", 5, "units")


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (None, "It is 28 units."),
        (28, "It is 28 units. Your guess, 28, was just right."),
        (33, "It is 28 units. Your guess, 33, was close."),
        (34, "It is 28 units. Your guess, 34, was too high."),
        (2, "It is 28 units. Your guess, 2, was too low."),
    ],
)
def test_an_estimate_is_judged(made: float | None, sentence: str) -> None:
    assert judged(ESTIMATE, made, 28) == sentence


@pytest.mark.parametrize("said", [None, "", "x", "nan", "inf", "-1", "101", "1e99"])
def test_what_is_no_prediction_is_none(said: str | None) -> None:
    step = lessons()[0][0].steps[0]
    asked = Step("", "", ESTIMATE, "", step.before, step.after)
    assert prediction(asked, said) is None
    chosen = Step("", "", Choices("?", ("a", "b"), 1), "", step.before, step.after)
    assert [prediction(chosen, text) for text in ("0", "1", "2", "3", "1.5")] == [None, 1, 2, None, None]


@pytest.fixture
def _one_lesson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    second = GOOD[GOOD.index("  - title") :].replace("First", "Second")
    choice = "      answers: [many, none]\n      right: 1\n"
    lines = [x for x in second.splitlines(True) if not x.strip().startswith(("from:", "to:", "right:", "near:"))]
    at = next(i for i, x in enumerate(lines) if "ask:" in x)
    (tmp_path / "1-short.yaml").write_text(GOOD + "".join([*lines[: at + 1], choice, *lines[at + 1 :]]))
    monkeypatch.setattr(reading, "SHIPPED", tmp_path)


@pytest.mark.usefixtures("_one_lesson")
def test_a_lesson_goes_from_prediction_to_explanation_and_on() -> None:
    page = opened("lessons", lesson="short")
    assert not page.exception
    assert "128 units" in said_by(page)
    assert "p = 0.5" not in said_by(page)
    assert page.button(key="lesson-back").disabled
    page.slider(key="lesson-estimate").set_value(0).run()
    page.button(key="lesson-guess").click().run()
    assert "p = 0.5" in said_by(page)
    assert "was too low" in html(page)
    assert "".join(page.query_params["said"]) == "0"
    page.button(key="lesson-next").click().run()
    assert "".join(page.query_params["step"]) == "2"
    assert "said" not in page.query_params
    page.button(key="lesson-answer-2").click().run()
    assert "It is otherwise." in html(page)
    assert "✓ right" in html(page)
    page.button(key="lesson-next").click().run()
    assert page.query_params == {}
    assert not page.exception


@pytest.mark.usefixtures("_one_lesson")
def test_nobody_is_kept_from_going_on() -> None:
    page = opened("lessons", lesson="short")
    page.button(key="lesson-show").click().run()
    assert "p = 0.5" in said_by(page)
    assert "Your guess" not in html(page)
    page.button(key="lesson-next").click().run()
    assert page.button(key="lesson-answer-1").label.endswith("many")
    page.button(key="lesson-back").click().run()
    page.button(key="lesson-next").click().run()
    page.button(key="lesson-present").click().run()
    assert "".join(page.query_params["present"]) == "true"
    assert "".join(page.query_params["step"]) == "2"


@pytest.mark.usefixtures("_one_lesson")
@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ({"lesson": "nothing"}, "no lesson “nothing”"),
        ({"lesson": "short", "step": "9"}, "“9” in the address is no step"),
        ({"lesson": "short", "said": "7e9"}, "is no answer to this question: guesses lie between 0 and 128"),
        ({"lesson": "short", "step": "2", "said": "3"}, "is no answer to this question: there are 1 to 2"),
        ({"lesson": "short", "present": "yes"}, "“yes” in the address is neither true nor false"),
        ({"lesson": "short", "said": "3", "p": "2"}, "“2” in the address does not lie between 0 and 1"),
        ({"lesson": "short", "said": "3", "draw": "33"}, "“33” in the address does not lie between 1 and 32"),
        ({"lesson": "short", "said": "3", "unit": "x"}, "“x” in the address is not a number"),
    ],
)
def test_what_is_wrong_in_an_address_is_one_sentence_and_costs_nothing(address: dict[str, str], sentence: str) -> None:
    page = opened("lessons", **address)
    assert not page.exception
    (warning,) = page.warning
    assert sentence in warning.value.replace("\\", "")
    assert "lesson" not in address or address["lesson"] == "nothing" or page.button(key="lesson-next")


@pytest.mark.usefixtures("_one_lesson")
def test_another_step_forgets_what_was_changed_in_the_picture() -> None:
    page = opened("lessons", lesson="short", said="3", p="0.3", draw="2")
    page.button(key="lesson-present").click().run()
    assert "".join(page.query_params["p"]) == "0.3"
    page.button(key="lesson-next").click().run()
    assert {*page.query_params} == {"lesson", "step", "present"}


def test_what_the_masks_show_comes_from_the_address_and_goes_there(monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(p="0.35", draw="4", unit="0", order="activation", lesson="masks")
    monkeypatch.setattr(mask_view.st, "query_params", held)
    start = {"p": 0.8, "draw": 0, "unit": -1, "sorted": False}
    # Unit 0 is none: what is wrong stays as the lesson has it.
    assert mask_view.asked(start) == {"p": 0.35, "draw": 3, "unit": -1, "sorted": True}
    assert mask_view.asked(start, [mask_view.DRAW]) == start | {"draw": 3}
    seen = mask_view.checked({"p": 0.4, "draw": 7, "unit": 2, "sorted": False}, start)
    mask_view.remember(seen, start)
    assert held == {"p": "0.4", "draw": "8", "unit": "3", "order": "layer", "lesson": "masks"}
    assert mask_view.asked(start) == seen
    for wish in ({"p": 2, "draw": 0, "unit": 0}, {"p": 0.1, "draw": 32000, "unit": 0}, {"p": None}, {}):
        assert mask_view.checked(wish, seen) == seen
    held.clear()
    mask_view.remember(start, start)
    assert held == {}
    mask_view.remember(seen, start, [mask_view.P])
    assert held == {"p": "0.4"}


class Held(dict[str, str]):
    """As much of Streamlit's query parameters as is used."""

    def get_all(self, key: str) -> list[str]:
        return [self[key]]


@pytest.mark.usefixtures("lesson_runs")
@pytest.mark.parametrize("lesson", lessons()[0], ids=named)
def test_a_lesson_is_printed_with_all_its_steps(lesson: Lesson) -> None:
    page = opened("lessons", lesson=lesson.key, handout="true")
    assert not page.exception
    assert [header.value.split(". ")[0] for header in page.header] == [
        str(number) for number in range(1, len(lesson.steps) + 1)
    ]


@pytest.mark.usefixtures("_one_lesson")
def test_a_claim_that_fails_is_owned_up_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words.Check, "holds", lambda *_: False)
    page = opened("lessons", lesson="short", said="3")
    assert "came out otherwise" in page.warning[0].value


def test_a_link_carries_lesson_and_step() -> None:
    address = lesson_links.link("http://teacher.local:8501/lessons", {"lesson": "masks", "step": "2", "said": "1"})
    assert address == "http://teacher.local:8501/lessons?lesson=masks&step=2&said=1"
    assert not lesson_links.only_here(address)
    for here in ("http://127.0.0.1:8501/", "http://localhost/lessons", "http://[::1]:80/", "?lesson=masks"):
        assert lesson_links.only_here(here)
    drawn = lesson_links.qr(address)
    assert drawn.startswith("<svg")
    assert "masks&amp;step=2" in drawn
    assert drawn != lesson_links.qr(address.replace("masks", "other"))


def test_the_lesson_in_the_readme_is_one() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
    text = readme.split("## Adding a lesson")[1].split("```yaml\n")[1].split("```")[0]
    step = from_yaml(text, "9-half.yaml").steps[0]
    assert all(check.holds(step.after.facts()) for check in step.checks)
