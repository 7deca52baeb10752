"""The foreman of the runs on a Ray cluster: hands them to workers, and is the only one that writes what those tell."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from core.jobs import processes
from core.jobs.transitions import FORCE_AFTER, how_to_resume
from core.jobs.troubles import named
from core.runs import Owner, Run, RunStore, StoreError, SupersededError
from core.runs.weights import STATE, write_whole

# How often in a row a run may lose its worker without having got any further.
FRUITLESS = 3
# Seconds between two looks at the workers, and without any run before it ends.
LOOK_EVERY = 0.5
IDLE = 60.0
# How many workers it listens to at once, and seconds that it waits for another program to write.
LISTENERS = 32
PATIENCE = 60.0

Changes = dict[str, Any]


@dataclass
class Hand:
    """A run in hand: Ray's task and what it ``needs``, and the ``attempt`` its last worker is at.

    ``epoch`` is the last whole one when a worker took it, ``fruitless`` how often in a row it was no later one.
    """

    task: Any
    needs: Mapping[str, float]
    attempt: int | None = None
    epoch: int = -1
    fruitless: int = 0

    @property
    def gives_up(self) -> bool:
        """Whether too many workers were lost in a row."""
        return self.fruitless >= FRUITLESS

    def may_go_on(self, run: Run) -> bool:
        """Count another worker for ``run``; False where too many were lost in a row."""
        epoch = int(run.latest.get("epoch") or 0)
        self.fruitless = self.fruitless + 1 if epoch <= self.epoch else 0
        self.epoch = max(self.epoch, epoch)
        return not self.gives_up


class Foreman:
    """One process on the machine of the store, as a Ray actor that outlives who made it.

    Ray starts a run's task again wherever there is room when its worker or that one's machine is lost. The run then
    goes on from the state that was saved last; one whose workers are lost :data:`FRUITLESS` times without getting any
    further is told "lost". A worker that is only believed to be lost is at an earlier attempt, and so cannot write.

    Args:
        home: the folder of the run store.
        watches: look after the runs by itself, and end this process a while after the last one.
    """

    def __init__(self, home: str, watches: bool = True) -> None:
        self.store = RunStore(Path(home), timeout=PATIENCE)
        self._me = processes.owner_of()
        self._hands: dict[str, Hand] = {}
        self._lock = threading.RLock()
        self._busy = time.monotonic()
        if watches:
            threading.Thread(target=self._watch, daemon=True).start()

    def owner(self) -> Owner:
        """This process, which runs that wait for Ray wait for."""
        return self._me

    def home(self) -> str:
        """The folder of the run store."""
        return str(self.store.home)

    def begin(self, run_id: str, needs: Mapping[str, float]) -> None:
        """Let Ray train a run as soon as there is room; ``needs`` are its ``num_cpus`` and ``num_gpus``."""
        with self._lock:
            self._busy = time.monotonic()
            if run_id not in self._hands:
                self._hands[run_id] = Hand(self._task(run_id, needs), needs)

    def take(self, run_id: str, owner: Owner) -> tuple[Run, bytes | None] | None:
        """Give a run and its saved state to the worker ``owner``; None where it is not to be trained any more."""
        with self._lock, suppress(StoreError):
            if (hand := self._hands.get(run_id)) and hand.may_go_on(self.store.get(run_id)):
                run = self.store.change(run_id, partial(_taken, owner=owner, starter=self._me, attempt=hand.attempt))
                hand.attempt = run.attempt
                path = self.store.folder(run_id) / STATE
                return run, path.read_bytes() if path.exists() else None
        return None

    def call(self, name: str, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
        """Call a method of the run store."""
        return getattr(self.store, name)(*arguments, **options)

    def put(self, run_id: str, attempt: int, name: str, content: bytes) -> None:
        """Replace a file in the run's folder; SupersededError where another worker has the run by now."""
        if ".." in Path(name).parts or Path(name).is_absolute():
            raise ValueError(f"{name!r} is not the name of a file in a run's folder")
        self.store.requested(run_id, attempt=attempt)
        write_whole(self.store.folder(run_id) / name, content)

    def end_by_force(self, run_id: str) -> None:
        """End the worker of a run wherever it is, and do not start it again."""
        import ray

        with self._lock:
            if hand := self._hands.pop(run_id, None):
                with suppress(Exception):  # it may end by itself at this moment
                    ray.cancel(hand.task, force=True)
                self.store.change(run_id, partial(_forced, attempt=hand.attempt, saved=self.store.has_state(run_id)))

    def look(self) -> list[str]:
        """See to the runs in hand, and say which those are."""
        import ray

        with self._lock:
            tasks = {hand.task: run_id for run_id, hand in self._hands.items()}
            over, _ = ray.wait([*tasks], num_returns=len(tasks), timeout=0) if tasks else ([], [])
            for task in over:
                self._conclude(tasks[task])
            for run_id, hand in [*self._hands.items()]:
                with suppress(StoreError):
                    self._see_to(hand, self.store.get(run_id))
            return [*self._hands]

    def _watch(self) -> None:
        while True:
            time.sleep(LOOK_EVERY)
            # Whatever is wrong now may be right at the next look; nobody would hear of it here.
            with suppress(Exception):
                if self.look():
                    self._busy = time.monotonic()
            if time.monotonic() - self._busy > IDLE:
                os._exit(0)

    def _conclude(self, run_id: str) -> None:
        """What becomes of a run whose task Ray has ended."""
        import ray

        hand = self._hands.pop(run_id)
        why = f"its worker was lost {FRUITLESS} times without getting any further" if hand.gives_up else None
        try:
            ray.get(hand.task)
        except Exception as error:
            why = named(getattr(error, "cause", None) or error)
        with suppress(StoreError):
            run = self.store.get(run_id)
            if why is None and run.reserved and run.owner == self._me:
                # Resumed while its worker was ending.
                self.begin(run_id, hand.needs)
                return
            end = how_to_resume(run_id, self.store.has_state(run_id))
            reason = f"Ray could not train it to its end ({why or 'its worker ended'}). {end}"
            self.store.change(run_id, partial(_given_up, reason=reason, starter=self._me, attempt=hand.attempt))

    def _see_to(self, hand: Hand, run: Run) -> None:
        if run.ended and hand.attempt is None and run.status != "lost":
            # Stopped while it waited for room.
            self.end_by_force(run.id)
        elif run.live and run.requested == "stop" and time.time() - (run.requested_at or 0.0) > FORCE_AFTER:
            self.end_by_force(run.id)
        elif run.attempt == hand.attempt and (run.status == "lost" or (run.live and _is_gone(run))):
            self.store.change(run.id, partial(_waiting_again, starter=self._me, attempt=hand.attempt))

    def _task(self, run_id: str, needs: Mapping[str, float]) -> Any:
        import ray

        from core.jobs.ray_worker import work

        # A process a run, as everywhere: what one leaves behind in memory is nobody else's.
        remote: Any = ray.remote(max_calls=1, max_retries=-1)
        return remote(work).options(**needs).remote(self._handle, run_id)

    @cached_property
    def _handle(self) -> Any:
        """Itself, as a worker can call it."""
        import ray

        return ray.get_runtime_context().current_actor


def _is_gone(run: Run) -> bool:
    # Of another machine Ray knows, and starts the task again.
    return run.owner is not None and processes.here(run.owner) and not processes.is_alive(run)


def _ours(run: Run, starter: Owner, attempt: int | None) -> bool:
    """Whether nobody has taken the run elsewhere: it waits for us, or our last worker has it or lost it."""
    waits = run.status == "queued" and run.owner == starter
    return waits or (run.attempt == attempt and (run.live or run.status == "lost"))


def _taken(run: Run, *, owner: Owner, starter: Owner, attempt: int | None) -> Changes:
    if not _ours(run, starter, attempt):
        raise SupersededError(f"Run {run.id} is {run.status} or in the hands of another process by now.")
    begun = {"status": "running", "reason": None, "attempt": run.attempt + 1, "owner": owner}
    return begun | {"slot": None, "seen": time.time()}


def _waiting_again(run: Run, *, starter: Owner, attempt: int | None) -> Changes | None:
    if not _ours(run, starter, attempt):
        return None
    reason = "Its worker was lost: Ray starts it again from what was saved last."
    return {"status": "queued", "owner": starter, "slot": None, "reason": reason}


def _given_up(run: Run, *, reason: str, starter: Owner, attempt: int | None) -> Changes | None:
    if not _ours(run, starter, attempt):
        return None
    return {"status": "lost", "owner": None, "slot": None, "reason": reason}


def _forced(run: Run, *, attempt: int | None, saved: bool) -> Changes | None:
    if not run.live or run.attempt != attempt:
        return None
    reason = f"Ended by force, as it had not stopped in time. {how_to_resume(run.id, saved)}"
    return {"status": "stopped", "slot": None, "reason": reason}
