"""The files of a run, in a folder of its own: weights, and the state that it goes on from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.runs import weights
from core.runs.database import StoreError
from core.runs.rows import unknown
from core.runs.schema import is_id

if TYPE_CHECKING:
    from torch import Tensor


class RunFiles:
    """The files beside the database, in ``home``."""

    home: Path

    def folder(self, run_id: str) -> Path:
        """The folder of a run's files; it exists once something is in it."""
        if not is_id(run_id):
            raise unknown(run_id)
        return self.home / "runs" / run_id

    def save_weights(self, run_id: str, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
        """Replace a run's weights (safetensors, the config in the metadata), whole or not at all."""
        weights.save_weights(self.folder(run_id) / "weights.safetensors", state, config)

    def load_weights(self, run_id: str) -> dict[str, Tensor]:
        """The state dict saved last, on the CPU."""
        return self.load_weights_and_config(run_id)[0]

    def load_weights_and_config(self, run_id: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The state dict saved last, on the CPU, and the config saved with it."""
        return weights.load_weights(self.folder(run_id) / "weights.safetensors")

    def save_state(self, run_id: str, state: Mapping[str, Any]) -> None:
        """Replace what a run is resumed from, whole or not at all."""
        weights.save_state(self._state(run_id), state)

    def load_state(self, run_id: str) -> dict[str, Any] | None:
        """What :meth:`save_state` saved last, tensors on the CPU; None before the first time."""
        return weights.load_state(self._state(run_id))

    def damaged_state(self, run_id: str) -> StoreError:
        """What to raise where the state of a run could be read but not gone on from."""
        return weights.damaged_state(self._state(run_id))

    def has_state(self, run_id: str) -> bool:
        """Whether there is something to resume from."""
        return self._state(run_id).exists()

    def drop_state(self, run_id: str) -> None:
        """Remove the saved state of a run that needs it no more."""
        with suppress(OSError):
            self._state(run_id).unlink(missing_ok=True)

    def _state(self, run_id: str) -> Path:
        return self.folder(run_id) / weights.STATE
