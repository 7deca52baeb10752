"""Waiting for a condition instead of for a time, and the workers that wait for a run."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from core.jobs import warm


def wait_for(condition: Callable[[], Any], seconds: float = 120.0) -> Any:
    """The first true value of ``condition``; fails after a time that only something stuck can take."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition has not come true"
        time.sleep(0.05)
    return value


def waiting(home: Path) -> list[psutil.Process]:
    """The workers of ``home`` that were started to wait, those with a run by now among them.

    One that has just been started may be missing: for a moment the system does not know its command line.
    """
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = process.info["cmdline"] or []
        if {"worker", warm.WAITING, str(home)} <= {*line} and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found
