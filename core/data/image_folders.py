"""Folders of class folders of images, read into one uint8 tensor and kept as such for the next time."""

import os
import stat
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from core.data import image_cache
from core.data.image_files import Look, bombs_as_errors, look, pixels
from core.data.splits import stratified_test_split
from core.data.standard_sets import CIFAR10_CLASSES, Arrays
from core.errors import DataError, reason_of

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"))
MAX_SIDE = 128
MAX_BYTES = 4 * 2**30

# Below this, a decoder's time goes into Python, and threads that wait for its lock make it slower.
_BYTES_WORTH_THREADS = 16_384
_EXPECTED = "a data folder holds one folder of images a class, or such folders inside `train` and `test`"

Item = TypeVar("Item")


class FolderImages(NamedTuple):
    """What ``read`` found."""

    folder: Path
    title: str
    classes: tuple[str, ...]
    arrays: Arrays
    note: str


class ImageFile(NamedTuple):
    """An image of a listing; ``size`` in bytes and ``modified`` in ns tell whether it is still the same."""

    path: str
    label: int
    size: int
    modified: int


class Listing(NamedTuple):
    """The files of a folder: ``test`` is None where there are class folders only. ``left_out`` counts other files."""

    classes: tuple[str, ...]
    train: list[ImageFile]
    test: list[ImageFile] | None
    left_out: int


class Plan(NamedTuple):
    """What all images of a folder are turned into."""

    width: int
    height: int
    grey: bool
    note: str


def read(folder: Path) -> FolderImages:
    """All images of an existing folder. Raises DataError, which names the file where one is to blame."""
    listing = scan(folder)
    x, note = _pictures(folder, [*listing.train, *(listing.test or [])])
    y = torch.tensor([image.label for image in [*listing.train, *(listing.test or [])]], dtype=torch.int64)
    notes = [note] if note else []
    if listing.test is None:
        train, test = stratified_test_split(y)
        arrays = x[train], y[train], x[test], y[test]
        notes.append("There is no test folder, so a fixed 20 % of every class are the test images.")
    else:
        count = len(listing.train)
        arrays = x[:count], y[:count], x[count:], y[count:]
    if listing.left_out:
        notes.append(f"{_count(listing.left_out, 'file')} in the class folders left out for not being images.")
    return FolderImages(folder, _title(folder, listing), listing.classes, arrays, " ".join(notes))


def scan(folder: Path) -> Listing:
    """The images of a folder in a fixed order: by class name, then by file name. Raises DataError."""
    inner = _folders(folder)
    if {"train", "test"} <= inner.keys():
        train_classes, test_classes = _folders(inner["train"]), _folders(inner["test"])
        _check_same_classes(folder, train_classes.keys(), test_classes.keys())
        train, left_out = _images(inner["train"], train_classes, least=1)
        test, more_left_out = _images(inner["test"], test_classes, least=1)
        return Listing(tuple(train_classes), train, test, left_out + more_left_out)
    images, left_out = _images(folder, inner, least=2)
    return Listing(tuple(inner), images, None, left_out)


def _folders(folder: Path) -> dict[str, Path]:
    names = [entry.name for entry in _entries(folder) if entry.is_dir() and not entry.name.startswith((".", "__"))]
    return {name: folder / name for name in sorted(names)}


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(
            f"The folder {folder} cannot be read ({reason_of(error)}); make it readable or choose another."
        ) from error


def _check_same_classes(folder: Path, train: Iterable[str], test: Iterable[str]) -> None:
    if differing := sorted(set(train) ^ set(test)):
        raise DataError(
            f"{folder}/train and {folder}/test do not hold the same class folders ({_few(differing)} only in one of "
            "them); give both the same."
        )


def _images(parent: Path, classes: dict[str, Path], least: int) -> tuple[list[ImageFile], int]:
    """The images of ``parent``'s class folders and the number of other files there."""
    if len(classes) < 2:
        raise DataError(_too_few_classes(parent, classes))
    images: list[ImageFile] = []
    left_out = 0
    for label, folder in enumerate(classes.values()):
        files = _files(folder)
        found_here = [ImageFile(path, label, *facts) for path, *facts in files if _is_image(path)]
        if len(found_here) < least:
            raise DataError(
                f"{folder} holds {_count(len(found_here), 'image')} where at least {least} are needed; add some or "
                f"remove the folder ({_EXPECTED})."
            )
        images += found_here
        left_out += len(files) - len(found_here)
    return images, left_out


def _too_few_classes(parent: Path, classes: dict[str, Path]) -> str:
    if not classes:
        return f"{parent} holds no class folders where at least two are needed; {_EXPECTED}."
    (only,) = classes.values()
    meant = f" (did you mean {only}?)" if _folders(only) else ""
    return f"{parent} holds only one class folder, {only.name}, where at least two are needed{meant}; {_EXPECTED}."


def _files(folder: Path) -> list[tuple[str, int, int]]:
    """Path, size and modification time of a folder's visible files."""
    found = []
    for entry in _entries(folder):
        if entry.name.startswith("."):
            continue
        try:
            facts = entry.stat()
        except OSError as error:
            raise DataError(f"{entry.path} cannot be read ({reason_of(error)}); delete or replace it.") from error
        if stat.S_ISREG(facts.st_mode):
            found.append((entry.path, facts.st_size, facts.st_mtime_ns))
    return found


def _is_image(path: str) -> bool:
    return os.path.splitext(path)[1].lower() in SUFFIXES


def _title(folder: Path, listing: Listing) -> str:
    jpeg = all(image.path.lower().endswith((".jpg", ".jpeg")) for image in [*listing.train, *(listing.test or [])])
    return "CIFAR-10 (JPEG)" if jpeg and listing.classes == CIFAR10_CLASSES else folder.name


def _pictures(folder: Path, images: list[ImageFile]) -> tuple[Tensor, str]:
    """Tensor uint8 (N, C, H, W) of the images, and a note on what was done to them."""
    key = image_cache.fingerprint(folder, images)
    kept = image_cache.get(folder, key)
    if kept is not None:
        return kept
    with bombs_as_errors():
        plan = plan_for([look(image.path) for image in _shown("Looking at images", images)])
        _check_memory(folder, len(images), plan)
        x = _decoded(images, plan)
    image_cache.put(folder, key, x, plan.note)
    return x, plan.note


def _decoded(images: list[ImageFile], plan: Plan) -> Tensor:
    x = torch.empty(len(images), 1 if plan.grey else 3, plan.height, plan.width, dtype=torch.uint8)
    # A view of the tensor's memory, into which every thread writes its images.
    places = x.permute(0, 2, 3, 1).numpy()

    def decode(index: int) -> None:
        places[index] = pixels(images[index].path, plan.width, plan.height, plan.grey)

    large = sum(image.size for image in images) >= _BYTES_WORTH_THREADS * len(images)
    with ThreadPoolExecutor(os.cpu_count() if large else 1) as pool:
        done = pool.map(decode, range(len(images))) if large else map(decode, range(len(images)))
        for _ in _shown("Reading images", done, len(images)):
            pass
    return x


def plan_for(looks: Sequence[Look]) -> Plan:
    """Images of one modest size stay as they are; others become squares of the most common size."""
    sizes = Counter((seen.width, seen.height) for seen in looks)
    width, height = min(sizes, key=lambda size: (-sizes[size], size))
    notes = []
    if len(sizes) > 1 or max(width, height) > MAX_SIDE:
        width = height = min(width, height, MAX_SIDE)
        had = f"{len(sizes)} different sizes" if len(sizes) > 1 else "a large size"
        notes.append(f"The images had {had}; each was cropped to its central square and resized to {width}×{height}.")
    if transparent := sum(seen.transparent for seen in looks):
        notes.append(f"{_count(transparent, 'transparent image')} put on white.")
    return Plan(width, height, all(seen.grey for seen in looks), " ".join(notes))


def _check_memory(folder: Path, count: int, plan: Plan) -> None:
    size = count * (1 if plan.grey else 3) * plan.height * plan.width
    if size > MAX_BYTES:
        raise DataError(
            f"{folder} would take {size / 2**30:.0f} GiB of memory ({count:,} images of {plan.width}×{plan.height} "
            f"pixels), more than the {MAX_BYTES / 2**30:.0f} GiB allowed; use fewer or smaller images."
        )


def _shown(title: str, items: Iterable[Item], count: int | None = None) -> Iterable[Item]:
    """``items``, with a progress bar where standard error is a terminal."""
    return tqdm(items, title, count, disable=None, leave=False)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
