"""Settings of a lesson's picture and question, as a file gives them: checked, with the place of what is wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from core.marked_yaml import Place


class SettingError(ValueError):
    """A setting that cannot be used: one sentence, and ``at``, the place in the file."""

    def __init__(self, sentence: str, at: Place) -> None:
        super().__init__(sentence)
        self.at = at


class Settings:
    """A mapping of a file, read key by key; :meth:`done` complains of keys that nobody asked for."""

    def __init__(self, values: Any, at: Place, what: str) -> None:
        if not isinstance(values, Mapping):
            raise SettingError(f"{what} is written as settings, name: value.", at)
        self._values = {str(key): value for key, value in values.items()}
        self._at, self._what = at, what
        self._asked: set[str] = set()

    def place(self, key: str) -> Place:
        return (*self._at, key)

    def wrong(self, key: str, sentence: str) -> SettingError:
        return SettingError(sentence, self.place(key))

    def has(self, key: str) -> bool:
        return key in self._values

    def raw(self, key: str, default: Any = None) -> Any:
        self._asked.add(key)
        return self._values.get(key, default)

    def text(self, key: str, default: str | None = None) -> str:
        value = self._required(key, default)
        if not isinstance(value, str) or (default is None and not value.strip()):
            raise self.wrong(key, f"{key} must be text, got {value!r}.")
        return value.strip()

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        value = self._required(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.wrong(key, f"{key} must be a number from {low:g} to {high:g}, got {value!r}.")
        return float(value)

    def whole(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self._required(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.wrong(key, f"{key} must be a whole number from {low} to {high}, got {value!r}.")
        return value

    def word(self, key: str, allowed: Iterable[str], default: str | None = None) -> str:
        value = self._required(key, default)
        self._check_word(key, value, list(allowed), self.place(key))
        return str(value)

    def words(self, key: str, allowed: Iterable[str], default: Iterable[str] | None = None) -> tuple[str, ...]:
        value = self._required(key, None if default is None else list(default))
        if not isinstance(value, list) or not value:
            raise self.wrong(key, f"{key} is a list, such as [standard, dropact], got {value!r}.")
        known = list(allowed)
        for index, one in enumerate(value):
            self._check_word(key, one, known, (*self.place(key), index))
        return tuple(value)

    def done(self) -> None:
        for key in self._values:
            if key not in self._asked:
                close = difflib.get_close_matches(key, self._asked, n=1)
                hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(sorted(self._asked))}."
                raise self.wrong(key, f"{self._what} has no setting {key!r}; {hint}")

    def _required(self, key: str, default: Any) -> Any:
        value = self.raw(key, default)
        if value is None:
            raise SettingError(f"{self._what} lacks {key}.", self._at)
        return value

    def _check_word(self, key: str, value: Any, allowed: list[str], at: Place) -> None:
        if value not in allowed:
            close = difflib.get_close_matches(str(value), allowed, n=1)
            hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(allowed)}."
            raise SettingError(f"{value!r} is no {key.rstrip('s')}; {hint}", at)
