"""What a lesson is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.controls import Control
from app.lessons.training import Training, Wait
from app.lessons.words import Check, Facts
from core.errors import DataError


class LessonError(DataError):
    """A lesson that cannot be used; ``str(error)`` is one sentence that names the file and the line."""


class Picture(Protocol):
    """What a step shows: one of the other pages' own parts, in one state. To be inherited from."""

    @property
    def spoken(self) -> Mapping[str, str]:
        """The parts that a text can point at: name → CSS selector."""
        ...

    def names(self) -> frozenset[str]:
        """The facts that texts and checks of this picture may use."""
        ...

    def facts(self) -> Facts:
        """Their values, computed now; "…" for each as long as :meth:`waits` says that they are not known."""
        ...

    def waits(self) -> Wait | None:
        """Why the facts are not known yet; None once they are, and where nothing is trained."""
        return None

    def draw(self, key: str) -> None:
        """Put it on the page as the lesson has it; ``key`` differs between pictures on one page."""
        ...

    @property
    def controls(self) -> Sequence[Control]:
        """What a person may change in it while it is the only one on the page: the address keeps that by their keys."""
        return ()

    def live(self, key: str) -> None:
        """Put it on the page as the only one, with its :attr:`controls` as the address has them."""
        self.draw(key)


@dataclass(frozen=True)
class Choices:
    """A question with a few answers, of which number ``right`` (from 1) is right."""

    ask: str
    answers: tuple[str, ...]
    right: int


@dataclass(frozen=True)
class Estimate:
    """A question after a number from ``low`` to ``high``; the fact ``right`` answers it, give or take ``near``."""

    ask: str
    low: float
    high: float
    step: float
    right: str
    near: float
    unit: str = ""


@dataclass(frozen=True)
class Step:
    """Predict, do, see, explain.

    Attributes:
        before, after: the picture until the prediction is made, and from then on.
        text, do, explain: Markdown with facts in it: before the question, what to try, and what it shows.
        checks: what must hold of the facts for ``explain`` to be true.
    """

    title: str
    text: str
    question: Choices | Estimate
    explain: str
    before: Picture
    after: Picture
    do: str = ""
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class Lesson:
    """Steps in their order; ``key`` is what an address carries, the file's name without number and suffix.

    ``training`` is what its pictures need trained, None for nothing.
    """

    key: str
    number: int
    title: str
    about: str
    minutes: int
    steps: tuple[Step, ...]
    training: Training | None = None
