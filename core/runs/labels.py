"""What people write on runs, names and tags: one line each, of a length that can be shown."""

from __future__ import annotations

from collections.abc import Iterable

from core.runs.database import StoreError
from core.runs.schema import plain_name

LONGEST_NAME = 200
LONGEST_TAG = 40
MOST_TAGS = 20


def name_of(text: str) -> str:
    """``text`` as a run's name; StoreError where nothing of it can be shown, or it is too long."""
    return _label(text, "name", LONGEST_NAME)


def tags_of(texts: Iterable[str]) -> tuple[str, ...]:
    """The tags in ``texts``, which commas part, each once, without blank ones; StoreError where one is too long."""
    words = (word for text in texts for word in text.split(","))
    return tuple(dict.fromkeys(_label(word, "tag", LONGEST_TAG) for word in words if plain_name(word)))


def retagged(tags: Iterable[str], add: Iterable[str], remove: Iterable[str]) -> tuple[str, ...]:
    """A run's tags less ``remove``, then with ``add``, in the order they came; StoreError where they get too many."""
    gone = set(remove)
    found = tuple(dict.fromkeys([*(tag for tag in tags if tag not in gone), *add]))
    if len(found) > MOST_TAGS:
        raise StoreError(f"A run has at most {MOST_TAGS} tags, and would have {len(found)}: remove some first.")
    return found


def _label(text: str, kind: str, longest: int) -> str:
    label = plain_name(text)
    if not label:
        raise StoreError(f"A {kind} needs at least one character that can be shown: write a {kind}.")
    if len(label) > longest:
        raise StoreError(f"A {kind} has at most {longest} characters, and this one has {len(label)}: shorten it.")
    return label
