"""``python -m core runs``: what the store has, listed, shown, deleted, exported. Imports neither torch nor pandas."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from core.errors import reason_of
from core.runs import Run, RunStore, StoreError
from core.runs.marks import shown, told
from core.runs.schema import to_json

if TYPE_CHECKING:
    import pandas as pd

    from core.jobs.places import Turn

Command = TypeVar("Command", bound=Callable[..., Any])

# What an exported row says of its run.
ABOUT = ("name", "status", "dataset", "network", "technique", "seed")
COLUMNS = ("id", "name", "status", "epoch", "validation", "test", "created")


def json_option(command: Command) -> Command:
    def asked(context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
        return value or bool(context.parent and context.parent.params.get("as_json"))

    words = "Print JSON lines and nothing else."
    return click.option("--json", "as_json", is_flag=True, callback=asked, help=words)(command)


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def runs(context: click.Context, as_json: bool) -> None:
    """List the runs, or show, delete and export some."""
    if context.invoked_subcommand is None:
        context.invoke(list_runs, as_json=as_json)


@runs.command("list")
@json_option
def list_runs(as_json: bool) -> None:
    """List all runs, the newest first."""
    from core.jobs import LocalEngine

    store = _settled()
    found = store.list()
    if as_json:
        for run in found:
            click.echo(as_line(run))
    elif found:
        turns = LocalEngine(store).turns() if any(run.status == "queued" for run in found) else {}
        click.echo(table([COLUMNS, *(cells(run, turns.get(run.id)) for run in found)]))
    else:
        click.echo("There are no runs yet: `python -m core train` trains the first one.")


@runs.command("show")
@click.argument("run_id", metavar="ID")
@json_option
def show(run_id: str, as_json: bool) -> None:
    """Show all that is known of a run; the beginning of its id is enough."""
    store = _settled()
    run = store.find(run_id)
    if as_json:
        click.echo(as_line(run))
        return
    parts: dict[str, Any] = {"id": run.id, "name": run.name, "status": run.status, "reason": run.reason}
    parts |= {"created": when(run.created), "folder": store.folder(run.id)}
    click.echo("\n".join(f"{name:<10} {value}" for name, value in parts.items() if value is not None))
    for title, values in (("settings", run.config), ("results", run.final), ("environment", run.environment)):
        if values:
            click.echo(f"\n{title}")
            width = max(map(len, values))
            click.echo("\n".join(f"  {name:<{width}}  {shown(value)}" for name, value in values.items()))
    if run.marks:
        click.echo("\nchanged while it trained")
        click.echo("\n".join(f"  before step {mark['step'] + 1}: {told(mark)}" for mark in run.marks))
    if run.orders:
        click.echo("\nordered and not made")
        orders = [(to_json(order["changes"]), order["refused"] or "at its next step") for order in run.orders]
        click.echo("\n".join(f"  {changes}: {why}" for changes, why in orders))


@runs.command("delete")
@click.argument("run_ids", metavar="ID...", nargs=-1, required=True)
@json_option
def delete(run_ids: Sequence[str], as_json: bool) -> None:
    """Delete runs with their weights; all of them or, where one cannot be deleted, none."""
    store = _settled()
    ids = list(dict.fromkeys(store.find(run_id).id for run_id in run_ids))
    store.delete(ids)
    click.echo(to_json({"deleted": ids}) if as_json else f"Deleted {', '.join(ids)}.")


@runs.command("export")
@click.argument("run_ids", metavar="[ID...]", nargs=-1)
@click.option("--csv", "target", metavar="FILE|-", help="Where to write CSV; - is the terminal, and the default.")
@click.option("--tensorboard", metavar="FOLDER", type=click.Path(path_type=Path), help="Where to write event files.")
@click.option("--mlflow", metavar="URL", help="The MLflow server to send to, as http://127.0.0.1:5000.")
@click.option("--experiment", metavar="NAME", help="The experiment on that server; default: the run's, or Dropscope.")
@click.option("--steps", is_flag=True, help="Also the records within epochs.")
@json_option
def export(
    run_ids: Sequence[str],
    target: str | None,
    tensorboard: Path | None,
    mlflow: str | None,
    experiment: str | None,
    steps: bool,
    as_json: bool,
) -> None:
    """Export the records of runs, all if none are named, of each epoch and each end: as CSV, or for a tracker."""
    if sum(place is not None for place in (target, tensorboard, mlflow)) > 1:
        raise click.UsageError("Choose one of --csv, --tensorboard and --mlflow.")
    if experiment is not None and mlflow is None:
        raise click.UsageError("--experiment goes with --mlflow.")
    store = _settled()
    chosen = [store.find(run_id) for run_id in dict.fromkeys(run_ids)] if run_ids else store.list()[::-1]
    if tensorboard is not None:
        from core.trackers.tensorboard import export as write

        to_tracker(write(store, chosen, tensorboard, steps), len(chosen), "tensorboard", tensorboard, as_json)
    elif mlflow is not None:
        from core.trackers.mlflow import export as send
        from core.trackers.mlflow import shown as address

        to_tracker(send(store, chosen, mlflow, experiment, steps), len(chosen), "mlflow", address(mlflow), as_json)
    else:
        _export_csv(store, chosen, target or "-", steps, as_json)


def to_tracker(sent: Iterator[tuple[Run, int]], count: int, tracker: str, place: str | Path, as_json: bool) -> None:
    """Carry out an export of ``count`` runs and say what was written: a line of JSON a run, or one sentence."""
    from tqdm import tqdm

    runs = records = 0
    for run, number in tqdm(sent, total=count, unit="run", disable=not sys.stderr.isatty(), leave=False):
        runs, records = runs + (number > 0), records + number
        if as_json:
            click.echo(to_json({tracker: place, "run": run.id, "records": number}))
    if not as_json:
        rest = f"; nothing new of {_number(count - runs)}" if runs < count else ""
        click.echo(f"Wrote {records} records of {_number(runs)} to {place}{rest}.", err=True)


def _export_csv(store: RunStore, chosen: Sequence[Run], target: str, steps: bool, as_json: bool) -> None:
    from core.report import csv

    records = exported(store, chosen, steps)
    if as_json:
        for record in records.to_dict("records"):
            click.echo(to_json({str(name): value for name, value in record.items()}))
        return
    try:
        if target == "-":
            sys.stdout.write(csv(records))
        else:
            Path(target).write_text(csv(records), encoding="utf-8", newline="")
    except BrokenPipeError:
        raise
    except OSError as error:
        raise click.UsageError(f"{target} cannot be written ({reason_of(error)}): name another file.") from error
    if target != "-":
        click.echo(f"Wrote {len(records)} records of {_number(len(chosen))} to {target}.", err=True)


def _number(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs} runs"


@runs.command("checkpoint")
@click.argument("run_id", metavar="ID")
@click.argument("folder", metavar="FOLDER", type=click.Path(file_okay=False, path_type=Path))
@click.option("--every", type=click.IntRange(1), default=1, help="Take along the snapshots of each so many epochs.")
@json_option
def checkpoint(run_id: str, folder: Path, every: int, as_json: bool) -> None:
    """Write a run's network to a folder as those in checkpoints/ are, its accuracy measured anew."""
    from core.checkpoints import export as write

    store = _settled()
    run = store.find(run_id)
    written = write(store, run, folder.absolute(), every)
    if as_json:
        click.echo(to_json({"checkpoint": folder, "run": run.id, "accuracy": written.accuracy}))
    else:
        click.echo(f"Wrote {written.title}, test accuracy {percent(written.accuracy)}, to {folder}.")


def exported(store: RunStore, chosen: Sequence[Run], steps: bool = False) -> pd.DataFrame:
    """A row for each record of the runs, with what tells the runs apart; ``p`` as numbers with blanks between."""
    records = store.metrics([run.id for run in chosen])
    if not steps:
        records = records[records["kind"] != "step"]
    records["p"] = [" ".join(map(str, p)) if isinstance(p, tuple) else None for p in records["p"]]
    records["run"] = records["run"].astype(str)
    known = {run.id: {"name": run.name, "status": run.status, **run.config} for run in chosen}
    for place, column in enumerate(ABOUT, 1):
        records.insert(place, column, [known[run_id].get(column) for run_id in records["run"]])
    return records


def as_line(run: Run) -> str:
    """A run as one line of JSON."""
    return to_json(asdict(run))


def cells(run: Run, turn: Turn | None = None) -> tuple[str, ...]:
    """A run as a row of the table, with its turn where it waits."""
    reached = f"{float(run.latest.get('epoch', 0)):.3g}/{run.config.get('epochs', '?')}"
    validation, test = percent(run.latest.get("val_accuracy")), percent(run.final.get("test_accuracy"))
    status = run.status if turn is None or turn.place is None else f"{run.status}, {place(turn)}"
    return run.id, run.name, status, reached, validation, test, when(run.created)


def place(turn: Turn) -> str:
    """Where a run stands in the queue, in words."""
    where = "next" if turn.place == 1 else f"number {turn.place}"
    return where if turn.starts_in is None else f"{where} in {duration(turn.starts_in)}"


def duration(seconds: float) -> str:
    """A time as a person would say it."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds:.0f} s"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of words as aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def percent(share: float | None) -> str:
    """A share of 1 in percent; nothing where it is not known."""
    return "" if share is None else f"{share:.2%}"


def when(seconds: float) -> str:
    """A time as people of this place write it, to the minute."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def _settled() -> RunStore:
    """The store, with the runs whose process has died told "lost", where it can be written."""
    from core.jobs import LocalEngine

    store = RunStore()
    with suppress(StoreError):
        LocalEngine(store).settle()
    if sentence := store.damage():
        click.echo(sentence, err=True)
    return store
