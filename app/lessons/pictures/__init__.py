"""The pictures that a lesson may show: each is a module with a part of another page, its settings and its facts."""

from collections.abc import Callable

from app.lessons.lesson import Picture
from app.lessons.pictures import calls, comparison, curves, masks, pairs, passes
from app.lessons.settings import Settings
from app.lessons.training import Training

KINDS: dict[str, Callable[[Settings, Training | None], Picture]] = {
    "calls": calls.read,
    "comparison": comparison.read,
    "curves": curves.read,
    "masks": masks.read,
    "pairs": pairs.read,
    "passes": passes.read,
}


def picture(given: Settings, training: Training | None = None) -> Picture:
    """The picture that these settings of a file describe, in a lesson with this ``training``. SettingError."""
    made = KINDS[given.word("kind", KINDS)](given, training)
    given.done()
    return made
