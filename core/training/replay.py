"""Work that is done over and over on a GPU, as a CUDA graph: Python and each kernel's launch are paid for once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol

import torch
from torch import Tensor

Work = Callable[[], None]

WARM_UP = 3
"""Times that work is done before it is captured: kernels are chosen and state is allocated in the first."""


class Graphs(Protocol):
    """A device's way to do work without Python."""

    def warm(self, work: Work) -> None:
        """Do ``work`` as it will be captured."""

    def capture(self, work: Work) -> Work:
        """What does on the device all that ``work`` asks of it now; ``work`` is not done. RuntimeError if it cannot."""


class Replay:
    """Does ``work`` on the examples at an index, int64 (B,): by a graph, captured once, where the batch is a whole one.

    A graph keeps every number that Python read as it was captured, and the place of every tensor. It is captured anew
    when ``settings`` gives other numbers, and after :meth:`forget`.

    Args:
        work: what to do; each of its tensors must be changed in place, or made anew by itself.
        batch: size of a whole batch.
        settings: all numbers that Python reads in ``work``.
        graphs: None does without.

    Attributes:
        problem: why there is no graph although there should be, in a sentence.
    """

    _key: Hashable
    _index: Tensor | None
    _replay: Work | None
    _warmed: int

    def __init__(
        self, work: Callable[[Tensor], None], batch: int, settings: Callable[[], Hashable], graphs: Graphs | None
    ) -> None:
        self._work, self._batch, self._settings, self._graphs = work, batch, settings, graphs
        self.problem: str | None = None
        self.forget()

    def __call__(self, index: Tensor) -> None:
        """Do the work on the examples at ``index``; nobody waits for the device."""
        if self._graphs is None or len(index) != self._batch:
            self._work(index)
            return
        if self._key != (settings := self._settings()):
            self.forget()
            self._key = settings
        if self._index is None:
            self._index = torch.empty_like(index)
        self._index.copy_(index)
        self._next(self._graphs)

    def forget(self) -> None:
        """Capture again, because a tensor that the work changes was replaced by another."""
        self._key = self._index = self._replay = None
        self._warmed = 0

    def _next(self, graphs: Graphs) -> None:
        if self._warmed < WARM_UP:
            self._warmed += 1
            graphs.warm(self._once)
            return
        if self._replay is None:
            self._replay = self._captured(graphs)
        self._replay()

    def _captured(self, graphs: Graphs) -> Work:
        """The work as a graph, or as it is where it cannot be captured."""
        try:
            return graphs.capture(self._once)
        except RuntimeError as error:
            self._graphs = None
            self.problem = f"Steps are not captured as a CUDA graph: {_first_of(error)}"
            return self._once

    def _once(self) -> None:
        assert self._index is not None
        self._work(self._index)


def _first_of(error: BaseException) -> str:
    """The first line of what went wrong first: that a capture cannot be ended follows from it, and tells little."""
    while error.__context__ is not None:
        error = error.__context__
    return str(error).partition("\n")[0]


class CudaGraphs:
    """Graphs on a CUDA device. Random numbers go on from replay to replay as if there were no graph.

    Python runs ahead of the device by at most 2·:attr:`AHEAD` replays, so that a stop is soon obeyed.
    """

    AHEAD = 64

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._mark = torch.cuda.Event()
        self._replays = 0

    def warm(self, work: Work) -> None:
        """On the stream on which it will be captured, as torch asks."""
        now = torch.cuda.current_stream(self._device)
        self._stream.wait_stream(now)
        with torch.cuda.stream(self._stream):
            work()
        now.wait_stream(self._stream)

    def capture(self, work: Work) -> Work:
        """A replay of ``work`` on the current stream."""
        graph = torch.cuda.CUDAGraph()
        index = torch.cuda.current_device() if self._device.index is None else self._device.index
        generator = torch.cuda.default_generators[index]
        numbers = generator.clone_state()
        try:
            # Other threads of this process may use the device meanwhile.
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                work()
        except RuntimeError:
            # Some versions of torch leave the generator in a capture that failed, where nobody else may draw.
            generator.graphsafe_set_state(numbers)
            raise

        def replay() -> None:
            graph.replay()
            self._replays += 1
            if self._replays % self.AHEAD == 0:
                self._mark.synchronize()
                self._mark.record(torch.cuda.current_stream(self._device))

        return replay


def graphs_of(device: torch.device) -> Graphs | None:
    """The graphs of ``device``; None where it has none."""
    return CudaGraphs(device) if device.type == "cuda" else None
