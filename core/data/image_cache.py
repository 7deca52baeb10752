"""Decoded images of a folder, kept under the home folder: decoding many takes ten times as long as reading them."""

import hashlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

import PIL
import safetensors
from safetensors.torch import save_file
from torch import Tensor

from core.home import home

LEAST_IMAGES = 1000
_LAYOUT = "1"


def fingerprint(folder: Path, images: Iterable[tuple[str, int, int, int]]) -> str:
    """A digest that changes with any image's name, class, size in bytes or modification time (and with the decoder)."""
    digest = hashlib.sha256(f"{_LAYOUT} {PIL.__version__}\n".encode())
    start = len(os.fspath(folder))
    for path, *facts in images:
        digest.update(f"{path[start:]} {facts}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def get(folder: Path, key: str) -> tuple[Tensor, str] | None:
    """The images kept for a folder and their note; None if there are none, or others, or they cannot be read."""
    try:
        with safetensors.safe_open(_place(folder), "pt") as kept:
            facts = kept.metadata() or {}
            return (kept.get_tensor("x"), facts["note"]) if facts.get("key") == key else None
    except (OSError, KeyError, safetensors.SafetensorError):
        return None


def put(folder: Path, key: str, x: Tensor, note: str) -> None:
    """Keep a folder's images in place of those kept before; few images are decoded quickly and are not kept."""
    if len(x) < LEAST_IMAGES:
        return
    try:
        place = _place(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        descriptor, scratch = tempfile.mkstemp(".part", place.stem, place.parent)
    except OSError:
        # A home that is full or read-only costs speed next time, not this run.
        return
    os.close(descriptor)
    try:
        save_file({"x": x.contiguous()}, scratch, {"key": key, "note": note})
        os.replace(scratch, place)
    except (OSError, safetensors.SafetensorError):
        Path(scratch).unlink(missing_ok=True)


def _place(folder: Path) -> Path:
    # One file a folder, so that a folder that changes does not leave its old images behind.
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:24]
    return home() / "data" / "cache" / f"{name}.safetensors"
