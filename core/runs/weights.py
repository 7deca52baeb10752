"""Files of a run: weights as safetensors and the state to resume from, replaced whole or not at all."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.runs.database import StoreError, explain

if TYPE_CHECKING:
    from torch import Tensor


# What a run goes on from.
STATE = "state.pt"


def write_whole(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` so that it holds either all of the old or all of the new, even after a crash.

    Raises :class:`StoreError` where the disk is full or read-only; the old file is then whole and nothing is left over.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_left_over(path)
        _write_synced(temporary, content)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise explain(error, path) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def save_weights(path: Path, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Write ``state`` as safetensors with ``config`` as JSON in its metadata."""
    from safetensors.torch import save

    # Copies: safetensors refuses tensors that share memory, and the file must not follow a model in training.
    tensors = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in state.items()}
    write_whole(path, save(tensors, metadata={"config": json.dumps(dict(config))}))


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(state dict on the CPU, config) of a file written by :func:`save_weights`."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            config = json.loads((file.metadata() or {}).get("config", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, config  # noqa: SIM118, it is no dict
    except FileNotFoundError:
        raise StoreError(f"There are no weights at {path}: they are written when the first epoch ends.") from None
    except (SafetensorError, ValueError) as error:
        raise StoreError(f"The weights {path} are damaged or not safetensors: train the run again.") from error
    except OSError as error:
        raise explain(error, path) from error


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write ``state`` (tensors, numbers, text, lists, dicts) so that :func:`load_state` gives it back."""
    import torch

    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    write_whole(path, buffer.getvalue())


def load_state(path: Path) -> dict[str, Any] | None:
    """What :func:`save_state` wrote, tensors on the CPU; None where there is no file."""
    import torch

    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise explain(error, path) from error
    try:
        state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:
        # torch tells a damaged file by RuntimeError, UnpicklingError, EOFError or ValueError, depending on where.
        raise damaged_state(path) from error
    if not isinstance(state, dict):
        raise damaged_state(path)
    return state


def damaged_state(path: Path) -> StoreError:
    """What to raise where ``path`` holds nothing that a run could go on from."""
    return StoreError(f"The saved state {path} is damaged: remove it to start the run again.")


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":
        return  # folders cannot be opened there
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_left_over(path: Path) -> None:
    # A process killed while it wrote leaves its temporary file; a run has one writer, so it is nobody's any more.
    for stale in path.parent.glob(f".{path.name}.*.tmp"):
        stale.unlink(missing_ok=True)
