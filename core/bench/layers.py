"""Forward and backward of every layer against ``nn.Dropout``, and of the literal algorithms against the layers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from core.bench.literal import LITERALS
from core.bench.memory import peak_bytes
from core.bench.results import Growth, Result, results
from core.bench.timing import Work, growth, interleaved
from core.dropout import TECHNIQUES

BASE = "nn.Dropout"
CAPTURED = ", captured"
P = 0.2
BATCH, UNITS = 100, 1000
BATCHES = (1, 10, 100, 1024)
SIZES = (64, 256, 1000, 4096, 16384, 65536)
# A weight matrix of 65,536² would be 17 GB, and a decomposition of 4,096² takes a minute.
LARGEST_WRAPPED, LARGEST_LITERAL = 4096, 1024
# Growth is fitted where the layer's own work outweighs what any call costs.
FITTED_FROM = 4096


@dataclass(frozen=True)
class Plan:
    """What to measure: ``seconds`` a set of layers at one size, at the paper's size alone unless ``sizes``."""

    device: torch.device
    seconds: float = 2.0
    sizes: bool = True
    literal: bool = True


def measure(plan: Plan) -> Iterator[Result | Growth]:
    """Results as they come: at B=100, N=1000 first, then over N and over B, then how times grow."""
    yield from at_size(plan, BATCH, UNITS, memory=True)
    if plan.literal:
        yield from literal(plan, BATCH, UNITS)
    if plan.sizes:
        yield from over(plan, "N", [(BATCH, n) for n in SIZES if n != UNITS])
        yield from over(plan, "B", [(b, UNITS) for b in BATCHES if b != BATCH])


def over(plan: Plan, name: str, sizes: list[tuple[int, int]]) -> Iterator[Result | Growth]:
    """Results for each (B, N), and the exponents by which times grow with ``name``."""
    seconds: dict[str, dict[int, float]] = {}
    for batch, units in sizes:
        for result in at_size(plan, batch, units):
            size = units if name == "N" else batch
            seconds.setdefault(result.case, {})[size] = result.seconds
            seconds.setdefault(result.against, {})[size] = result.base_seconds
            yield result
    for case, taken in seconds.items():
        fitted = {size: t for size, t in taken.items() if name == "B" or size >= FITTED_FROM}
        if len(fitted) >= 2:
            exponent = growth(list(fitted), list(fitted.values()))
            where = {"device": plan.device.type, "threads": torch.get_num_threads()}
            yield Growth("layers", case, name, exponent, min(fitted), max(fitted), where)


def at_size(plan: Plan, batch: int, units: int, *, memory: bool = False) -> list[Result]:
    """Every technique against ``nn.Dropout`` on x (batch, units)."""
    x = example(batch, units, plan.device)
    works: dict[str, Work] = {BASE: passes(nn.Dropout(P), x)}
    for name, technique in TECHNIQUES.items():
        if not technique.wraps_layer:
            works[name] = passes(technique(P), x)
    if plan.device.type == "cuda":
        works |= {name + CAPTURED: captured(work) for name, work in works.items()}
    where = place(plan, batch, units)
    times = interleaved(works, seconds=plan.seconds, device=plan.device)
    peaks = {name: peak_bytes(work, plan.device) for name, work in works.items()} if memory else None
    # What is captured is held against what is captured, all else against the eager layer.
    eager, graphs = ({k: t for k, t in times.items() if k.endswith(CAPTURED) == yes} for yes in (False, True))
    found = results("layers", eager, BASE, where, peaks)
    if graphs:
        found += results("layers", graphs, BASE + CAPTURED, where)
    return found + wrapped(plan, batch, units) if units <= LARGEST_WRAPPED else found


def wrapped(plan: Plan, batch: int, units: int) -> list[Result]:
    """The techniques that wrap a layer, against the same layer with ``nn.Dropout`` behind it."""
    x, base = example(batch, units, plan.device), f"Linear, ReLU, {BASE}"

    def linear() -> nn.Linear:
        return nn.Linear(units, units, device=plan.device)

    works: dict[str, Work] = {base: passes(nn.Sequential(linear(), nn.ReLU(), nn.Dropout(P)), x)}
    for name, technique in TECHNIQUES.items():
        if technique.wraps_layer:
            block = technique.place(linear(), nn.ReLU(), (), P)
            works[name] = passes(block, x)
    times = interleaved(works, seconds=plan.seconds, device=plan.device)
    return results("layers", times, base, place(plan, batch, units))


def literal(plan: Plan, batch: int, units: int) -> Iterator[Result]:
    """The literal algorithms against our layers: how many times longer they take."""
    x = example(batch, units, plan.device)
    for name, ways in LITERALS.items():
        works: dict[str, Work] = {name: passes(TECHNIQUES[name](P), x)}
        for how, function in ways.items():
            if units <= LARGEST_LITERAL:
                works[f"{name}, {how}"] = passes(_with_p(function), x)
        times = interleaved(works, seconds=plan.seconds, device=plan.device)
        yield from results("layers", times, name, place(plan, batch, units))


def example(batch: int, units: int, device: torch.device) -> Tensor:
    """x (batch, units) as a layer behind a ReLU gets it: half of the units are at rest. Always the same numbers."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, units, generator=generator).relu_().to(device).requires_grad_()


def passes(layer: Callable[[Tensor], Tensor], x: Tensor) -> Work:
    """Forward and backward of ``layer`` in training, gradients into what is fresh each time."""
    gradient = torch.ones_like(x)

    def work() -> None:
        x.grad = None
        layer(x).backward(gradient)

    return work


def captured(work: Work) -> Work:
    """``work`` as a CUDA graph: what it costs without Python and without the launch of each kernel."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def place(plan: Plan, batch: int, units: int) -> Mapping[str, Any]:
    """Where a result belongs."""
    return {"B": batch, "N": units, "device": plan.device.type, "threads": torch.get_num_threads()}


def _with_p(function: Callable[[Tensor, float], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda x: function(x, P)
