"""``python -m core bench``: what things cost on this machine, as ratios beside their budgets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.cli.run_commands import table
from core.runs.schema import to_json

if TYPE_CHECKING:
    import torch

    from core.bench import Finding

Measure = Callable[["torch.device", bool], Iterator["Finding"]]


@click.command()
@click.argument("what", nargs=-1, type=click.Choice(["layers", "explore", "training", "precision", "seeds", "app"]))
@click.option("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, mps.")
@click.option("--quick", is_flag=True, help="The paper's size and its MNIST net alone, and fewer rounds.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines and nothing else.")
@click.option(
    "--read",
    "saved",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Show what --json printed once.",
)
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Also write a page with the results.")
def bench(what: Sequence[str], device: str, quick: bool, as_json: bool, saved: Path | None, html: Path | None) -> None:
    """Measure WHAT and hold it against the budgets; all but precision and seeds, where nothing is named.

    precision trains networks in fp32 and in bf16, which takes many minutes; seeds trains 16 at once and in turn.
    """
    from core.bench import show
    from core.bench.budgets import verdicts
    from core.bench.results import read
    from core.environment import choose_device

    if saved is not None:
        findings, about = read(saved)
        judged = verdicts(findings, {finding.bench for finding in findings}, str(about["device"]).partition(":")[0])
    else:
        chosen, wanted = choose_device(device), list(what) or list(UNASKED)
        about = _about(chosen)
        findings = list(_measured(wanted, chosen, quick, about if as_json else None))
        judged = verdicts(findings, wanted, chosen.type)
    if as_json:
        for verdict in judged:
            click.echo(to_json(show.as_json(verdict)))
    else:
        click.echo(f"{about['device_name']}, {about['threads']} threads, torch {about['torch']}, load {about['load']}")
        click.echo(table([show.HEADER, *map(show.as_row, findings)]))
        click.echo("\n" + table([show.VERDICT_HEADER, *map(show.verdict_row, judged)]))
    if html is not None:
        _write(html, findings, judged, about)


def _about(device: torch.device) -> dict[str, Any]:
    """The machine, and how much else it had to do before this began."""
    from core.environment import environment

    return environment(device) | {"load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None}


def _measured(
    wanted: Sequence[str], device: torch.device, quick: bool, about: dict[str, Any] | None
) -> Iterator[Finding]:
    """All findings, each printed as it comes: as JSON with ``about``, where that is given."""
    from core.bench import show
    from core.environment import keep_freed_memory

    keep_freed_memory()  # as every process that trains does
    for name in wanted:
        for finding in MEASURES[name](device, quick):
            if about is not None:
                click.echo(to_json({**show.as_json(finding), "environment": about}))
            else:
                click.echo("  ".join(cell for cell in show.as_row(finding) if cell), err=True)
            yield finding


def _write(path: Path, findings: Any, judged: Any, about: Any) -> None:
    from core.bench import show

    try:
        show.write_page(path, findings, judged, about)
    except OSError as error:
        raise click.UsageError(
            f"The page cannot be written to {path} ({error.strerror}): name another file."
        ) from error


def _layers(device: torch.device, quick: bool) -> Iterator[Finding]:
    from core.bench import layers

    return layers.measure(layers.Plan(device, sizes=not quick))


def _training(device: torch.device, quick: bool) -> Iterator[Finding]:
    from core.bench import training

    brief = training.Plan(device, networks=("mnist",), seconds=30.0)
    return training.measure(brief if quick else training.Plan(device))


def _explore(device: torch.device, quick: bool) -> Iterator[Finding]:
    from core.bench import explore

    return explore.measure(explore.Plan(device, draws=8) if quick else explore.Plan(device))


def _precision(device: torch.device, quick: bool) -> Iterator[Finding]:
    from core.bench import precision

    return precision.measure(precision.Plan(device, precision.DIGITS) if quick else precision.Plan(device))


def _seeds(device: torch.device, quick: bool) -> Iterator[Finding]:
    from core.bench import seeds

    return seeds.measure(seeds.plan_for(device))


def _app(device: torch.device, quick: bool) -> Iterator[Finding]:
    from core.bench.app import BenchError, measure

    try:
        yield from measure(quick)
    except BenchError as error:
        raise click.ClickException(str(error)) from error


MEASURES: dict[str, Measure] = {
    "layers": _layers,
    "explore": _explore,
    "training": _training,
    "precision": _precision,
    "seeds": _seeds,
    "app": _app,
}
UNASKED = ("layers", "explore", "training", "app")
