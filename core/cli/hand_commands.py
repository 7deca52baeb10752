"""``python -m core runs adjust | step | take-back``: a run in training, in a person's hands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from core.cli.run_commands import json_option, runs
from core.cli.values import knobs_of, probabilities
from core.runs import Run, RunStore
from core.runs.schema import to_json

if TYPE_CHECKING:
    from core.jobs import LocalEngine
    from core.jobs.engine import Unit


@runs.command("adjust")
@click.argument("run_id", metavar="ID")
@click.option("--p", metavar="P[,P…]", help="Drop probability, at every position or one each.")
@click.option("--lr", type=float, help="Learning rate of Adam.")
@click.option("--knob", "knobs", metavar="NAME=VALUE", multiple=True, help="An option of the technique; repeatable.")
@json_option
def adjust(run_id: str, p: str | None, lr: float | None, knobs: Sequence[str], as_json: bool) -> None:
    """Change a run that trains, from its next step on; its curves carry a mark."""

    def change(engine: LocalEngine, run: Run) -> Run:
        wanted: dict[str, Any] = {"p": probabilities(p), "lr": lr}
        wanted = {name: value for name, value in wanted.items() if value is not None}
        options = knobs_of(str(run.config.get("technique")), knobs)
        return engine.adjust(run.id, wanted | ({"knobs": options} if options else {}))

    _do(run_id, change, lambda run: f"Run {run.id} makes this change at its next step.", as_json)


@runs.command("step")
@click.argument("run_id", metavar="ID")
@click.argument("unit", metavar="batch|epoch")
@json_option
def step(run_id: str, unit: Unit, as_json: bool) -> None:
    """Let a run take one step on a batch, or go on to the end of its epoch, and pause then."""
    told = f"goes on by one {unit}, and pauses then."
    _do(run_id, lambda engine, run: engine.step(run.id, unit), lambda run: f"Run {run.id} {told}", as_json)


@runs.command("take-back")
@click.argument("run_id", metavar="ID")
@json_option
def take_back(run_id: str, as_json: bool) -> None:
    """Take back the last change of a run that has ended early: once resumed, it goes on without it."""
    _do(run_id, lambda engine, run: engine.take_back(run.id), lambda run: str(run.reason), as_json)


def _do(run_id: str, what: Callable[[LocalEngine, Run], Run], told: Callable[[Run], str], as_json: bool) -> None:
    from core.jobs import LocalEngine

    store = RunStore()
    engine = LocalEngine(store)
    engine.settle()
    run = what(engine, store.find(run_id))
    click.echo(to_json(asdict(run)) if as_json else told(run))
