"""Finding runs, and naming them in an address."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from core import selection


@dataclass
class FakeRun:
    id: str
    name: str
    config: dict[str, Any]
    status: str = "done"
    reason: str | None = None
    environment: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    experiment: str | None = None


RUNS: list[Any] = [
    FakeRun("a1", "Long night", {"technique": "dropact", "seed": 3}, tags=("lecture 3", "best"), experiment="E1"),
    FakeRun("b2", "digits", {"technique": "none", "seed": 13}, "failed", "Out of memory", {"device": "cuda:0"}),
    FakeRun("c3", "digits", {"technique": "dropact", "seed": 1}, "stopped", tags=("best",), experiment="E2"),
]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, ["a1", "b2", "c3"]),
        ({"techniques": ["dropact"]}, ["a1", "c3"]),
        ({"statuses": ["failed", "stopped"]}, ["b2", "c3"]),
        ({"techniques": ["dropact"], "statuses": ["failed"]}, []),
        ({"text": "  NIGHT long "}, ["a1"]),
        ({"text": "memory"}, ["b2"]),
        ({"text": "cuda"}, ["b2"]),
        ({"text": "c3"}, ["c3"]),
        ({"text": "seed 1"}, ["c3"]),
        ({"text": "digits Seed 13"}, ["b2"]),
        ({"text": "seed"}, ["a1", "b2", "c3"]),
        ({"tags": ["best"]}, ["a1", "c3"]),
        ({"tags": ["best", "lecture 3"]}, ["a1"]),
        ({"tags": ["lecture"]}, []),
        ({"experiments": ["E2", "E3"]}, ["c3"]),
        ({"text": "lecture e1"}, ["a1"]),
        ({"text": "none such"}, []),
        ({"text": "%"}, []),
    ],
)
def test_runs_are_found_by_technique_status_tags_experiment_and_words(asked: dict[str, Any], found: list[str]) -> None:
    assert [run.id for run in selection.matching(RUNS, **asked)] == found


def test_an_address_names_runs_once_and_says_how_many_are_not_there() -> None:
    assert selection.parse("b2, a1,b2,,zz,<b>", {"a1", "b2", "c3"}) == (["b2", "a1"], 2)
    assert selection.parse("", {"a1"}) == ([], 0)
