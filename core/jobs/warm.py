"""A worker that waits with torch loaded for the next run, so that its first step need not wait for the imports.

One process a run stays the law: the worker that waits takes one run and ends with it; the next one is started anew.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.jobs import processes

if TYPE_CHECKING:
    from core.data import Dataset

# "0" here switches it off.
SETTING = "DROPSCOPE_WARM"
# What waits for longer than this after somebody was last about to start a run only holds memory.
WAIT_SECONDS = 15 * 60.0
WAITING = "-"


@dataclass(frozen=True)
class Order:
    """What a worker that waits is told: a claimed run, its attempt, and the file for what the worker prints."""

    run_id: str
    attempt: int
    log: Path

    def line(self) -> bytes:
        """On one line of JSON."""
        return json.dumps([self.run_id, self.attempt, str(self.log)]).encode() + b"\n"

    @classmethod
    def read(cls, line: bytes) -> Order:
        """The inverse of :meth:`line`."""
        run_id, attempt, log = json.loads(line)
        return cls(run_id, attempt, Path(log))


class WarmWorker:
    """The one worker of a server that waits for a run; safe for several threads.

    It ends when its standard input does: as this process ends in whatever way, or at :meth:`dismiss`.

    Args:
        home: the folder of the run store.
        limit: how many runs share this machine.
    """

    def __init__(self, home: Path, limit: int) -> None:
        self._home, self._limit = home, limit
        self._child: subprocess.Popen[bytes] | None = None
        self._environment: dict[str, str] = {}
        self._wanted_until = float("-inf")
        self._lock = threading.Lock()

    def expect(self) -> None:
        """Somebody may start a run soon: keep a worker waiting for the next 15 minutes, unless it is switched off."""
        if os.environ.get(SETTING) != "0":
            self._wanted_until = time.monotonic() + WAIT_SECONDS

    @property
    def wanted(self) -> bool:
        """Whether somebody may start a run soon."""
        return time.monotonic() < self._wanted_until

    def keep(self, environment: Mapping[str, str]) -> None:
        """Have one wait with ``environment`` added to its own. Raises OSError where it cannot be started."""
        with self._lock:
            if self._child and self._child.poll() is not None:
                # Killed, or out of memory: it would only happen again. A page that is opened asks for the next one.
                self._child, self._wanted_until = None, float("-inf")
                return
            if self._child and self._environment != environment:
                self._end(self._child)
                self._child = None
            if self._child is None:
                arguments = ["worker", WAITING, "--limit", str(self._limit), "--home", str(self._home)]
                self._child, self._environment = processes.start_waiting(arguments, environment), dict(environment)

    def take(self, order: Order, environment: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
        """Hand ``order`` to the worker that waits and return it; None where none does with this environment."""
        with self._lock:
            child = self._child
            if child is None or child.stdin is None or self._environment != environment:
                return None
            self._child = None
        try:
            with child.stdin:
                child.stdin.write(order.line())
        except OSError:
            self._end(child)
            return None
        return child

    def dismiss(self) -> None:
        """End the worker that waits."""
        with self._lock:
            if self._child:
                self._end(self._child)
                self._child = None

    @staticmethod
    def _end(child: subprocess.Popen[bytes]) -> None:
        # It holds nothing that could be lost.
        child.kill()
        child.wait()


def wait(limit: int) -> tuple[Order, Dataset | None]:
    """Warm up, as the worker that waits, until an order comes; the order and the data set that is loaded by then.

    The process ends here where its server does, even while it warms up.
    """
    orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(orders,), daemon=True).start()
    data = None
    # What is wrong here is said by the run that meets it again.
    with suppress(Exception):
        data = warm_up(limit)
    order = orders.get()
    _print_to(order.log)
    return order, data


def warm_up(limit: int) -> Dataset:
    """Load all that a run on the digits needs, and take two steps of it: the first ones import and allocate."""
    from core.config import Config
    from core.data import load
    from core.environment import environment
    from core.jobs.worker import share_cores
    from core.training import Trainer

    share_cores(limit)
    data = load("digits")
    trainer = Trainer(Config(record_every=0.0), data)
    records = trainer.run()
    for _ in range(2):
        next(records)
    environment(trainer.device)
    return data


def _listen(orders: queue.SimpleQueue[Order]) -> None:
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        os._exit(0)
    orders.put(Order.read(line))


def _print_to(log: Path) -> None:
    """Append to ``log`` what this process and its libraries print from now on."""
    with log.open("ab") as file:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(file.fileno(), stream.fileno())
