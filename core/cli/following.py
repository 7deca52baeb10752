"""The runs of an experiment, started or gone on with, watched to their end, and what is told of them."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import click

from core.cli.exit_codes import INTERRUPTED
from core.cli.run_commands import COLUMNS, cells, duration, table
from core.jobs.engines import ENGINES, engine_named
from core.runs import Run, RunStore, StoreError
from core.runs.schema import to_json

if TYPE_CHECKING:
    from core.config import Config
    from core.jobs import Engine
    from core.jobs.places import Turn
    from core.sweep.running import Planned

Command = TypeVar("Command", bound=Callable[..., Any])

# Seconds between two looks at the runs.
LOOK_EVERY = 0.5

_ACTIONS = {"start": "started", "resume": "resumed", "keep": "there already"}


def engine_options(command: Command) -> Command:
    """The options that say where runs train and whether they are waited for, which :func:`carry_out` takes."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Only say what would be started."),
        click.option("--wait/--detach", default=True, help="Watch until all have ended, or only start them."),
        click.option("--gpus-per-run", type=float, metavar="N", help="Share of a GPU, as 0.25, on Ray; default 1."),
        click.option("--cpus-per-run", type=float, metavar="N", help="CPU cores, and threads, on Ray; default 1."),
        click.option("--address", metavar="HOST:PORT", help="Of the Ray cluster; default: the one of this machine."),
        click.option("--engine", type=click.Choice(ENGINES), default="local", help="Where the runs train."),
    ):
        command = option(command)
    return command


def carry_out(
    store: RunStore,
    name: str,
    configs: Sequence[Config],
    *,
    again: str,
    as_json: bool,
    engine: str,
    wait: bool,
    dry_run: bool,
    at_end: Callable[[], None] = lambda: None,
    **options: Any,
) -> list[Run] | None:
    """Start, resume and watch what ``configs`` still need as experiment ``name``; the runs, None where nobody waits.

    Args:
        again: the command that watches them again, for who interrupts this one.
        at_end: called at the beginning and after each run that ends.
        options: of the engine.
    """
    from core.jobs import LocalEngine
    from core.sweep.running import begin, matched

    with suppress(StoreError):  # what cannot be written is told by who must write
        # A run whose process was killed is resumed, not waited for.
        LocalEngine(store).settle()
    planned = matched(store, name, configs)
    if dry_run:
        _say_plan(planned, as_json)
        return None
    trainer = engine_named(engine, store, **options)
    at_end()
    ids = begin(trainer, planned, name)
    _say_begun(name, planned, ids, as_json)
    if not wait:
        return None
    try:
        runs = _followed(trainer, store, ids, planned, as_json, at_end)
    except KeyboardInterrupt:
        words = f"Interrupted; the runs go on, and `{again}` watches them again."
        click.echo(to_json({"error": words}) if as_json else f"\n{words}", err=not as_json)
        raise click.exceptions.Exit(INTERRUPTED) from None
    _say_end(name, runs, as_json)
    return runs


def _followed(
    engine: Engine,
    store: RunStore,
    ids: Sequence[str],
    planned: Sequence[Planned],
    as_json: bool,
    at_end: Callable[[], None],
) -> list[Run]:
    """Watch until all runs have ended; the runs in the order of ``ids``."""
    told = {each.run.id for each in planned if each.run and each.run.status == "done" and not as_json}
    with _bar() as bar:
        while True:
            began = time.monotonic()
            engine.poll(ids[0])
            found = {run.id: run for run in reversed(store.list(ids=ids))}
            for run in found.values():
                if run.ended and run.id not in told:
                    told.add(run.id)
                    _say_run(run, as_json, bar)
                    at_end()
            _draw(bar, found, len(ids), engine)
            # One that somebody deletes is no longer waited for.
            if all(run.ended for run in found.values()):
                return [found[run_id] for run_id in ids if run_id in found]
            # Looking at very many takes a while.
            time.sleep(max(LOOK_EVERY, 10 * (time.monotonic() - began)))


def _bar() -> Any:
    """A bar over all epochs of all runs, on a terminal."""
    from tqdm import tqdm

    hidden = not sys.stderr.isatty()
    layout = "{percentage:3.0f} % |{bar}| {desc} [{elapsed}]"
    return tqdm(total=1.0, file=sys.stderr, disable=hidden, dynamic_ncols=True, leave=False, bar_format=layout)


def _draw(bar: Any, runs: Mapping[str, Run], number: int, engine: Engine) -> None:
    if bar.disable:
        return
    bar.n = min(1.0, sum(map(_share, runs.values())) / number)
    bar.set_description_str(progress(runs, engine.turns()))


def progress(runs: Mapping[str, Run], turns: Mapping[str, Turn]) -> str:
    """How the runs of an experiment stand, and when the next begins and the last ends, in words."""
    words = [counted(runs.values())]
    own = [turns[run_id] for run_id, run in runs.items() if run_id in turns and not run.ended]
    starts = [turn.starts_in for turn in own if turn.starts_in is not None]
    if starts:
        words.append(f"the next begins in {duration(min(starts))}")
    ends = [turn.ends_in for turn in own]
    if known := [end for end in ends if end is not None]:
        words.append(f"about {duration(max(known))} left" if len(known) == len(ends) else "time left not known yet")
    return " · ".join(words)


def _share(run: Run) -> float:
    if run.ended:
        return 1.0
    return min(1.0, float(run.latest.get("epoch") or 0.0) / float(run.config.get("epochs") or 1))


def counted(runs: Iterable[Run]) -> str:
    """How many runs stand how, in words."""
    return ", ".join(f"{number} {status}" for status, number in Counter(run.status for run in runs).items())


def _say_plan(planned: Sequence[Planned], as_json: bool) -> None:
    for each in planned:
        about = {"action": each.action, "run": each.run.id if each.run else None}
        command = each.config.command()
        click.echo(to_json({**about, "config": each.config.to_dict()}) if as_json else f"{each.action:<7}{command}")


def _say_begun(name: str, planned: Sequence[Planned], ids: Sequence[str], as_json: bool) -> None:
    if as_json:
        for each, run_id in zip(planned, ids, strict=True):
            about = {"experiment": name or None, "run": run_id, "action": each.action}
            click.echo(to_json({**about, "config": each.config.to_dict()}))
        return
    counts = Counter(_ACTIONS[each.action] for each in planned)
    number = "1 run" if len(ids) == 1 else f"{len(ids)} runs"
    title = f"{name}: " if name else ""
    click.echo(f"{title}{number}, {', '.join(f'{count} {what}' for what, count in counts.items())}.")


def _say_run(run: Run, as_json: bool, bar: Any) -> None:
    from core.cli.display import result_line

    if as_json:
        about = {"run": run.id, "name": run.name, "status": run.status, "reason": run.reason}
        click.echo(to_json({**about, "final": run.final}))
        sys.stdout.flush()
        return
    bar.clear()
    click.echo(f"{run.id}  {run.name}: {result_line(run)}")


def _say_end(name: str, runs: Sequence[Run], as_json: bool) -> None:
    if as_json:
        click.echo(to_json({"experiment": name or None, "runs": len(runs), **Counter(run.status for run in runs)}))
    else:
        click.echo("\n" + table([COLUMNS, *map(cells, runs)]))
