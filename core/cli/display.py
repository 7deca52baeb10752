"""What the terminal shows of a run in training: a bar with an ETA, or a line an epoch, or JSON lines."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import click

from core.runs.schema import Run, to_json

if TYPE_CHECKING:
    from core.training import Progress, Trainer


class Display:
    """Shows the records of ``run``; the bar is drawn on stderr, where that is a terminal.

    Args:
        as_json: print every record and the result as JSON lines on stdout, and nothing else there.
    """

    def __init__(self, run: Run, trainer: Trainer, *, as_json: bool) -> None:
        self._run, self._trainer, self._as_json = run, trainer, as_json
        self._bar: Any = None

    def __enter__(self) -> Self:
        if not self._as_json:
            click.echo(f"{self._run.name}: training {_place(self._trainer)}, run {self._run.id}")
        if sys.stderr.isatty():
            from tqdm import tqdm

            total = self._trainer.total_steps
            self._bar = tqdm(total=total, unit="step", file=sys.stderr, dynamic_ncols=True, leave=False)
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, progress: Progress) -> None:
        """Show one record."""
        if self._as_json:
            click.echo(to_json({"run": self._run.id, **progress.to_dict()}))
        elif self._bar is None and progress.kind == "epoch":
            click.echo(epoch_line(progress, int(self._run.config["epochs"])))
        if self._bar is not None:
            self._draw(progress)

    def conclude(self, run: Run) -> None:
        """Show what came of the run."""
        if self._as_json:
            error = {"error": run.reason} if run.status == "failed" else {}
            about = {"run": run.id, "name": run.name, "status": run.status, "reason": run.reason}
            click.echo(to_json({**about, "final": run.final, **error}))
        else:
            click.echo(result_line(run), err=run.status == "failed")

    def _draw(self, progress: Progress) -> None:
        if not self._bar.n:
            # The bar's speed counts from here: what a resumed run has behind it was not done now.
            self._bar.reset(self._trainer.total_steps)
            self._bar.initial = progress.step
        self._bar.n = progress.step
        self._bar.set_postfix_str(" · ".join(measured(progress)), refresh=False)
        self._bar.refresh()


def epoch_line(progress: Progress, epochs: int) -> str:
    """One line for an epoch: its losses, accuracy and the seconds of training so far."""
    width = len(str(epochs))
    words = [f"epoch {round(progress.epoch):{width}}/{epochs}", *measured(progress), f"{progress.train_seconds:.1f} s"]
    return "  ".join(words)


def measured(progress: Progress) -> list[str]:
    """The losses and accuracies that a record has, in words."""
    words = [f"loss {progress.loss:.4f}"] if progress.loss is not None else []
    if progress.val_loss is not None:
        words.append(f"validation loss {progress.val_loss:.4f}")
    if progress.val_accuracy is not None:
        words.append(f"validation accuracy {progress.val_accuracy:.2%}")
    return words


def result_line(run: Run) -> str:
    """What came of a run, in a sentence."""
    if run.status != "done":
        return f"{run.status.capitalize()}: {run.reason}"
    tested, seconds = run.final.get("test_accuracy"), run.final.get("train_seconds", 0.0)
    accuracy = "" if tested is None else f" Test accuracy {tested:.2%}"
    why = f" {run.reason}" if run.reason else ""
    return f"Done.{accuracy} after {run.final.get('epoch', 0):g} epochs, {seconds:.1f} s of training.{why}"


def _place(trainer: Trainer) -> str:
    from core.environment import device_name

    name = device_name(trainer.device)
    return f"on {trainer.device}" if name.lower() == str(trainer.device) else f"on {trainer.device} ({name})"
