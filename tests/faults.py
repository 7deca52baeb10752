"""What may befall a worker in training, brought about inside it at a given optimiser step."""

import resource
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import torch


def arm(kind: str, step: int) -> None:
    """From now on let ``kind`` happen right after the optimiser's step number ``step`` of this process."""
    befall, steps, adam = KINDS[kind], count(1), torch.optim.Adam.step

    def stepped(optimizer: torch.optim.Adam, *arguments: Any) -> Any:
        done = adam(optimizer, *arguments)
        if next(steps) == step:
            befall(optimizer)
        return done

    torch.optim.Adam.step = stepped  # type: ignore[method-assign, assignment]


def _nan(optimizer: torch.optim.Adam) -> None:
    with torch.no_grad():
        optimizer.param_groups[0]["params"][0].fill_(torch.nan)


def _memory(_: torch.optim.Adam) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    used = pages * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
    torch.zeros(2**30)


def _deaf(_: torch.optim.Adam) -> None:
    print("deaf", flush=True)
    while True:
        time.sleep(600)


KINDS: dict[str, Callable[[torch.optim.Adam], None]] = {"nan": _nan, "memory": _memory, "deaf": _deaf}
