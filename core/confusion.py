"""What a trained network takes for what: its answers on the test set, counted by class."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.checkpoints import CheckpointError, of_run
from core.data import Dataset, Split, load
from core.randomness import preserved
from core.runs import Run, RunStore, StoreError
from core.runs.weights import write_whole
from core.training.evaluation import EVALUATION_BATCH

FILE = "confusion.json"


@dataclass(frozen=True, eq=False)
class Confusion:
    """Answers on the test set: ``counts`` int64 (C, C), a row a true class, a column an answer; ``classes``: names."""

    classes: tuple[str, ...]
    counts: NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return float(np.trace(self.counts) / max(1, self.counts.sum()))

    def mistakes(self, most: int) -> list[tuple[str, str, int, int]]:
        """The most frequent mistakes: true class, answer, how often, of how many of that class."""
        wrong = self.counts * (1 - np.eye(len(self.classes), dtype=np.int64))
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        pairs = [divmod(int(place), len(self.classes)) for place in order if wrong.flat[place]]
        return [(self.classes[i], self.classes[j], int(wrong[i, j]), int(self.counts[i].sum())) for i, j in pairs]


def confusion(model: nn.Module, data: Dataset, split: Split) -> Confusion:
    """The answers of ``model``, as it stands in eval mode, to the images of ``split``; its mode is left as it was."""
    classes = len(data.classes)
    training = model.training
    model.eval()
    pairs = torch.zeros(classes * classes, dtype=torch.int64)
    for x, y in zip(split.x.split(EVALUATION_BATCH), split.y.split(EVALUATION_BATCH), strict=True):
        pairs += torch.bincount(y * classes + _answers(model, data, x), minlength=classes**2)
    model.train(training)
    return Confusion(data.classes, pairs.view(classes, classes).numpy())


def of_run_on_test(store: RunStore, run: Run, *, keep: bool = True) -> Confusion:
    """What a run's network, as its weights were saved last, takes for what on its test set.

    Computed once, on the CPU in 32 bit, and kept beside the weights unless ``keep`` is False. Raises
    DataError where the data set is not on this machine, CheckpointError where there are no weights that can be used.
    """
    folder = store.folder(run.id)
    stamp = _stamp(folder / "weights.safetensors")
    if (kept := _kept(folder / FILE, stamp)) is not None:
        return kept
    checkpoint = of_run(store, run)
    data = load(checkpoint.dataset, download=False)
    if (data.shape, data.classes) != (checkpoint.shape, checkpoint.classes):
        raise CheckpointError(f"The images of {data.title} are not those of {run.name}'s training: put them back.")
    # A schedule may have left p elsewhere than where it started, and some techniques compute with it in evaluation.
    found = confusion(checkpoint.model(p=run.latest.get("p") or None), data, data.test)
    content = {"weights": stamp, "classes": found.classes, "counts": found.counts.tolist()}
    if not keep:
        return found
    with suppress(StoreError):  # a folder that may only be read: it is computed again the next time
        write_whole(folder / FILE, json.dumps(content, ensure_ascii=False).encode())
    return found


@torch.no_grad()
def _answers(model: nn.Module, data: Dataset, x: Tensor) -> Tensor:
    # Some techniques can be told to draw in evaluation, too.
    with preserved(x.device):
        torch.manual_seed(0)
        answers: Tensor = model(data.normalise(x)).argmax(1)
    return answers


def _stamp(path: Path) -> str:
    """What changes with a file's content."""
    try:
        facts = path.stat()
    except OSError:
        return ""
    return f"{facts.st_mtime_ns}-{facts.st_size}"


def _kept(path: Path, stamp: str) -> Confusion | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        counts = np.array(content["counts"], dtype=np.int64)
        classes = tuple(str(name) for name in content["classes"])
    except (OSError, ValueError, LookupError, TypeError):
        return None
    whole = counts.shape == (len(classes), len(classes)) and content["weights"] == stamp
    return Confusion(classes, counts) if whole else None
