"""YAML that people write by hand: plain values, and the line at which each part of them begins."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

# Keys and indices that lead from the whole text to a part of it.
Place = tuple[str | int, ...]

LARGEST = 1_000_000
# YAML 1.2's words and numbers. PyYAML itself reads 1.1, to which 5e-4 is text, "no" is false and 1:30 is 90.
_PLAIN = {
    "bool": r"true|True|TRUE|false|False|FALSE",
    "null": r"~|null|Null|NULL|",
    "int": r"[-+]?(?:0|[1-9][0-9]{0,30})",
    "float": r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
}
# What PyYAML's words mean to a person who knows no YAML: a part of them → what to do.
_HELP = {
    "mapping values are not allowed": "a text with a colon in it is put into quotation marks",
    "expected <block end>": "a text that begins with [ or { is put into quotation marks, and what belongs together "
                            "begins in the same column",
    "could not find expected ':'": "a name is followed by a colon and a space",
    "'\\t' that cannot start": "lines are indented by spaces, not by the Tab key",
    "that cannot start": "a text that begins with such a character is put into quotation marks",
}  # fmt: skip


class MarkedYamlError(ValueError):
    """Text that cannot be read; the message is one sentence that names the line."""


class _Reader(yaml.SafeLoader):
    """Reads plain values, without references to other places of the file."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise MarkedYamlError(
                f"Line {event.start_mark.line + 1}: *{event.anchor} stands for something above; write that out."
            )
        return super().compose_node(parent, index)


class PlainDumper(yaml.SafeDumper):
    """Writes what :func:`read` reads as the same."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _kind, _pattern in _PLAIN.items():
    for _class in (_Reader, PlainDumper):
        yaml.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"(?:{_pattern})$"), None, _class, _class)


def read(text: str, what: str) -> tuple[Any, dict[Place, int]]:
    """What YAML makes of ``text``, and the line at which each part of it begins; ({}, {}) for an empty text.

    Args:
        what: the text is to describe, as "an experiment".

    Raises:
        MarkedYamlError: where it is no YAML, gives a key twice, or refers to another place of itself.
    """
    if len(text) > LARGEST:
        raise MarkedYamlError(f"This is not {what}: it is longer than {LARGEST:,} characters.")
    reader = None
    lines: dict[Place, int] = {}
    try:
        reader = _Reader(text)
        node = reader.get_single_node()
        if node is None:
            return {}, lines
        _note_lines(node, (), lines)
        return reader.construct_document(node), lines
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"Line {mark.line + 1}" if mark else "The text"
        raise MarkedYamlError(f"{line} is not YAML: {_in_words(error.problem or error.context or '')}.") from None
    except yaml.YAMLError as error:
        raise MarkedYamlError(f"The text is not YAML: {str(error).splitlines()[0]}.") from None
    except (RecursionError, ValueError, OverflowError) as error:
        if isinstance(error, MarkedYamlError):
            raise
        raise MarkedYamlError(f"The text is not YAML that describes {what}: it goes too deep.") from None
    finally:
        if reader is not None:
            reader.dispose()


def _in_words(problem: str) -> str:
    return next((f"{help_} ({problem})" for part, help_ in _HELP.items() if part in problem), problem)


def line_of(lines: Mapping[Place, int], at: Place) -> int:
    """The line of the innermost part of ``at`` that the text has."""
    return next((lines[at[:n]] for n in range(len(at), -1, -1) if at[:n] in lines), 1)


def _note_lines(node: yaml.Node, at: Place, lines: dict[Place, int]) -> None:
    lines[at] = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _note_lines(item, (*at, index), lines)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            place = (*at, str(key.value))
            if place in lines:
                raise MarkedYamlError(
                    f"Line {key.start_mark.line + 1}: {key.value} is given a second time; the first is on line "
                    f"{lines[place]}."
                )
            _note_lines(value, place, lines)
            lines[place] = key.start_mark.line + 1
