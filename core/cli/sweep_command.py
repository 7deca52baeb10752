"""``python -m core sweep``: the runs of an experiment that a file describes. Imports no torch by itself."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.cli.exit_codes import FAILED
from core.cli.following import carry_out, engine_options
from core.cli.run_commands import json_option
from core.config import ConfigError
from core.errors import reason_of
from core.runs import RunStore
from core.runs.schema import plain_name

if TYPE_CHECKING:
    from core.sweep import Experiment

# Seconds that a writer waits for others.
PATIENCE = 60.0


@click.command()
@click.argument("spec", metavar="SPEC")
@engine_options
@json_option
def sweep(spec: str, as_json: bool, **options: Any) -> None:
    """Train the runs of an experiment, which the YAML file SPEC describes (- is standard input).

    The same SPEC again goes on: runs that there are stay, those that ended early are resumed, missing ones start.
    """
    experiment = _experiment(spec)
    store, again = RunStore(timeout=PATIENCE), f"python -m core sweep {spec}"
    runs = carry_out(store, experiment.name, experiment.configs(), again=again, as_json=as_json, **options)
    if runs is not None:
        raise click.exceptions.Exit(0 if all(run.status == "done" for run in runs) else FAILED)


def _experiment(spec: str) -> Experiment:
    """The experiment in a file, called like the file unless it has a name."""
    from core.sweep import from_yaml

    try:
        text = sys.stdin.read() if spec == "-" else Path(spec).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{spec} cannot be read ({reason_of(error)}): name a YAML file.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{spec} is no text in UTF-8: name a YAML file.") from None
    experiment = from_yaml(text)
    return experiment if experiment.name or spec == "-" else replace(experiment, name=plain_name(Path(spec).stem))
