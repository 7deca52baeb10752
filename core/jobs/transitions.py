"""What becomes of a run that something is asked of, or whose process is gone: from what it is, the fields to change."""

from __future__ import annotations

import time
from typing import Any

from core.jobs import processes
from core.runs import Owner, Run, StoreError

# A worker looks for requests several times a second; one that has not stopped after this long is ended by force.
# A second before the ten that are allowed, as looking and ending take their time.
FORCE_AFTER = 9.0

Changes = dict[str, Any]


class JobError(StoreError):
    """A run cannot do what was asked of it; one sentence for the person."""


def how_to_resume(run_id: str, saved: bool) -> str:
    """The sentence that tells a person how a run that ended early goes on."""
    where = "it goes on from its last saved state" if saved else "it begins again, as nothing was saved yet"
    return f"Resume it in the dashboard or by `python -m core train --resume {run_id}`: {where}."


def check_goes_on(run: Run) -> None:
    if run.ended:
        resume = "" if run.status == "done" else ": resume it first"
        raise JobError(f"Run {run.id} is {run.status}, so nothing of it can change{resume}.")


def paused(run: Run) -> Changes | None:
    if run.ended:
        raise JobError(f"Run {run.id} is {run.status}: there is nothing to pause.")
    if run.status == "queued":
        return {"status": "paused", "owner": None, "requested": "pause", "requested_at": time.time()}
    # A stop is not taken back by a pause that comes after it.
    return None if run.requested == "stop" else asked(run, "pause")


def resumed(run: Run, *, request: str, starter: Owner | None) -> Changes | None:
    if run.status == "done":
        raise JobError(f"Run {run.id} is done: start a new one to train for longer.")
    if run.live and run.requested == "stop":
        raise JobError(f"Run {run.id} is being stopped: resume it once it has stopped.")
    if run.live:
        return asked(run, request)
    if run.status == "queued":
        return asked(run, request)
    now = time.time()
    again = {"status": "queued", "reason": None, "owner": starter, "slot": None}
    # One that nobody stopped keeps its place before those that were queued after it.
    place = {} if run.status == "lost" else {"queued_at": now}
    return again | place | {"requested": request, "requested_at": now}


def cancelled(run: Run, *, saved: bool) -> Changes | None:
    if run.ended:
        return None
    if run.live:
        return asked(run, "stop")
    reason = f"Stopped while it waited. {how_to_resume(run.id, saved)}"
    return {"status": "stopped", "reason": reason, "requested": "stop", "requested_at": time.time()}


def asked(run: Run, request: str) -> Changes | None:
    # Asking again must not move the moment from which a stop is overdue.
    return None if run.requested == request else {"requested": request, "requested_at": time.time()}


def overdue(run: Run) -> bool:
    late = run.requested == "stop" and run.requested_at is not None and time.time() - run.requested_at > FORCE_AFTER
    return late and run.owner is not None and processes.here(run.owner)


def buried(run: Run, *, seen: Run, saved: bool) -> Changes | None:
    """What becomes of a run whose process, ``seen`` a moment ago, is gone; None where it ended tidily meanwhile."""
    if not (run.live or run.reserved) or run.attempt != seen.attempt or run.owner != seen.owner:
        return None
    end = how_to_resume(run.id, saved)
    if run.requested == "stop":
        return {"status": "stopped", "slot": None, "reason": f"Ended by force, as it had not stopped in time. {end}"}
    how = "Its process ended without a word (killed, out of memory, or the machine was restarted)."
    if run.reserved:
        how = "What was to start it on another machine has ended."
    return {"status": "lost", "slot": None, "reason": f"{how} {end}"}
