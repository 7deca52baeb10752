"""What a training process asks of the machine's memory."""

import platform
import subprocess
import sys

import pytest
import torch

from core.config import Config
from core.environment import keep_freed_memory
from core.training import Trainer

PAGES_OF_64_MB = 64 * 2**20 // 4096
# How many fresh pages the last ten of thirty tensors of 64 MB cost; the first ones still find their places.
FAULTS = """
import resource, sys
import torch
from core.environment import keep_freed_memory

if sys.argv[1] == "keep":
    keep_freed_memory()
for i in range(30):
    if i == 20:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
@pytest.mark.parametrize(("how", "fresh"), [("leave", True), ("keep", False)])
def test_freed_memory_is_used_again_once_the_process_is_told_to_keep_it(how: str, fresh: bool) -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True, timeout=120)
    assert (int(done.stdout) > 9 * PAGES_OF_64_MB) == fresh
    assert (int(done.stdout) < PAGES_OF_64_MB) == (not fresh)


def test_a_libc_that_takes_no_more_than_32_mb_is_told_32_mb(monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[int, int] = {}

    class Older:
        def mallopt(self, what: int, value: int) -> int:
            if what == -3 and value > 32 * 2**20:
                return 0
            told[what] = value
            return 1

    monkeypatch.setattr("core.environment.sys.platform", "linux")
    monkeypatch.setattr("core.environment.platform.libc_ver", lambda: ("glibc", "2.31"))
    monkeypatch.setattr("core.environment.ctypes.CDLL", lambda _: Older())
    keep_freed_memory()
    assert told == {-1: 2**31 - 1, -3: 32 * 2**20}


def test_convolutions_train_channels_last_also_after_a_resume() -> None:
    trainer = Trainer(Config(dataset="digits", epochs=1, record_every=0.0))
    trainer.advance(steps=1)
    again = Trainer(trainer.config, trainer.data)
    again.load_state(trainer.state())
    again.advance(steps=1)
    for model in (trainer.model, again.model):
        kernels = [w for w in model.parameters() if w.dim() == 4 and w.shape[1] > 1]
        assert kernels
        assert all(w.is_contiguous(memory_format=torch.channels_last) for w in kernels)
