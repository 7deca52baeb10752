"""Changes to a run by a person's hand: ordered while it trains, and taken back once it has ended early."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from core.jobs.transitions import JobError, check_goes_on, how_to_resume
from core.runs import Run, RunStore, StoreError
from core.runs.marks import told


def order(store: RunStore, run_id: str, changes: Mapping[str, Any]) -> None:
    """Have a run make ``changes`` at its next step; ConfigError where they do not suit it, JobError if it has ended."""
    from core.config import Config
    from core.training.changes import checked

    run = store.get(run_id)
    check_goes_on(run)
    store.order(run_id, checked(Config.from_dict(run.config), changes, _positions(run)), check_goes_on)


def take_back(store: RunStore, run_id: str) -> None:
    """Have a run that has ended early go on without the last change of it, once it is resumed; JobError.

    Where its saved state lies before the change, that is forgotten with all that was recorded after it. A state that
    holds the change is changed back, at the first step that follows.
    """
    run = store.get(run_id)
    _check_has_ended_early(run)
    mark, state = run.marks[-1], store.load_state(run_id)
    if state is None or mark["step"] > state["trainer"]["step"]:
        store.unmark(run_id, mark["step"], _check_has_ended_early)
    else:
        store.order(run_id, _reverse(mark), _check_has_ended_early)
    end = how_to_resume(run_id, saved=state is not None)
    reason = f"The change before step {mark['step'] + 1} ({told(mark)}) is taken back. {end}"
    store.change(run_id, lambda now: {"reason": reason} if now.ended else None)


def blame(store: RunStore, run_id: str) -> str:
    """What to add to the reason of a failure where the run was changed before it; "" where it was not."""
    with suppress(StoreError):  # the reason itself is the more important
        if marks := store.get(run_id).marks:
            last = marks[-1]
            return (
                f" It was changed before step {last['step'] + 1} ({told(last)}), and would go on so: "
                f"`python -m core runs take-back {run_id}` takes that back, before you resume it."
            )
    return ""


def _check_has_ended_early(run: Run) -> None:
    if not run.ended:
        raise JobError(f"Run {run.id} is {run.status}: stop it, or change it again to what it was.")
    if run.status == "done":
        raise JobError(f"Run {run.id} is done: start a new one with other settings.")
    if not run.marks:
        raise JobError(f"Run {run.id} was not changed while it trained: there is nothing to take back.")


def _reverse(mark: Mapping[str, Any]) -> dict[str, Any]:
    from core.training.changes import as_changes
    from core.training.dials import LEARNED

    before = [{"name": change["name"], "after": change["before"]} for change in mark["changes"]]
    if any(change["after"] == LEARNED for change in before):
        raise JobError("What the run had learned of its noise before this change is not kept: start a new run.")
    return as_changes(before)


def _positions(run: Run) -> int | None:
    """How many dropout positions the run's network has, None where it is not known before it is built."""
    from models import NETWORKS

    if run.latest.get("p") is not None:
        return len(run.latest["p"])
    network = NETWORKS.get(str(run.environment.get("network") or run.config.get("network")))
    return len(network.default_p) if network else None
