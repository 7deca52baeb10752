"""The most memory that a piece of work holds at once."""

from __future__ import annotations

import torch
from torch.profiler import ProfilerActivity, profile

from core.bench.timing import Work, synchronise


def peak_bytes(work: Work, device: torch.device) -> int | None:
    """Bytes that ``work`` holds at its peak beyond what was held before; None where torch does not tell."""
    work()
    if device.type == "cuda":
        synchronise(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        synchronise(device)
        return int(torch.cuda.max_memory_allocated(device) - before)
    return _peak_on_cpu(work) if device.type == "cpu" else None


def _peak_on_cpu(work: Work) -> int | None:
    """By the profiler's record of every allocation and release."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        work()
    kineto = record.profiler.kineto_results if record.profiler else None
    if kineto is None:
        return None
    events = sorted((e for e in kineto.events() if e.name() == "[memory]"), key=lambda e: e.start_ns())
    held = peak = 0
    for event in events:
        held += event.nbytes()
        peak = max(peak, held)
    return peak
