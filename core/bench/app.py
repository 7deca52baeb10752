"""The dashboard's cost, measured from outside: ``python -m app.bench``, in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from core.bench.results import Finding, finding_of


class BenchError(Exception):
    """Why something could not be measured, in one sentence."""


ROOT = Path(__file__).parents[2]


def measure(quick: bool) -> Iterator[Finding]:
    """Results as they come; what the other process says beside them goes to the terminal."""
    if not (ROOT / "app" / "bench").is_dir():
        raise BenchError(f"There is no dashboard beside {ROOT / 'core'} to measure; name layers, explore or training.")
    command = [sys.executable, "-m", "app.bench", *(["--quick"] if quick else [])]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            yield finding_of(json.loads(line))
    if child.returncode:
        raise BenchError("The dashboard could not be measured to the end; what it said stands above.")
