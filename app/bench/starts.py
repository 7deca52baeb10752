"""From Start to the first live point, and from Stop to the end."""

import json
import signal
import time
import urllib.request
from collections.abc import Iterator

import psutil

from app.bench.server import Server, wait_for, workers
from app.bench.wire import PRESSED, Visitor, visiting
from core.bench import Finding
from core.bench.results import amount
from core.runs import Run, RunStore

# A run that goes on until it is stopped.
LONG = "technique=DropCorr&epochs=10000"
# How often Train asks for the first point of what was just started (seconds).
FIRST_TICK = 0.1
# A worker that has warmed up uses no processor for so long; loading torch takes longer where much else goes on.
CALM = 1.0
WARMED_UP = 240.0


def measure(server: Server, rounds: int) -> Iterator[Finding]:
    """Medians over so many runs of the digits, and one that hangs and is ended by force."""
    store, first, stopped, gone = RunStore(server.home), [], [], []
    with visiting(server) as visitor:
        for _ in range(rounds):
            began, run = start(visitor, server, store)
            wait_for(lambda run=run: points(server, run.id), "a live point", look=FIRST_TICK)
            first.append(time.perf_counter() - began)
            stopped.append(stop(visitor, store, run.id))
            pressed = store.get(run.id).requested_at or 0.0
            wait_for(lambda run=run: not alive(store.get(run.id)), "the process to end")
            gone.append(time.time() - pressed)
        yield amount("app", "start to first point", "s", {"data": "digits"}, first)
        yield amount("app", "stop", "s", {"data": "digits"}, stopped)
        yield amount("app", "stop until the process is gone", "s", {"data": "digits"}, gone)
        yield amount("app", "forced stop", "s", {"data": "digits"}, [forced(visitor, server, store)])


def forced(visitor: Visitor, server: Server, store: RunStore) -> float:
    """Seconds from Stop until a run that obeys nothing is ended."""
    _, run = start(visitor, server, store)
    wait_for(lambda: points(server, run.id), "a live point", look=FIRST_TICK)
    owner = store.get(run.id).owner
    assert owner is not None
    psutil.Process(owner.pid).send_signal(signal.SIGSTOP)
    return stop(visitor, store, run.id)


def start(visitor: Visitor, server: Server, store: RunStore) -> tuple[float, Run]:
    """Press Start once a worker waits for it; when it was pressed, and the run."""
    visitor.see("train", LONG)
    wait_for(lambda: waits(server), "a worker that waits", patience=WARMED_UP)
    known = {run.id for run in store.list()}
    began = time.perf_counter()
    visitor.see("train", LONG, start=PRESSED)
    return began, next(run for run in store.list() if run.id not in known)


def stop(visitor: Visitor, store: RunStore, run: str) -> float:
    """Press a run's Stop; seconds from the press until it has ended, by the run's own last word if it had one."""
    query = f"run={run}"
    visitor.see("train", query)
    pressed = time.time()
    visitor.wish("train", query, "live", {"verb": "stop", "ids": [run]})
    wait_for(lambda: store.get(run).ended, "the run to stop")
    now, seen = time.time(), store.get(run).seen or 0.0
    return (seen if seen > pressed else now) - pressed


def waits(server: Server) -> bool:
    """Whether a worker has warmed up: it is there and at rest."""
    waiting = [worker for worker in workers(server.home) if "-" in worker.cmdline()]
    if not waiting:
        return False
    before = sum(waiting[0].cpu_times()[:2])
    time.sleep(CALM)
    return before > 1.0 and sum(waiting[0].cpu_times()[:2]) - before < 0.01


def points(server: Server, run: str) -> bool:
    """Whether the live route has a point of a run."""
    with urllib.request.urlopen(f"{server.url}/api/runs/{run}/metrics?since=0") as reply:
        return bool(json.load(reply)["runs"][run]["points"]["step"])


def alive(run: Run) -> bool:
    """Whether the process of a run is there."""
    return run.owner is not None and psutil.pid_exists(run.owner.pid)
