"""``python -m core reproduce``: the paper's experiments. Imports no torch by itself."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from core.cli.exit_codes import FAILED
from core.cli.following import carry_out, engine_options
from core.cli.run_commands import json_option, table
from core.config import ConfigError
from core.reproduce.plan import DATASETS, GROUPS, SEEDS, TECHNIQUES, Plan, experiment_of, precision_on
from core.runs import RunStore
from core.runs.schema import to_json

if TYPE_CHECKING:
    import pandas as pd

# Seconds that a writer waits for others.
PATIENCE = 60.0

_RANGE = re.compile(r"(\d{1,10})(?:-(\d{1,10}))?")
_MOST_SEEDS = 1000


@click.command()
@click.argument("dataset", type=click.Choice(DATASETS))
@click.option("--seeds", metavar="N|LIST", help="How many seeds, or which, as 0,2 or 3-5; default 3.")
@click.option("--epochs", type=click.IntRange(1), help="Of every run; default: the plan's.")
@click.option("--techniques", metavar="NAME,…", help="Only these.")
@click.option("--groups", metavar="NAME,…", help=f"Only these of {', '.join(GROUPS)}.")
@click.option("--folder", metavar="FOLDER", help="Images to take in place of the data set's, as a re-encoding.")
@click.option("--device", metavar="NAME", default="auto", help="auto, cpu, cuda, mps.")
@click.option("--precision", metavar="NAME", help="fp32 or bf16; default: bf16 where the device has it, else fp32.")
@click.option("--csv", "target", type=click.Path(dir_okay=False, path_type=Path), help="Where the results go.")
@engine_options
@json_option
def reproduce(
    dataset: str,
    seeds: str | None,
    epochs: int | None,
    techniques: str | None,
    groups: str | None,
    folder: str | None,
    device: str,
    precision: str | None,
    target: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Train the paper's networks on DATASET with every technique, and write checkpoints/paper/DATASET.csv.

    The same command goes on where it was interrupted. The file is written anew after every run; runs in it that
    were made elsewhere stay, unless they are made again here.
    """
    plan = Plan(
        dataset,
        folder=folder,
        seeds=SEEDS if seeds is None else _seeds(seeds),
        epochs=epochs,
        techniques=_chosen(techniques, TECHNIQUES, "technique"),
        groups=_chosen(groups, GROUPS, "group"),
        settings={"device": device, "precision": precision or precision_on(device)},
    )
    results = _Results(RunStore(timeout=PATIENCE), dataset, target)
    runs = carry_out(
        results.store,
        experiment_of(dataset),
        plan.configs(),
        again=f"python -m core reproduce {dataset}",
        as_json=as_json,
        at_end=results.write,
        **options,
    )
    if runs is not None:
        results.say(as_json)
        raise click.exceptions.Exit(0 if all(run.status == "done" for run in runs) else FAILED)


class _Results:
    """The table of a store's runs, kept in a file."""

    def __init__(self, store: RunStore, dataset: str, target: Path | None) -> None:
        from core.reproduce.results import path_of

        self.store = store
        self._dataset = dataset
        self._path = target or path_of(dataset)

    def write(self) -> None:
        """Bring the file up to date."""
        from core.reproduce.results import collect, merged, read, write

        before = read(self._path)
        frame = merged(collect(self.store, self._dataset), before)
        if not frame.empty and not frame.equals(before):
            write(self._path, frame)

    def say(self, as_json: bool) -> None:
        """Print what the file tells of each variant."""
        from core.reproduce.results import read, summary

        told = summary(read(self._path))
        if as_json:
            for row in told.to_dict("records"):
                click.echo(to_json({str(name): value for name, value in row.items()}))
            click.echo(to_json({"csv": self._path}))
        else:
            click.echo("\n" + table([_HEADER, *(_cells(row) for _, row in told.iterrows())]))
            click.echo(f"\nAll epochs: {self._path}")


_HEADER = ("technique", "variant", "data", "epochs", "seeds", "validation", "test", "s per epoch")


def _cells(row: pd.Series) -> tuple[str, ...]:
    refresh = (
        f"refresh {row['refresh_epochs']:g}·{row['refresh_growth']:g}^i epochs" if row["refresh_epochs"] > 0 else ""
    )
    schedule = row["schedule"] if row["schedule"] != "constant" else ""
    variant = ", ".join(filter(None, (row["count"], row["rescale"], schedule, refresh)))
    scores = (_score(row[f"{split}_accuracy_mean"], row[f"{split}_accuracy_std"]) for split in ("val", "test"))
    return (row["technique"], variant, row["data"], str(row["epochs"]), str(row["n"]), *scores, f"{row['seconds']:.1f}")


def _score(mean: float, sd: float) -> str:
    spread = "" if sd != sd else f" ± {100 * sd:.2f}"
    return f"{100 * mean:.2f}{spread} %"


def _seeds(text: str) -> tuple[int, ...]:
    """So many seeds from 0, or those of a list with ranges."""
    found = [_RANGE.fullmatch(part.strip()) for part in text.split(",")]
    if not all(found):
        raise ConfigError(f"--seeds is a number of seeds, or a list such as 0,2 or 3-5, not {text!r}.")
    ends = [(int(match[1]), int(match[2] or match[1])) for match in found if match]
    number = ends[0][0] if text.strip().isdigit() else sum(max(0, last - first + 1) for first, last in ends)
    if not 1 <= number <= _MOST_SEEDS:
        raise ConfigError(f"--seeds takes {number:,} seeds: give 1 to {_MOST_SEEDS:,}.")
    if text.strip().isdigit():
        return tuple(range(number))
    return tuple(dict.fromkeys(seed for first, last in ends for seed in range(first, last + 1)))


def _chosen(text: str | None, known: Sequence[str], what: str) -> tuple[str, ...]:
    """The names in a list with commas, all where none is given; ConfigError for one that is unknown."""
    if text is None:
        return tuple(known)
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in known:
            raise ConfigError(f"There is no {what} {name!r}; choose among {', '.join(known)}.")
    return names
