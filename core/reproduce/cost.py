"""What the literal DropCorr costs against ours, from the benchmark results that the project keeps."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "benchmarks" / "results"


@dataclass(frozen=True)
class Cost:
    """How many times as long as ours the literal algorithm takes, by ``how`` it factorises; 95 % interval."""

    how: str
    ratio: float
    low: float
    high: float
    where: str


def literal(folder: Path = FOLDER) -> list[Cost]:
    """One measurement a way and file of results; none where nothing is kept."""
    return [each for path in sorted(folder.glob("*.json")) for each in _of(path)]


def _of(path: Path) -> Iterator[Cost]:
    for finding in _findings(json.loads(path.read_text(encoding="utf-8"))):
        if finding.get("kind") == "result" and finding.get("against") == "dropcorr":
            place = finding["where"]
            where = f"{path.stem}: B={place['B']}, N={place['N']}, {place['device']}, {place['threads']} threads"
            yield Cost(finding["case"].partition(", ")[2], finding["ratio"], finding["low"], finding["high"], where)


def _findings(content: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = content["findings"] if isinstance(content, dict) else content
    return found
