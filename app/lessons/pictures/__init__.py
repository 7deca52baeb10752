"""The pictures that a lesson may show: each is a module with a part of another page, its settings and its facts."""

from collections.abc import Callable

from app.lessons.lesson import Picture
from app.lessons.pictures import masks, passes
from app.lessons.settings import Settings

KINDS: dict[str, Callable[[Settings], Picture]] = {"masks": masks.read, "passes": passes.read}


def picture(given: Settings) -> Picture:
    """The picture that these settings of a file describe. SettingError."""
    made = KINDS[given.word("kind", KINDS)](given)
    given.done()
    return made
