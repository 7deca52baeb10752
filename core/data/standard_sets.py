"""MNIST and CIFAR-10 in torchvision's layout on disk: verified when read, downloaded through torchvision.

torchvision is imported only where it is needed, because that takes seconds; MNIST on disk is read without it.
"""

import contextlib
import errno
import hashlib
import http.client
import os
import shutil
import socket
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import URLError

import numpy as np
import torch
from torch import Tensor

from core.errors import DataError, reason_of

Arrays = tuple[Tensor, Tensor, Tensor, Tensor]
"""Train images uint8 (N, C, H, W), train labels int64 (N,), test images, test labels."""

MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
CIFAR10_FILES = (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch", "batches.meta")
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_SILENT_SECONDS = 30.0
_ABANDONED_SECONDS = 24 * 3600.0
_FETCH_COMMAND = "python -c \"from core.data import load; load('{name}')\""


def mnist_path(folder: Path) -> Path:
    """Where MNIST's four raw files lie under a data folder."""
    return folder / "MNIST" / "raw"


def cifar10_path(folder: Path) -> Path:
    """Where CIFAR-10's batches lie under a data folder."""
    return folder / "cifar-10-batches-py"


def missing_mnist(folder: Path) -> list[str]:
    """Names of MNIST's files that a data folder lacks."""
    return _missing(mnist_path(folder), tuple(MNIST_SHA256))


def missing_cifar10(folder: Path) -> list[str]:
    """Names of CIFAR-10's files that a data folder lacks."""
    return _missing(cifar10_path(folder), CIFAR10_FILES)


def read_mnist(folder: Path, download: bool) -> Arrays:
    """MNIST as (N, 1, 28, 28). Raises DataError naming the file that is missing, unreadable or not the original."""
    raw = mnist_path(folder)
    if missing := missing_mnist(folder):
        if not download:
            raise DataError(_missing_sentence("mnist", "MNIST", raw, missing))
        _fetch("mnist", "MNIST", folder, raw, tuple(MNIST_SHA256), _fetch_mnist)
    images, labels, test_images, test_labels = (
        torch.from_numpy(parse_idx(_verified(raw / name, digest))) for name, digest in MNIST_SHA256.items()
    )
    return images.unsqueeze(1), labels.long(), test_images.unsqueeze(1), test_labels.long()


def read_cifar10(folder: Path, download: bool) -> Arrays:
    """CIFAR-10 as (N, 3, 32, 32). Raises DataError naming the file that is missing, unreadable or not the original."""
    batches = cifar10_path(folder)
    if missing := missing_cifar10(folder):
        if not download:
            raise DataError(_missing_sentence("cifar10", "CIFAR-10", batches, missing))
        _fetch("cifar10", "CIFAR-10", folder, batches, CIFAR10_FILES, _fetch_cifar10)
    from torchvision.datasets import CIFAR10

    try:
        # torchvision compares every file with its md5 before it unpickles any.
        train, test = (CIFAR10(str(folder), train=train, download=False) for train in (True, False))
    except (RuntimeError, OSError) as error:
        raise DataError(_damaged_cifar10(batches, error)) from error
    return *_channels_first(train.data, train.targets), *_channels_first(test.data, test.targets)


def parse_idx(content: bytes) -> np.ndarray:
    """The unsigned bytes of an IDX file in the shape that its header gives, as an array that may be written to."""
    dimensions = content[3]
    shape = np.frombuffer(content, dtype=">u4", count=dimensions, offset=4)
    return np.frombuffer(content, dtype=np.uint8, offset=4 + 4 * dimensions).reshape(shape).copy()


def _channels_first(images: np.ndarray, labels: list[int]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels, dtype=torch.int64)


def _missing(folder: Path, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if not os.path.isfile(folder / name)]


def _verified(path: Path, digest: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({reason_of(error)}); make it readable or replace it.") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise DataError(_damaged_sentence("mnist", path))
    return content


def _damaged_cifar10(batches: Path, error: Exception) -> str:
    """What is wrong with CIFAR-10's files, given that torchvision refused them."""
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import check_integrity

    if isinstance(error, OSError):
        return f"{error.filename or batches} cannot be read ({reason_of(error)}); make it readable or replace it."
    expected = dict((*CIFAR10.train_list, *CIFAR10.test_list, (CIFAR10.meta["filename"], CIFAR10.meta["md5"])))
    bad = [name for name, md5 in expected.items() if not check_integrity(batches / name, md5)]
    return _damaged_sentence("cifar10", batches / bad[0] if bad else batches)


def _damaged_sentence(name: str, path: Path) -> str:
    return (
        f"{path} is damaged or only half there (its checksum is not the original's); delete it and run "
        f"`{_FETCH_COMMAND.format(name=name)}` with an internet connection, or copy an intact file there."
    )


def _missing_sentence(name: str, title: str, folder: Path, missing: list[str], why: str = "") -> str:
    failed = f" and could not be downloaded ({why})" if why else ""
    return (
        f"{title} is not in {folder} (missing: {', '.join(missing)}){failed}; run "
        f"`{_FETCH_COMMAND.format(name=name)}` with an internet connection, copy the missing files there, or set "
        f"DROPSCOPE_DATA to a folder that has {'/'.join(folder.parts[-2:]) if name == 'mnist' else folder.name}."
    )


def _fetch(
    name: str, title: str, folder: Path, target: Path, files: tuple[str, ...], fetch: Callable[[Path], Path]
) -> None:
    """Download into a scratch folder beside the target, then move each verified file to its place in one step."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _clear_abandoned(folder)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as scratch, _impatient_sockets():
            fetched = fetch(Path(scratch))
            target.mkdir(parents=True, exist_ok=True)
            for file in files:
                os.replace(fetched / file, target / file)
    except OSError as error:
        if isinstance(error, URLError) or error.errno not in _CANNOT_WRITE:
            raise DataError(_unfetched(name, title, target, files, error)) from error
        raise DataError(
            f"{title} cannot be written to {folder} ({reason_of(error)}); make room there or set DROPSCOPE_DATA "
            "to a folder that you can write to."
        ) from error
    except (RuntimeError, EOFError, zlib.error, tarfile.TarError, http.client.HTTPException) as error:
        raise DataError(_unfetched(name, title, target, files, error)) from error


_CANNOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST)


def _unfetched(name: str, title: str, target: Path, files: tuple[str, ...], error: Exception) -> str:
    return _missing_sentence(name, title, target, _missing(target, files), reason_of(error))


def _fetch_mnist(scratch: Path) -> Path:
    from torchvision.datasets import MNIST

    MNIST(str(scratch), download=True)
    for name, digest in MNIST_SHA256.items():
        _verified(mnist_path(scratch) / name, digest)
    return mnist_path(scratch)


def _fetch_cifar10(scratch: Path) -> Path:
    from torchvision.datasets import CIFAR10

    CIFAR10(str(scratch), download=True)
    return cifar10_path(scratch)


@contextlib.contextmanager
def _impatient_sockets() -> Iterator[None]:
    """torchvision opens its connections without a limit and would wait for a silent network without end."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENT_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _clear_abandoned(folder: Path) -> None:
    """Remove the scratch folders of downloads that were killed; a day is longer than any living one takes."""
    for scratch in folder.glob(".download-*"):
        if scratch.is_dir() and time.time() - scratch.stat().st_mtime > _ABANDONED_SECONDS:
            shutil.rmtree(scratch, ignore_errors=True)
