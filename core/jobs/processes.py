"""Which process works on a run: known by more than its PID, so that nobody else's is ever taken for it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import psutil

from core.runs.schema import Owner, Run

# The creation time that a PID is checked by may be rounded, and follows small corrections of the clock.
_SAME_SECONDS = 1.0
# A worker writes several times a second, or every few seconds while it is paused.
_SILENT_SECONDS = 60.0


def cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def owner_of(pid: int | None = None) -> Owner:
    """The process with this PID, by default the present one, as it is kept with a run."""
    process = psutil.Process(pid)
    return Owner(platform.node(), process.pid, process.create_time())


def here(owner: Owner) -> bool:
    """Whether the process is one of this machine."""
    return owner.host == platform.node()


def is_alive(run: Run) -> bool:
    """Whether the process that works on ``run`` still does.

    On another machine (or in another container) that shares the store, silence for a minute means that it does not.
    """
    if run.owner is None:
        return False
    if not here(run.owner):
        return run.seen is not None and time.time() - run.seen < _SILENT_SECONDS
    return _find(run.owner) is not None


def kill(owner: Owner, patience: float = 5.0) -> None:
    """End the process and those it started, at once; wait up to ``patience`` seconds until they are gone."""
    process = _find(owner)
    if process is None or not here(owner):
        return
    doomed = [process]
    with suppress(psutil.Error):
        doomed += process.children(recursive=True)
    for each in doomed:
        with suppress(psutil.Error):
            each.kill()
    psutil.wait_procs(doomed, timeout=patience)


def start(arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start ``python -m core`` with these arguments, detached: it outlives this process and its terminal.

    Its output is appended to ``log``. Raises OSError where that cannot be written or the process cannot be started.
    """
    with opened(log) as output:
        return _start(arguments, subprocess.DEVNULL, output, environment)


def start_waiting(arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start one that reads from this process, and prints nothing. Raises OSError where it cannot be started."""
    return _start(arguments, subprocess.PIPE, subprocess.DEVNULL, environment)


def opened(log: Path) -> BinaryIO:
    """``log`` to append to, its folder made where it is missing."""
    log.parent.mkdir(parents=True, exist_ok=True)
    return log.open("ab")


def _start(
    arguments: Sequence[str], source: int, output: int | BinaryIO, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    root = str(Path(__file__).resolve().parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        # -P: a folder called "core" where the person happens to be must not hide this package.
        [sys.executable, "-P", "-m", "core", *arguments],
        stdin=source,
        stdout=output,
        stderr=output,
        env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(paths)},
        **_detached(),
    )


def _detached() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.DETACHED_PROCESS}
    return {"start_new_session": True}


def _find(owner: Owner) -> psutil.Process | None:
    try:
        process = psutil.Process(owner.pid)
        same = abs(process.create_time() - owner.created) < _SAME_SECONDS
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.Error:
        return None
