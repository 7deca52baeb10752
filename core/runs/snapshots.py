"""Activations of a fixed batch over the epochs of a training: one safetensors file an epoch, written whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from core.runs.database import StoreError, explain
from core.runs.weights import write_whole

if TYPE_CHECKING:
    from torch import Tensor

FOLDER = "snapshots"
_ENDING = ".safetensors"


@dataclass(frozen=True)
class Snapshots:
    """What entered each dropout position of a network for a fixed batch, epoch by epoch; nothing is read ahead.

    Attributes:
        folder: where the files are.
        epochs: how many epochs had been trained at each, ascending; 0 is before the first.
    """

    folder: Path
    epochs: tuple[float, ...] = ()

    def __len__(self) -> int:
        return len(self.epochs)

    def activations(self, index: int, position: int) -> Tensor:
        """(R, *units) float32 at ``epochs[index]`` before the dropout layer ``position``; StoreError if unreadable."""
        import torch
        from safetensors import SafetensorError, safe_open

        path = self.folder / _file(int(self.epochs[index]))
        try:
            with safe_open(path, framework="pt") as file:
                tensor: Tensor = file.get_tensor(str(position))
        except (SafetensorError, OSError, ValueError) as error:
            raise StoreError(
                f"The snapshot of epoch {self.epochs[index]:g} is damaged or missing: choose another epoch."
            ) from error
        return tensor.to(torch.float32)

    def every(self, epochs: int) -> Snapshots:
        """Only those at multiples of so many epochs."""
        return Snapshots(self.folder, tuple(epoch for epoch in self.epochs if epoch % epochs == 0))


NONE = Snapshots(Path())


def found(run_folder: Path) -> Snapshots:
    """The snapshots in the folder of a run or checkpoint."""
    folder = run_folder / FOLDER
    epochs = sorted(int(path.stem) for path in folder.glob(f"*{_ENDING}") if path.stem.isdecimal())
    return Snapshots(folder, tuple(map(float, epochs)))


def save(run_folder: Path, epoch: int, activations: Sequence[Tensor]) -> None:
    """Write what enters each dropout position, (R, *units) in fp16, replacing the same epoch's; StoreError."""
    import torch
    from safetensors.torch import save as to_bytes

    tensors = {
        str(position): tensor.to("cpu", torch.float16).contiguous() for position, tensor in enumerate(activations)
    }
    write_whole(run_folder / FOLDER / _file(epoch), to_bytes(tensors))


def copy(snapshots: Snapshots, run_folder: Path) -> None:
    """Put the files of ``snapshots`` into another folder, in place of those it has; StoreError."""
    old = found(run_folder)
    try:
        for epoch in set(old.epochs) - set(snapshots.epochs):
            (old.folder / _file(int(epoch))).unlink()
        for epoch in snapshots.epochs:
            name = _file(int(epoch))
            write_whole(old.folder / name, (snapshots.folder / name).read_bytes())
    except OSError as error:
        raise explain(error, old.folder) from error


def _file(epoch: int) -> str:
    return f"{epoch:06d}{_ENDING}"
