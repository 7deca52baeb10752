"""The networks of runs as checkpoints, and how one becomes a folder that can be shipped."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from core.checkpoints.checkpoint import Checkpoint, CheckpointError
from core.checkpoints.files import restored, stored, write
from core.config import Config, ConfigError
from core.data import DataError, Dataset, load
from core.dropout import technique
from core.references import reference_activations
from core.runs import Run, RunStore, StoreError, snapshots
from core.training import evaluate
from core.training.changes import changed
from models import NETWORKS
from models.parts import probabilities

_VERSIONS = ("python", "torch", "torchvision", "commit")


def of_run(store: RunStore, run: Run) -> Checkpoint:
    """The network of a run, as its weights were saved last; references only where its data set is on disk.

    Raises CheckpointError where it has no weights yet, or they cannot be used.
    """
    try:
        data: Dataset | None = load(run.config.get("dataset", ""), download=False)
    except DataError:
        data = None
    return _of_run(store, run, data)


def export(store: RunStore, run: Run, folder: Path, every: int = 1) -> Checkpoint:
    """Write a run's network to ``folder`` as the shipped ones are: weights in fp16, with the accuracy that these have.

    Of its snapshots those at multiples of ``every`` epochs are taken along.

    Raises CheckpointError, DataError where the data set is not at hand, StoreError where ``folder`` cannot be written.
    """
    data = load(run.config.get("dataset", ""), download=False)
    trained = _of_run(store, run, data)
    weights = restored(stored(trained.weights))
    trained = replace(
        trained,
        name=folder.name,
        title=f"{data.title}{_width(trained.width)} · {_title(trained.technique)}",
        command=_command(run),
        weights=weights,
        snapshots=trained.snapshots.every(every),
    )
    _, accuracy = evaluate(trained.model(), data, data.test)
    trained = replace(trained, references=_references(trained, data), accuracy=round(accuracy, 6))
    write(folder, trained, {name: run.environment.get(name) for name in _VERSIONS})
    return trained


def _of_run(store: RunStore, run: Run, data: Dataset | None) -> Checkpoint:
    """The run's checkpoint; ``data`` gives the references, and the shapes where an older run did not keep them."""
    try:
        weights, saved = store.load_weights_and_config(run.id)
    except StoreError as error:
        raise CheckpointError(str(error)) from error
    images = saved.pop("images", None) or (data.facts() if data else None)
    if images is None:
        raise CheckpointError(f"The images that {run.name} was trained on are not on this machine: put them back.")
    try:
        # As it was trained last: some techniques compute with p and knobs in evaluation, too.
        config = changed(Config.from_dict(saved), run.marks).validated()
        checkpoint = Checkpoint(
            run.id,
            run.name,
            config.dataset,
            config.network,
            **{name: tuple(images[name]) for name in ("shape", "classes", "mean", "std")},
            width=config.width,
            technique=config.technique,
            p=probabilities(config.network, NETWORKS[config.network].default_p, config.p),
            knobs=config.knobs,
            seed=config.seed,
            epochs=config.epochs,
            accuracy=run.final.get("test_accuracy"),
            command="",
            weights=restored(weights),
            snapshots=snapshots.found(store.folder(run.id)),
        )
    except (ConfigError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"The weights of {run.name} say too little of their network: train it again.") from error
    if data is None or data.shape != checkpoint.shape:
        return checkpoint
    return replace(checkpoint, references=_references(checkpoint, data))


def _command(run: Run) -> str:
    """What one would type to train it, with what nobody can type as a comment of the shell."""
    command = Config.from_dict(run.config).command()
    changes = [
        f"{change['name']} {change['before']} → {change['after']} before step {mark['step'] + 1}"
        for mark in run.marks
        for change in mark["changes"]
    ]
    return f"{command}  # changed while it trained: {', '.join(changes)}" if changes else command


def _references(checkpoint: Checkpoint, data: Dataset) -> tuple[Tensor, ...]:
    # At p = 0 standard dropout lets all pass.
    return reference_activations(checkpoint.model("standard", 0.0), data)


def _width(width: float) -> str:
    return "" if width == 1.0 else f", width {width:g}"


def _title(name: str) -> str:
    return "no dropout" if name == "none" else technique(name).title
