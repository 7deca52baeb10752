"""torch's global random numbers, set aside for a while: what a run draws does not depend on what others draw."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

State = dict[str, Tensor]

# torch's generator is one for all threads: two that set its numbers aside at once would take each other's.
ONE_AT_A_TIME = threading.RLock()


def random_state(device: torch.device) -> State:
    """The state of the CPU's generator and of the device's."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    elif device.type == "mps":
        state["mps"] = torch.mps.get_rng_state()
    return state


def set_random_state(state: State, device: torch.device) -> None:
    """Put back what :func:`random_state` took; a state of another kind of device restores what the two share."""
    torch.set_rng_state(state["cpu"].cpu())
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
    elif device.type == "mps" and "mps" in state:
        torch.mps.set_rng_state(state["mps"].cpu())


def seeded_state(seed: int, device: torch.device) -> State:
    """The state that ``torch.manual_seed(seed)`` gives, leaving the present one as it is."""
    with preserved(device):
        torch.manual_seed(seed)
        return random_state(device)


@contextmanager
def preserved(device: torch.device) -> Iterator[None]:
    """Restore the present state afterwards. One thread at a time gets in."""
    with ONE_AT_A_TIME:
        outside = random_state(device)
        try:
            yield
        finally:
            set_random_state(outside, device)
