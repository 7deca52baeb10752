"""The command line: ``python -m core train``, ``sweep`` and ``runs``. What needs torch is imported when needed."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.cli import hand_commands  # noqa: F401, they are commands of runs
from core.cli.bench_commands import bench
from core.cli.exit_codes import BAD_INPUT, FAILED, INTERRUPTED
from core.cli.reproduce_command import reproduce
from core.cli.run_commands import runs
from core.cli.sweep_command import sweep
from core.cli.values import knobs_of, probabilities
from core.config import DEVICES, PRECISIONS, Config, ConfigError
from core.errors import DataError
from core.home import HomeError
from core.runs import Run, RunStore, StoreError, UnknownRunError

if TYPE_CHECKING:
    from core.training import Trainer


# A training of hours should not end because somebody else writes for a while.
PATIENCE = 60.0

# The variable that shows where an unforeseen error happened.
DEBUG = "DROPSCOPE_DEBUG"


@click.group(context_settings={"help_option_names": ["-h", "--help"]}, invoke_without_command=True)
@click.pass_context
def main(context: click.Context) -> None:
    """Dropscope: train small networks with dropout of every kind, and compare them."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


main.add_command(runs)
main.add_command(bench)
main.add_command(sweep)
main.add_command(reproduce)


@main.command()
@click.option("--dataset", metavar="NAME|FOLDER", help="digits, mnist, cifar10 or a folder of class folders.")
@click.option("--network", metavar="NAME", help="A network, or auto for the data set's own.")
@click.option("--technique", metavar="NAME", help="A dropout technique, or none.")
@click.option("--p", metavar="P[,P…]", help="Drop probability, at every position or one each.")
@click.option("--knob", "knobs", metavar="NAME=VALUE", multiple=True, help="An option of the technique; repeatable.")
@click.option("--width", type=float, help="Factor on the network's channels and units.")
@click.option("--train-size", type=int, metavar="N", help="Train on N of the training images; validate on all others.")
@click.option("--epochs", type=int, help="How often the training set is gone through.")
@click.option("--batch-size", type=int, help="Examples in a step.")
@click.option("--lr", type=float, help="Learning rate of Adam.")
@click.option("--weight-decay", type=float, help="Weight decay, Adam's L2.")
@click.option("--seed", type=int, help="Of the initial weights, the order of examples and the noise.")
@click.option("--device", metavar="NAME", help=f"{', '.join(DEVICES)}, cuda:1, …")
@click.option("--precision", metavar="NAME", help=f"{' or '.join(PRECISIONS)}.")
@click.option("--schedule", metavar="NAME", help="How p changes over the epochs.")
@click.option("--refresh-epochs", type=float, help="DropCorr: epochs between two estimates of the covariance.")
@click.option("--refresh-growth", type=float, help="DropCorr: factor from one such interval to the next.")
@click.option("--kl-weight", type=float, help="Variational: factor on the divergence.")
@click.option("--record-every", type=float, metavar="SECONDS", help="Training time between two points of the curve.")
@click.option("--snapshots", is_flag=True, default=None, help="Keep a fixed batch's activations at every epoch.")
@click.option("--early-stop", type=int, metavar="N", help="End after N epochs without a lower validation loss.")
@click.option("--time-budget", type=float, metavar="SECONDS", help="End after so much time of training.")
@click.option("--name", help="What the run is called.")
@click.option("--resume", metavar="ID", help="Go on with a run that has ended early, with its own settings.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines and nothing else.")
def train(
    p: str | None,
    knobs: Sequence[str],
    name: str | None,
    resume: str | None,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train a network here, in the foreground, and keep the run.

    Settings that are not given are the paper's. Ctrl-C stops it tidily, with its weights saved.
    """
    given = {key: value for key, value in {**settings, "p": probabilities(p)}.items() if value is not None}
    if resume is not None and (given or knobs or name):
        raise click.UsageError("--resume goes on with the run's own settings: leave the others out, except --json.")

    run, trainer, store = _resumed(resume) if resume is not None else _new(given, knobs, name)

    from core.cli.display import Display
    from core.jobs.worker import carry_out

    with Display(run, trainer, as_json=as_json) as display:
        run = carry_out(store, run, lambda: trainer, watch=display.show)
    display.conclude(run)
    by_signal = run.status == "stopped" and run.requested != "stop"
    raise click.exceptions.Exit(FAILED if run.status == "failed" else INTERRUPTED if by_signal else 0)


@main.command(hidden=True)
@click.argument("run_id")
@click.option("--attempt", type=int)
@click.option("--limit", type=int, required=True)
@click.option("--home", type=click.Path(path_type=Path), required=True)
def worker(run_id: str, attempt: int | None, limit: int, home: Path) -> None:
    """Work on a run that an engine has claimed, then see to those that wait; RUN_ID "-": as standard input orders."""
    from core.jobs import LocalEngine, warm
    from core.jobs.worker import run_worker

    data = None
    if run_id == warm.WAITING:
        order, data = warm.wait(limit)
        run_id, attempt = order.run_id, order.attempt
    store = RunStore(home, timeout=PATIENCE)
    run = run_worker(store, run_id, attempt=attempt, limit=limit, data=data)
    LocalEngine(store, limit).advance()
    store.close()
    raise click.exceptions.Exit(FAILED if run.status == "failed" else 0)


def run(arguments: Sequence[str] | None = None) -> int:
    """Carry out a command line and return its exit code; errors become one sentence, in JSON where that was asked."""
    words = [*(sys.argv[1:] if arguments is None else arguments)]
    try:
        code = main.main(words, prog_name="python -m core", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except (ConfigError, DataError, UnknownRunError) as error:
        return _complain(str(error), BAD_INPUT, words)
    except (StoreError, HomeError) as error:
        return _complain(str(error), FAILED, words)
    except click.ClickException as error:
        return _complain(error.format_message(), error.exit_code, words)
    except (KeyboardInterrupt, click.Abort):
        return _complain("Interrupted.", INTERRUPTED, words)
    except BrokenPipeError:
        # Whoever read the output has enough; without this Python complains once more when it closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _complain(_unexpected(error, words), FAILED, words)


def _unexpected(error: Exception, words: Sequence[str]) -> str:
    """The sentence for an error that nobody foresaw; its traceback is printed for who asks for it, and for a log."""
    from core.jobs.troubles import OUT_OF_MEMORY, is_out_of_memory, named

    # What a worker prints goes to its run's worker.log.
    asked = bool(os.environ.get(DEBUG)) or "worker" in words[:1]
    if asked:
        traceback.print_exception(error)
    if is_out_of_memory(error):
        return OUT_OF_MEMORY
    return f"{named(error)}." if asked else f"{named(error)}; set {DEBUG}=1 to see where it happened."


def _complain(sentence: str, code: int, words: Sequence[str]) -> int:
    as_json = "--json" in words
    click.echo(
        json.dumps({"error": sentence}, ensure_ascii=False) if as_json else f"Error: {sentence}", err=not as_json
    )
    return code


def _new(given: dict[str, Any], knobs: Sequence[str], name: str | None) -> tuple[Run, Trainer, RunStore]:
    """A new run with its trainer. Settings and data are tried first: what is wrong with them leaves no run behind."""
    from core.jobs.engine import rooted
    from core.jobs.processes import owner_of
    from core.jobs.worker import patient
    from core.training import Trainer

    config = rooted(Config(**given, knobs=knobs_of(given.get("technique", Config.technique), knobs)).validated())
    trainer = Trainer(patient(config))
    store = RunStore(timeout=PATIENCE)
    run_id = store.create(config.to_dict(), name=name, owner=owner_of())
    return store.get(run_id), trainer, store


def _resumed(prefix: str) -> tuple[Run, Trainer, RunStore]:
    """A run that has ended early, taken over by this process, with its trainer."""
    from core.jobs import LocalEngine
    from core.jobs.worker import take, trainer_of

    store = RunStore(timeout=PATIENCE)
    run_id = store.find(prefix).id
    LocalEngine(store).settle()
    trainer = trainer_of(store.get(run_id))
    return take(store, run_id), trainer, store


if __name__ == "__main__":
    code = run()
    if sys.argv[1:2] == ["worker"]:
        # All is written; taking torch apart would hold its memory and a core for a second or more.
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
