"""A checkpoint's folder: ``config.json``, ``model.safetensors``, ``references.safetensors``, perhaps ``snapshots``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from core.checkpoints.checkpoint import Checkpoint, CheckpointError, CheckpointInfo
from core.data import DATASETS
from core.dropout import TECHNIQUES
from core.errors import reason_of
from core.runs import snapshots
from core.runs.weights import write_whole

SHIPPED = Path(__file__).resolve().parents[2] / "checkpoints"
CONFIG, WEIGHTS, REFERENCES = "config.json", "model.safetensors", "references.safetensors"

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_FACTS = tuple(field.name for field in fields(CheckpointInfo) if field.name != "name")
_LISTS = ("shape", "classes", "p", "mean", "std")


def is_shipped(name: str) -> bool:
    """Whether ``name`` is that of a shipped checkpoint, whole or not."""
    return bool(_NAME.fullmatch(name)) and (SHIPPED / name).is_dir()


def shipped() -> list[CheckpointInfo]:
    """The shipped checkpoints that can be read, by data set and technique. Reads no weights."""
    found = []
    for path in SHIPPED.glob(f"*/{CONFIG}"):
        try:
            found.append(CheckpointInfo(path.parent.name, **_facts(path.parent)))
        except CheckpointError:
            continue  # who asks for it by name is told what is wrong
    return sorted(found, key=_place)


def read(name: str) -> Checkpoint:
    """The shipped checkpoint of that name; CheckpointError where it is damaged or incomplete."""
    folder = SHIPPED / name
    facts = _facts(folder)
    references = _tensors(folder / REFERENCES)
    return Checkpoint(
        name,
        **facts,
        weights=_tensors(folder / WEIGHTS),
        references=tuple(references[key] for key in sorted(references, key=int)),
        snapshots=snapshots.found(folder),
    )


def write(folder: Path, checkpoint: Checkpoint, versions: Mapping[str, Any]) -> None:
    """Make ``folder`` a checkpoint's, tensors in fp16; what it held of one is replaced. Raises StoreError.

    ``versions`` says what the network was trained with: python, torch and the like.
    """
    references = {str(position): tensor for position, tensor in enumerate(checkpoint.references)}
    write_whole(folder / WEIGHTS, to_bytes(stored(checkpoint.weights)))
    write_whole(folder / REFERENCES, to_bytes(stored(references)))
    snapshots.copy(checkpoint.snapshots, folder)
    facts = {name: getattr(checkpoint, name) for name in _FACTS} | {"versions": dict(versions)}
    write_whole(folder / CONFIG, f"{json.dumps(facts, indent=2, ensure_ascii=False)}\n".encode())


def stored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as a folder holds them: fp16, except whole numbers."""
    return {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous() for name, tensor in tensors.items()
    }


def restored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """:func:`stored` tensors as a network computes with them: float32, except whole numbers."""
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def _facts(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        facts = {name: config[name] for name in _FACTS}
        return facts | {name: tuple(facts[name]) for name in _LISTS}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return restored(from_bytes(path.read_bytes()))
    except (OSError, SafetensorError, ValueError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> CheckpointError:
    place = f"checkpoints/{path.parent.name}"
    why = f"lacks {path.name}" if isinstance(error, FileNotFoundError) else f"has a damaged {path.name}"
    return CheckpointError(f"The checkpoint {place} {why} ({reason_of(error)}): put the folder back as it was shipped.")


def _place(info: CheckpointInfo) -> tuple[int, int, str]:
    datasets, techniques = list(DATASETS), ["none", *TECHNIQUES]
    return (
        datasets.index(info.dataset) if info.dataset in datasets else len(datasets),
        techniques.index(info.technique) if info.technique in techniques else len(techniques),
        info.name,
    )
