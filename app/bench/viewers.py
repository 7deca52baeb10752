"""What watching costs: the pace of a live run with viewers of the live route against its pace alone."""

import gzip
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

import psutil

from app.bench.server import Server, wait_for
from app.bench.starts import points, start, stop
from app.bench.wire import visiting
from core.bench import Finding
from core.bench.results import amount, results
from core.runs import RunStore

# What a browser asks once a second (Train's TICK).
TICK = 1.0
SECONDS = 2.5
# By then all have joined, whose first answers hold the whole run.
SETTLE = TICK + 0.5
MANY = 30
# Browsers do, and to pack an answer is work for the server.
ASKED = {"Accept-Encoding": "gzip"}


def measure(server: Server, rounds: int) -> Iterator[Finding]:
    """One run of the digits: alone, with one viewer, with 30, in turn. Alone means that the server stands still."""
    store = RunStore(server.home)
    paces: dict[str, list[float]] = {"run alone": [], "run with 1 viewer": []}
    shares: dict[int, list[float]] = {1: [], MANY: []}
    with visiting(server) as visitor:
        _, run = start(visitor, server, store)
        wait_for(lambda: points(server, run.id), "a live point")
        for number in range(rounds):
            # Each comes first as often as the others, as one run may grow slower.
            order = [0, 1, MANY]
            for many in order[number % 3 :] + order[: number % 3]:
                with still(server) if many == 0 else watched(server, run.id, many):
                    time.sleep(SETTLE)
                    pace, share = paced(server, store, run.id)
                if many:
                    shares[many].append(share)
                if many < MANY:
                    paces["run with 1 viewer" if many else "run alone"].append(pace)
        stop(visitor, store, run.id)
    yield from results("app", paces, "run alone", {"data": "digits", "seconds a part": SECONDS})
    yield amount("app", "server with 1 viewer", "cores", {}, shares[1])
    yield amount("app", f"server with {MANY} viewers", "cores", {}, shares[MANY])


def paced(server: Server, store: RunStore, run: str) -> tuple[float, float]:
    """Seconds an epoch by the clock on the wall, and the cores that the server takes meanwhile."""
    before, cpu, began = store.get(run), sum(server.process.cpu_times()[:2]), time.perf_counter()
    time.sleep(SECONDS)
    after = store.get(run)
    share = (sum(server.process.cpu_times()[:2]) - cpu) / (time.perf_counter() - began)
    epochs = after.latest["epoch"] - before.latest["epoch"]
    return ((after.seen or 0.0) - (before.seen or 0.0)) / epochs, share


@contextmanager
def still(server: Server) -> Iterator[None]:
    """Within it the server does nothing at all."""
    server.process.suspend()
    try:
        # The signal is under way: a thread stops when it is next looked at.
        wait_for(lambda: server.process.status() == psutil.STATUS_STOPPED, "a server that stands still")
        yield
    finally:
        server.process.resume()


@contextmanager
def watched(server: Server, run: str, viewers: int) -> Iterator[None]:
    """Within it so many viewers ask for a run's new points once a second, as browsers do, on connections kept open."""
    done = threading.Event()
    viewing = threading.Thread(target=_watch, args=(server, run, viewers, done))
    viewing.start()
    try:
        yield
    finally:
        done.set()
        viewing.join()


def _watch(server: Server, run: str, viewers: int, done: threading.Event) -> None:
    connections = [HTTPConnection("127.0.0.1", server.port, timeout=10) for _ in range(viewers)]
    since = [0] * viewers
    while not done.is_set():
        for place, connection in enumerate(connections):
            connection.request("GET", f"/api/runs/{run}/metrics?since={since[place]}", headers=ASKED)
            reply = connection.getresponse()
            answer = reply.read()
            packed = reply.headers["Content-Encoding"] == "gzip"
            since[place] = json.loads(gzip.decompress(answer) if packed else answer)["seq"]
            if done.wait(TICK / viewers):
                break
    for connection in connections:
        connection.close()
