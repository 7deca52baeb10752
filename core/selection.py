"""Some of many runs: found by what they are, and named in an address."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from core.runs import Run

_SEED = re.compile(r"\bseed\s+(\d+)\b")


def matching(
    runs: Sequence[Run],
    *,
    techniques: Collection[str] = (),
    statuses: Collection[str] = (),
    tags: Collection[str] = (),
    experiments: Collection[str] = (),
    text: str = "",
) -> list[Run]:
    """The runs of one of ``techniques`` in one of ``statuses`` that hold every word of ``text``; nothing asks nothing.

    They have all of ``tags`` and are of one of ``experiments``. A word is looked for in what a person may know a run
    by: its name, id, technique, status and why, device, tags, experiment, and ``seed 3``; upper and lower case are the
    same.
    """
    words = _one_seed(text.casefold()).split()
    return [
        run
        for run in runs
        if (not techniques or run.config.get("technique") in techniques)
        and (not statuses or run.status in statuses)
        and set(run.tags) >= set(tags)
        and (not experiments or run.experiment in experiments)
        and _holds(run, words)
    ]


def parse(text: str, known: Collection[str]) -> tuple[list[str], int]:
    """The ids of ``known`` that an address names, parted by commas, each once; and how many others it names."""
    named = list(dict.fromkeys(part for part in (part.strip() for part in text.split(",")) if part))
    found = [name for name in named if name in known]
    return found, len(named) - len(found)


def _holds(run: Run, words: Sequence[str]) -> bool:
    told = _told(run) if words else ""
    return all(word in told for word in words)


def _told(run: Run) -> str:
    config = run.config
    device = run.environment.get("device_name") or run.environment.get("device")
    seed = f"seed {config.get('seed')}"
    parts = (run.name, run.id, config.get("technique"), seed, run.status, run.reason, device, run.experiment, *run.tags)
    return _one_seed(" ".join(str(part) for part in parts if part).casefold())


def _one_seed(text: str) -> str:
    # As one word, so that seed 3 is neither seed 13 nor seed 30.
    return _SEED.sub(r"seed=\1;", text)
