"""A lesson's file → a lesson."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from app.lessons import words
from app.lessons.lesson import Choices, Estimate, Lesson, LessonError, Picture, Step
from app.lessons.pictures import picture
from app.lessons.settings import SettingError, Settings
from app.lessons.training import Training
from app.lessons.training import read as read_training
from core import marked_yaml
from core.config import Config
from core.errors import reason_of
from core.home import HomeError, home
from core.marked_yaml import Place

SHIPPED = Path(__file__).parent
MOST_STEPS, MOST_ANSWERS = 12, 6
_FILE = re.compile(r"(\d{1,3})-([a-z0-9]+(?:-[a-z0-9]+)*)\.yaml")


def lessons() -> tuple[list[Lesson], list[LessonError]]:
    """The lessons that can be read, in their order, and what is wrong with the others' files."""
    found: list[Lesson] = []
    wrong: list[LessonError] = []
    for path in _files():
        try:
            found.append(_read(path, path.stat().st_mtime_ns))
        except LessonError as error:
            wrong.append(error)
        except OSError as error:
            wrong.append(LessonError(f"{path.name} cannot be read: {reason_of(error)}."))
    keys = [lesson.key for lesson in found]
    for key in {key for key in keys if keys.count(key) > 1}:
        wrong.append(LessonError(f"Two lessons are called {key}: rename one of their files."))
        found = [lesson for index, lesson in enumerate(found) if lesson.key != key or keys.index(key) == index]
    return sorted(found, key=lambda lesson: (lesson.number, lesson.key)), wrong


def training_of(key: str) -> tuple[str, list[Config]]:
    """The name of the experiment that the lesson called ``key`` trains, and its configs; DataError without one."""
    training = next((lesson.training for lesson in lessons()[0] if lesson.key == key), None)
    if training is None:
        raise LessonError(f"There is no lesson {key} that trains anything.")
    return training.experiment.name, training.configs


def from_yaml(text: str, name: str) -> Lesson:
    """The lesson that ``text`` describes; ``name`` is its file's. LessonError names the line."""
    called = _FILE.fullmatch(name)
    if not called:
        raise LessonError(f"{name} is no name for a lesson: call it by a number and a word, as 9-my-lesson.yaml.")
    try:
        values, lines = marked_yaml.read(text, "a lesson")
    except marked_yaml.MarkedYamlError as error:
        raise LessonError(f"{name}: {error}") from None
    try:
        return _lesson(Settings(values, (), "A lesson"), int(called[1]), called[2])
    except SettingError as error:
        raise LessonError(f"{name}, line {marked_yaml.line_of(lines, error.at)}: {error}") from None


def _files() -> list[Path]:
    folders = [SHIPPED]
    with suppress(HomeError):  # said by the pages that need it
        folders.append(home() / "lessons")
    return [path for folder in folders for path in sorted(folder.glob("*.yaml"))]


@lru_cache(maxsize=64)
def _read(path: Path, _stamp: int) -> Lesson:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise LessonError(f"{path.name} is not text in UTF-8: save it so.") from None
    return from_yaml(text, path.name)


def _lesson(given: Settings, number: int, key: str) -> Lesson:
    title, about, minutes = given.text("title"), given.text("about"), given.whole("minutes", 1, 60)
    training = read_training(given, key)
    steps = given.raw("steps")
    given.done()
    if not isinstance(steps, list) or not 1 <= len(steps) <= MOST_STEPS:
        raise given.wrong("steps", f"A lesson has 1 to {MOST_STEPS} steps, each behind a dash.")
    made = tuple(_step(values, ("steps", index), training) for index, values in enumerate(steps))
    return Lesson(key, number, title, about, minutes, made, training)


def _step(values: Any, at: Place, training: Training | None) -> Step:
    given = Settings(values, at, "A step")
    shown = given.raw("picture")
    before = picture(Settings(shown, given.place("picture"), "A picture"), training)
    after = before
    if given.has("then"):
        changed = given.raw("then")
        if not isinstance(changed, dict):
            raise given.wrong("then", "then is written as settings of the picture that change, name: value.")
        after = picture(Settings({**shown, **changed}, given.place("then"), "A picture"), training)
    question = _question(Settings(given.raw("question"), given.place("question"), "A question"))
    texts = {key: given.text(key, default) for key, default in (("text", None), ("do", ""), ("explain", None))}
    title = given.text("title")
    checks = _checks(given)
    given.done()
    step = Step(title, texts["text"], question, texts["explain"], before, after, texts["do"], checks)
    _check_words(step, given)
    return step


def _question(given: Settings) -> Choices | Estimate:
    ask = given.text("ask")
    made: Choices | Estimate
    if given.has("answers"):
        answers = given.raw("answers")
        if not isinstance(answers, list) or not 2 <= len(answers) <= MOST_ANSWERS:
            raise given.wrong("answers", f"answers are a list of 2 to {MOST_ANSWERS} texts.")
        made = Choices(ask, tuple(map(str, answers)), given.whole("right", 1, len(answers)))
    else:
        low = given.number("from", -1e9, 1e9)
        high = given.number("to", low, 1e9)
        step = given.number("step", 1e-6, high - low, 1.0)
        if not isinstance(given.raw("right", ""), str):
            raise given.wrong("right", "right names the fact that answers it, such as standard.fallen.")
        made = Estimate(ask, low, high, step, given.text("right"), given.number("near", 0, high - low, 0.0),
                        given.text("unit", ""))  # fmt: skip
    given.done()
    return made


def _checks(given: Settings) -> tuple[words.Check, ...]:
    said = given.raw("check", [])
    made = []
    for index, text in enumerate(said if isinstance(said, list) else [said]):
        try:
            made.append(words.check(str(text)))
        except words.WordsError as error:
            raise SettingError(str(error), (*given.place("check"), index)) from None
    return tuple(made)


def _check_words(step: Step, given: Settings) -> None:
    """Every fact and every pointer must be one of the picture that the words stand beside."""
    asked = {"text": (step.text, step.before), "do": (step.do, step.after), "explain": (step.explain, step.after)}
    asked["question"] = (step.question.ask, step.before)
    for key, (text, shown) in asked.items():
        try:
            _known(words.names_in(text), shown.names(), "fact", shown)
        except words.WordsError as error:
            raise given.wrong(key, str(error)) from None
        _known_pointers(text, key, shown, given)
    if isinstance(step.question, Choices):
        for index, text in enumerate(step.question.answers):
            try:
                _known(words.names_in(text), step.before.names(), "fact", step.before)
            except words.WordsError as error:
                raise SettingError(str(error), (*given.place("question"), "answers", index)) from None
    try:
        if isinstance(step.question, Estimate):
            _known([step.question.right], step.after.names(), "fact", step.after)
    except words.WordsError as error:
        raise SettingError(str(error), (*given.place("question"), "right")) from None
    for index, check in enumerate(step.checks):
        try:
            _known(sorted(check.names()), step.after.names(), "fact", step.after)
        except words.WordsError as error:
            raise SettingError(str(error), (*given.place("check"), index)) from None


def _known_pointers(text: str, key: str, shown: Picture, given: Settings) -> None:
    try:
        _known(words.pointers_in(text), shown.spoken, "part", shown)
    except words.WordsError as error:
        raise given.wrong(key, str(error)) from None


def _known(used: Iterable[str], known: Iterable[str], what: str, shown: Picture) -> None:
    for name in used:
        if name not in known:
            raise words.WordsError(f"This picture has no {what} {name!r}; there are {', '.join(sorted(known))}.")
