"""Workers forked from a process that has torch loaded: real ones, that many can be killed of in a short time.

Run as a program it is that process: it reads the arguments of ``python -m core``, one JSON list a line, and answers
each with the PID of a child that carries them out.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from core.jobs import LocalEngine, processes
from tests import faults


class Child:
    """A forked worker, as much of a ``Popen`` as the engine needs."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def poll(self) -> int | None:
        return None if psutil.pid_exists(self.pid) else 0


@dataclass
class Fate:
    """What happens to the workers started next: a kind of ``tests.faults`` and after which step, or nothing."""

    fault: tuple[str, int] | None = None


@contextmanager
def nursery() -> Iterator[Fate]:
    """Engines of this process start their workers here for as long as the block lasts."""
    fate = Fate()
    process = subprocess.Popen([sys.executable, "-m", __name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    source, sink, lock = process.stdin, process.stdout, threading.Lock()

    def start(arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> Any:
        with lock:
            source.write(json.dumps([[*arguments], str(log), dict(environment), fate.fault]).encode() + b"\n")
            source.flush()
            return Child(int(sink.readline()))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(processes, "start", start)
        yield fate
    process.communicate()


def _carry_out(
    arguments: Sequence[str], log: str, environment: Mapping[str, str], fault: tuple[str, int] | None
) -> int:
    from core.__main__ import run

    # One that it started itself would load torch first and have no fault: the test's engine starts them all.
    LocalEngine.advance = LocalEngine.settle  # type: ignore[method-assign]
    if fault:
        faults.arm(*fault)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    os.environ.update(environment)
    with open(log, "ab") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    return run(arguments)


def _serve() -> None:
    from core.jobs import warm

    warm.warm_up(1)
    # Whoever ends is waited for by the system.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin.buffer:
        if (pid := os.fork()) == 0:
            code = 1
            try:
                code = _carry_out(*json.loads(line))
            finally:
                os._exit(code)
        print(pid, flush=True)


if __name__ == "__main__":
    _serve()
