"""What the literal DropCorr costs against ours, from the benchmark results that the project keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import DataError, reason_of

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "benchmarks" / "results"


@dataclass(frozen=True)
class Cost:
    """How many times as long as ours the literal algorithm takes, by ``how`` it factorises; 95 % interval."""

    how: str
    ratio: float
    low: float
    high: float
    where: str


def literal() -> list[Cost]:
    """One measurement a way and file of results; none where nothing is kept. DataError."""
    return [each for path in sorted(FOLDER.glob("*.json*")) for each in _of(path)]


def _of(path: Path) -> Iterator[Cost]:
    for finding in _records(_content(path)):
        if finding.get("kind") == "result" and finding.get("against") == "dropcorr":
            place = finding["where"]
            where = f"{path.stem}: B={place['B']}, N={place['N']}, {place['device']}, {place['threads']} threads"
            yield Cost(finding["case"].partition(", ")[2], finding["ratio"], finding["low"], finding["high"], where)


def _content(path: Path) -> Any:
    """What ``python -m core bench --json`` wrote: JSON lines, or one document that holds them; DataError."""
    text = path.read_text(encoding="utf-8")
    try:
        lines = [line for line in text.splitlines() if line.strip()]
        return [json.loads(line) for line in lines] if _is_json(lines[0]) else json.loads(text)
    except (ValueError, IndexError) as error:
        raise DataError(
            f"{path} holds no benchmark results ({reason_of(error)}): measure again or delete it."
        ) from None


def _is_json(line: str) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _records(content: Any) -> Iterator[dict[str, Any]]:
    """The findings in a document, however deep."""
    if isinstance(content, dict):
        yield content
    if isinstance(content, dict | list):
        for part in content.values() if isinstance(content, dict) else content:
            yield from _records(part)
