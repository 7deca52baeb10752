"""Where a run happens: the device chosen for it, and what is recorded of the machine and its software."""

from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from core.config import ConfigError

# Names of glibc's malloc.h, the largest value that they take, and the largest that the second took in older versions.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _INT_MAX, _OLDER_MAX = -1, -3, 2**31 - 1, 2**25


def choose_device(name: str = "auto") -> torch.device:
    """The device called ``name``; "auto" takes CUDA, else MPS, else the CPU. ConfigError if it is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device must be auto, cpu, cuda, cuda:N or mps, got {name!r}.") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(f"This machine has no device {name}: torch sees {torch.cuda.device_count()} CUDA devices.")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("This machine has no device mps; use auto or cpu.")
    return device


def computes_bf16(device: torch.device) -> bool:
    """Whether ``device`` has instructions for bf16. A CPU without them takes some fifteen times as long as in fp32."""
    if device.type != "cpu":
        return device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, for its next allocation; only glibc can be told so.

    For one that trains: gradients of some megabytes are freed and allocated in every step, and fresh pages for them
    cost up to a third of it.
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_TRIM_THRESHOLD, _INT_MAX)
        # Refused, it would stay at its first 128 kB, as setting the other ends its growth.
        if not libc.mallopt(_M_MMAP_THRESHOLD, _INT_MAX):
            libc.mallopt(_M_MMAP_THRESHOLD, _OLDER_MAX)


def device_name(device: torch.device) -> str:
    """What a person would call it: the GPU's or the processor's name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _processor() if device.type == "cpu" else device.type.upper()


@lru_cache
def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def environment(device: torch.device) -> dict[str, str | int | None]:
    """Device, versions and git commit, as plain values; None where something is not known."""
    return {
        "device": str(device),
        "device_name": device_name(device),
        "threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "torch": _version("torch"),
        "torchvision": _version("torchvision"),
        "commit": _commit(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@lru_cache
def _commit() -> str | None:
    """The commit of the code that runs, with "+" if it was changed since."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, timeout=5)
        dirty = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if head.returncode:
        return None
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")
