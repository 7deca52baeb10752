"""When the runs that wait will begin: their place in the queue, and a time from what like runs took on this machine."""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Generic, TypeVar

from core.jobs.processes import here
from core.runs import Run, RunStore

# What a run's time depends on; the technique last, as others tell something where none has been measured.
_LIKENESS = ("dataset", "network", "width", "batch_size", "train_size", "precision", "device", "technique")
# Many viewers ask several times a second: what took a second to find out is found out again after so many.
_KEPT = 50.0

Config = Mapping[str, Any]
T = TypeVar("T")


@dataclass(frozen=True)
class Turn:
    """A run's turn: its ``place`` in the queue (1 is next), and the seconds until it begins and ends.

    ``place`` and ``starts_in`` are None for one that trains already, the seconds where no like run was measured.
    """

    place: int | None
    starts_in: float | None
    ends_in: float | None


class Pace:
    """What runs took here: seconds until training began, and seconds an epoch, for each kind of config."""

    def __init__(self, runs: Iterable[Run]) -> None:
        found: dict[tuple[Any, ...], list[tuple[float, float]]] = defaultdict(list)
        for run in runs:
            epochs = float(run.latest.get("epoch") or 0.0)
            if epochs > 0.0 and run.owner and here(run.owner):
                start = float(run.environment.get("startup_seconds") or 0.0)
                for key in _likenesses(run.config):
                    found[key].append((start, spent(run) / epochs))
        self._median = {
            key: (median(start for start, _ in values), median(epoch for _, epoch in values))
            for key, values in found.items()
        }

    def remaining(self, run: Run, now: float) -> float:
        """Seconds that a run still takes at most, ``now`` (since 1970); infinity where no like run was measured."""
        like = [key for key in _likenesses(run.config) if key in self._median]
        start, epoch = self._median[like[0]] if like else (0.0, math.inf)
        done = float(run.latest.get("epoch") or 0.0)
        if run.status == "running" and done:
            start, epoch = 0.0, spent(run) / done
        left = max(0.0, float(run.config.get("epochs") or 0) - done)
        budget = run.config.get("time_budget")
        allowed = math.inf if budget is None else max(0.0, budget - float(run.latest.get("train_seconds") or 0.0))
        # What it did since it was claimed, or since its last record, is not known yet.
        silent = now - run.seen if run.status == "running" and run.seen else 0.0
        return max(0.0, start + min(epoch * left if left else 0.0, allowed) - max(0.0, silent))


def turns(runs: Sequence[Run], limit: int, pace: Pace, now: float) -> dict[str, Turn]:
    """Run → its turn, for those of ``runs`` that train here, ``limit`` at once, or wait.

    None of ``runs`` has ended; they stand in the order of :meth:`RunStore.list`, the newest first.
    """
    busy = [run for run in runs if run.owner and here(run.owner) and _has_a_place(run)]
    waiting = [run for run in reversed(runs) if run.status == "queued" and not run.reserved]
    waiting.sort(key=lambda run: run.queued_at)
    free = [pace.remaining(run, now) for run in busy]
    found = {run.id: Turn(None, None, _known(end)) for run, end in zip(busy, free, strict=True)}
    # More than the limit may train, as `train` in a terminal waits for nobody: their places are not given again.
    free = sorted(free)[max(0, len(free) - limit) :] + [0.0] * (limit - len(free))
    heapq.heapify(free)
    for place, run in enumerate(waiting, 1):
        start = heapq.heappop(free)
        end = start + pace.remaining(run, now)
        heapq.heappush(free, end)
        found[run.id] = Turn(place, _known(start), _known(end))
    return found


class Queue:
    """The turns of a store's runs on this machine, looked up no more often than needed; safe for several threads."""

    def __init__(self, store: RunStore, limit: int) -> None:
        self._store, self._limit = store, limit
        self._pace = _Kept(lambda: Pace(store.list()))
        self._turns = _Kept(self._now)
        self._lock = threading.Lock()

    def turns(self) -> dict[str, Turn]:
        """Run → its turn, as :func:`turns`."""
        with self._lock:
            return self._turns.get()

    def _now(self) -> dict[str, Turn]:
        runs = self._store.list(status=("queued", "running", "paused"))
        return turns(runs, self._limit, self._pace.get(), time.time())


class _Kept(Generic[T]):
    """What ``find`` returns, found again only as often as takes a small part of the time."""

    def __init__(self, find: Callable[[], T]) -> None:
        self._find = find
        self._until = -math.inf

    def get(self) -> T:
        began = time.monotonic()
        if began >= self._until:
            self._value = self._find()
            now = time.monotonic()
            self._until = now + _KEPT * (now - began)
        return self._value


def _has_a_place(run: Run) -> bool:
    return run.status == "running" or (run.status == "paused" and run.requested in ("run", "epoch"))


def spent(run: Run) -> float:
    """Seconds of training and evaluation that a run has behind it."""
    return float(run.latest.get("train_seconds") or 0.0) + float(run.latest.get("eval_seconds") or 0.0)


def _likenesses(config: Config) -> Iterable[tuple[Any, ...]]:
    """What a config is like, the likest first."""
    values = tuple(str(config.get(name)) for name in _LIKENESS)
    return values, values[:-1]


def _known(seconds: float) -> float | None:
    return seconds if math.isfinite(seconds) else None
