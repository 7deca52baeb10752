"""Data sets as uint8 tensors that stay on the device, so that a batch is an index and no loader is needed."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.data import image_folders
from core.data.splits import stratified_test_split, validation_split
from core.data.standard_sets import (
    CIFAR10_CLASSES,
    Arrays,
    missing_cifar10,
    missing_mnist,
    read_cifar10,
    read_mnist,
)
from core.errors import DataError, reason_of
from core.home import data_folder

__all__ = ["DATASETS", "DataError", "Dataset", "DatasetInfo", "Split", "load", "normalise"]

Shape = tuple[int, int, int]
_DIGIT_NAMES = tuple("0123456789")


@dataclass(frozen=True, eq=False)
class Split:
    """Images ``x`` uint8 (N, C, H, W) and their classes ``y`` int64 (N,)."""

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)

    def to(self, device: str | torch.device) -> "Split":
        """The same examples on ``device``."""
        return Split(self.x.to(device), self.y.to(device))

    def take(self, indices: Tensor) -> "Split":
        """The examples at ``indices``, int64 (M,), in that order."""
        return Split(self.x[indices], self.y[indices])


@dataclass(frozen=True, eq=False)
class Dataset:
    """Everything that training and the pages need to know of a data set.

    ``name`` is what ``load`` takes: a registered name or a folder's path; ``title`` is what is shown. ``mean`` and
    ``std`` are those of the training images per channel, in units where a pixel is in [0, 1]; a constant channel has
    std 1. ``note`` says in sentences what was done to the images, and is empty where they are as they came.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    train: Split
    validation: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    note: str = ""

    @property
    def shape(self) -> Shape:
        """(channels, height, width) of an image."""
        channels, height, width = self.train.x.shape[1:]
        return channels, height, width

    def to(self, device: str | torch.device) -> "Dataset":
        """The same data set with all its tensors on ``device``."""
        splits = {split: getattr(self, split).to(device) for split in ("train", "validation", "test")}
        return replace(self, **splits)

    def facts(self) -> dict[str, Any]:
        """What a network trained on it needs to know of it, as plain values: shape, classes, mean, std."""
        return {"shape": self.shape, "classes": self.classes, "mean": self.mean, "std": self.std}

    def normalise(self, x: Tensor) -> Tensor:
        """Images uint8 (B, C, H, W) as float32 with mean 0 and standard deviation 1 over the training set."""
        return normalise(x, self.mean, self.std)


def normalise(x: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Images uint8 (B, C, H, W) as float32 (x/255 - mean)/std, with a mean and a std a channel."""
    scale, shift = _scale_and_shift(mean, std, x.device)
    return x.to(torch.float32).mul_(scale).add_(shift)


@dataclass(frozen=True)
class DatasetInfo:
    """A registered data set as a person chooses it, before anything is read."""

    name: str
    title: str
    shape: Shape
    classes: int
    hint: str
    missing: Callable[[Path], list[str]]

    def available(self) -> bool:
        """Whether ``load`` finds it without the network. Only looks whether files exist."""
        return not self.missing(data_folder())


DATASETS: dict[str, DatasetInfo] = {
    info.name: info
    for info in (
        DatasetInfo("digits", "Digits", (1, 8, 8), 10, "1,797 handwritten digits, built in", lambda folder: []),
        DatasetInfo("mnist", "MNIST", (1, 28, 28), 10, "70,000 handwritten digits, 11 MB to download", missing_mnist),
        DatasetInfo(
            "cifar10", "CIFAR-10", (3, 32, 32), 10, "60,000 small photographs, 170 MB to download", missing_cifar10
        ),
    )
}


def load(source: str | os.PathLike[str], device: str | torch.device = "cpu", *, download: bool = True) -> Dataset:
    """The data set called ``source``, or the images of the folder at that path, with every tensor on ``device``.

    A folder holds ``train`` and ``test`` folders of class folders, or class folders, of which a fixed 20 % become
    the test set. With ``download`` a registered data set that is not on disk is fetched once, with a progress bar on
    standard error. Raises DataError.
    """
    name = os.fspath(source)
    if name == "digits":
        return _dataset(name, DATASETS[name].title, _DIGIT_NAMES, _digits(), device)
    if name == "mnist":
        return _dataset(name, DATASETS[name].title, _DIGIT_NAMES, read_mnist(data_folder(), download), device)
    if name == "cifar10":
        return _dataset(name, DATASETS[name].title, CIFAR10_CLASSES, read_cifar10(data_folder(), download), device)
    found = image_folders.read(existing_folder(name))
    return _dataset(str(found.folder), found.title, found.classes, found.arrays, device, found.note)


def existing_folder(name: str) -> Path:
    """The folder that a person names by ``name``, in full; DataError where there is none or it cannot be looked at."""
    try:
        folder = Path(name).expanduser().absolute()
        present = folder.exists()
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"The data folder {name!r} cannot be opened ({reason_of(error)}); check its path.") from error
    if not name or not present:
        raise DataError(
            f"There is no data set {name!r} and no folder of that name; choose {', '.join(DATASETS)} or the path of a "
            "folder that holds one folder of images a class."
        )
    if not folder.is_dir():
        raise DataError(
            f"{folder} is a file, not a folder; give the path of a folder that holds one folder of images a class."
        )
    return folder


def _digits() -> Arrays:
    ink, labels = _digits_file()
    # Ink is counted in steps of 0..16.
    x = (torch.from_numpy(ink).double() * (255 / 16)).round().to(torch.uint8).view(-1, 1, 8, 8)
    y = torch.from_numpy(labels).long()
    train, test = stratified_test_split(y)
    return x[train], y[train], x[test], y[test]


def _digits_file() -> tuple[np.ndarray, np.ndarray]:
    """Ink (1797, 64) and classes (1797,) from the file that comes with scikit-learn."""
    package = find_spec("sklearn")
    for folder in (package and package.submodule_search_locations) or ():
        file = Path(folder, "datasets", "data", "digits.csv.gz")
        if file.is_file():
            # Importing scikit-learn would take longer than the first seconds of training.
            rows = np.loadtxt(file, delimiter=",", dtype=np.int64)
            return rows[:, :-1], rows[:, -1]
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.data, bunch.target


def _dataset(
    name: str, title: str, classes: tuple[str, ...], arrays: Arrays, device: str | torch.device, note: str = ""
) -> Dataset:
    x, y, test_x, test_y = arrays
    everything = Split(x, y)
    kept, held = validation_split(len(y))
    train = everything.take(kept)
    mean, std = _statistics(train.x)
    whole = Dataset(name, title, classes, train, everything.take(held), Split(test_x, test_y), mean, std, note)
    return whole.to(device)


def _statistics(x: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel, pixels in [0, 1]. The sums are exact, in whatever order."""
    total = torch.zeros(x.shape[1], dtype=torch.float64)
    squares = torch.zeros_like(total)
    for part in x.split(1024):
        values = part.to(torch.float64)
        total += values.sum((0, 2, 3))
        squares += values.square_().sum((0, 2, 3))
    count = x.numel() / x.shape[1]
    mean = total / count
    std = (squares / count - mean.square()).clamp(min=0).sqrt()
    std = torch.where(std > 0, std, 255.0)
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())


# Kept, because a copy to a GPU in every step would wait for the device and could not be captured in a CUDA graph; for
# good, because a graph that was captured reads them where they are.
@cache
def _scale_and_shift(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Float32 (C, 1, 1) each, with (x/255 - mean)/std = x·scale + shift."""
    centre, spread = (torch.tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (mean, std))
    return (1 / (255 * spread)).to(device, torch.float32), (-centre / spread).to(device, torch.float32)
