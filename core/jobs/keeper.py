"""Keeps what a run yields: its records in the store, its weights, snapshots and the state to resume from beside it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from core.config import ConfigError
from core.jobs.troubles import is_out_of_memory
from core.runs import Run, RunStore, StoreError, snapshots

if TYPE_CHECKING:
    from core.runs.marks import Order
    from core.training import Progress, Trainer

# Seconds between two writes of step records.
WRITE_EVERY = 0.2
# A trainer hands over at least this often, so that a stop is obeyed in time however rarely steps are recorded.
LONGEST_TURN = 0.5
# Saving takes at most this share of the time, or a network that trains in a second would wait longer for the disk.
SAVING_SHARE = 0.05
RESULTS = (
    "epoch", "step", "loss", "accuracy", "train_eval_loss", "val_loss", "val_accuracy", "test_loss", "test_accuracy",
    "train_seconds", "eval_seconds",
)  # fmt: skip

Ending = Literal["done", "stopped", "failed"]


class Keeper:
    """The only writer of a run. Its methods raise :class:`StoreError`, also once another process has the run.

    The state is saved at the end of epochs, of the first for certain and then as often as :data:`SAVING_SHARE` allows,
    and whenever the run pauses or stops. The records not yet stored travel inside it, so that none is missing after a
    crash in between; epochs recorded after it stay known, and are recorded again once they are made again.
    """

    def __init__(self, store: RunStore, run: Run) -> None:
        self.store = store
        self.run = run
        self.latest: dict[str, Any] = dict(run.latest)
        self._pending: list[dict[str, Any]] = []
        self._written = time.monotonic()
        self._recorded = 0.0
        self._saved = self._written
        self._cost = 0.0
        self._saved_step: int | None = None

    def restore(self, trainer: Trainer) -> None:
        """Bring ``trainer`` to the saved state, forgetting the records within later epochs, or keep how it begins."""
        state = self.store.load_state(self.run.id)
        self.latest = {}
        step, records = (0, []) if state is None else self._entered(trainer, state)
        self.store.rewind(self.run.id, step, attempt=self.run.attempt)
        if records:
            self.store.record(self.run.id, records, attempt=self.run.attempt)
        if step == 0:
            self._snapshot(trainer, 0)
        if state is not None:
            self._mark_what_was_made(state)
        if self.run.marks:
            trainer.plan((mark["step"], mark["changes"]) for mark in self.run.marks)
        self._saved_step = None if state is None else trainer.step

    def adjust(self, trainer: Trainer) -> None:
        """Carry out what is to change at the next step.

        The mark is on disk before that step is taken, and a run that goes on from an earlier state makes the change
        again where the mark says; an order that has no mark yet stays an order, whatever happens to this process.
        Where no step comes next it stays one, too: evaluations are of the network as it was trained.
        """
        orders = self.store.orders(self.run.id)
        if not orders or trainer.planned or not trainer.trains_next:
            return
        changes, refused = _made(trainer, orders)
        mark = {
            "step": trainer.step,
            "epoch": trainer.epoch,
            "seconds": trainer.train_seconds,
            "changes": changes,
        }
        if trainer.step == self._saved_step:
            # A change that is taken back leaves no mark, so the state of this very step must not hold it either.
            self.save(trainer, {"orders": [order.key for order in orders], "mark": mark, "refused": refused})
        self.store.mark(self.run.id, orders, mark, refused, attempt=self.run.attempt)

    def take(self, progress: Progress, trainer: Trainer, *, single: bool = False) -> None:
        """Keep a record, and at the end of an epoch, where it is time, all that the run could go on from.

        The record of a ``single`` step, which somebody waits for, is kept and stored at once.
        """
        if not single and self._is_too_many(progress):
            return
        record = progress.to_dict()
        self._pending.append(record)
        self.latest.update((name, value) for name, value in record.items() if value is not None)
        if progress.kind == "epoch":
            # Before the state, so that a run which goes on from there has it.
            self._snapshot(trainer, round(progress.epoch))
        if progress.kind == "epoch" and (time.monotonic() - self._saved) * SAVING_SHARE >= self._cost:
            self.save(trainer)
        elif progress.kind == "end" and progress.status == "done":
            self._save_weights(trainer)
        if single or progress.kind != "step" or time.monotonic() - self._written >= WRITE_EVERY:
            self._flush()

    def save(self, trainer: Trainer, made: dict[str, Any] | None = None) -> None:
        """Save the state to resume from and the weights, then store the records.

        ``made``: the orders that the state holds and the store has no mark of yet.
        """
        started = time.monotonic()
        # The last record may lie before this, or after it where a run goes on from an earlier state.
        self.latest |= {"step": trainer.step, "epoch": trainer.epoch}
        state = {"trainer": trainer.state(), "step": trainer.step, "records": self._pending, "latest": self.latest}
        self.store.save_state(self.run.id, state | {"made": made})
        self._save_weights(trainer)
        self._flush()
        self._saved_step = trainer.step
        self._saved = time.monotonic()
        self._cost = self._saved - started

    def finish(self, status: Ending, reason: str | None) -> None:
        """End the run with its results."""
        with suppress(StoreError):  # the run's end is the more important, and says what is wrong by itself
            self._flush()
        final = {name: self.latest[name] for name in RESULTS if name in self.latest}
        self.store.finish(self.run.id, status, reason, final, attempt=self.run.attempt)
        if status == "done":
            self.store.drop_state(self.run.id)

    def _entered(self, trainer: Trainer, state: dict[str, Any]) -> tuple[int, list[dict[str, Any]]]:
        """The step that ``trainer`` goes on from with ``state``, and the records that were not yet stored there."""
        try:
            step, records = int(state["step"]), list(state["records"])
            self.latest = dict(state.get("latest", {"step": step}))
            trainer.load_state(state["trainer"])
        except ConfigError:
            raise
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            # A file may be whole and yet hold something else; a GPU without room for it is no fault of the file.
            if is_out_of_memory(error):
                raise
            raise self.store.damaged_state(self.run.id) from error
        return step, records

    def _mark_what_was_made(self, state: dict[str, Any]) -> None:
        """Mark what the saved state holds, where the process was killed before: made again it would change nothing."""
        if made := state.get("made"):
            orders = [order for order in self.store.orders(self.run.id) if order.key in made["orders"]]
            if orders:
                self.store.mark(self.run.id, orders, made["mark"], made["refused"], attempt=self.run.attempt)
                self.run = self.store.get(self.run.id)

    def _save_weights(self, trainer: Trainer) -> None:
        # The network is named, the images are described: weights must load without the data set at hand.
        config = self.run.config | {"network": trainer.config.network, "images": trainer.data.facts()}
        self.store.save_weights(self.run.id, trainer.model.state_dict(), config)

    def _snapshot(self, trainer: Trainer, epoch: int) -> None:
        if self.run.config.get("snapshots"):
            snapshots.save(self.store.folder(self.run.id), epoch, trainer.reference_activations())

    def _flush(self) -> None:
        if self._pending:
            self.store.record(self.run.id, self._pending, attempt=self.run.attempt)
            self._pending = []
        self._written = time.monotonic()

    def _is_too_many(self, progress: Progress) -> bool:
        every = float(self.run.config.get("record_every", 0.0))
        if progress.kind == "step" and every > LONGEST_TURN and progress.train_seconds - self._recorded < every:
            return True
        self._recorded = progress.train_seconds
        return False


def _made(trainer: Trainer, orders: Sequence[Order]) -> tuple[list[dict[str, Any]], dict[int, str]]:
    """What ``orders`` have changed; and why not, by the key of an order that could not be checked before."""
    changes: list[dict[str, Any]] = []
    refused = {}
    for order in orders:
        try:
            changes += trainer.adjust(order.changes)
        except ConfigError as error:
            refused[order.key] = str(error)
    return changes, refused
