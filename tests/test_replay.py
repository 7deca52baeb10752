"""Steps as CUDA graphs: the way there on any machine, with graphs that only watch; the graphs themselves on a GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from core.config import Config
from core.data import Dataset, Split, load
from core.data.sets import _scale_and_shift
from core.dropout import TECHNIQUES, Dropout, dropouts, factory
from core.dropout.dropconnect import gauss_hermite
from core.jobs.worker import run_worker
from core.reproduce.plan import precision_on
from core.runs import RunStore
from core.training import Trainer
from core.training.replay import WARM_UP, Graphs, Replay
from core.training.stepping import Stepper
from core.training.tally import Tally
from core.training.trainer import SLOW_BF16
from models import build
from tests.dropout_cases import CASES, Case

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
NAMES = ("none", *TECHNIQUES)


class Watching:
    """Graphs that do the work itself, once they have seen that a real one would do the same as before.

    A graph knows the numbers that Python read, and where the tensors were, when it was captured.
    """

    def __init__(self, trainer: Trainer | None = None) -> None:
        self.trainer = trainer
        self.said: list[str] = []

    def warm(self, work: Callable[[], None]) -> None:
        self.said.append("warm")
        work()

    def capture(self, work: Callable[[], None]) -> Callable[[], None]:
        self.said.append("capture")
        frozen = self.frozen()

        def replay() -> None:
            self.said.append("replay")
            assert self.frozen() == frozen, "a graph would still do what it did when it was captured"
            work()

        return replay

    def frozen(self) -> object:
        if self.trainer is None:
            return None
        trainer = self.trainer
        state = trainer.optimizer.state
        tensors = [*trainer.model.parameters(), *trainer.model.buffers(), trainer._tally._sums]
        tensors += [value for values in state.values() for value in values.values()]
        numbers = [
            (name, value)
            for layer in dropouts(trainer.model)
            for name, value in sorted(vars(layer).items())
            if isinstance(value, bool | int | float | str) and name != "training"
        ]
        return [tensor.data_ptr() for tensor in tensors], numbers, trainer.optimizer.param_groups[0]["lr"]


@pytest.fixture(scope="module")
def few() -> Dataset:
    digits = load("digits")
    return replace(
        digits, train=digits.train.take(torch.arange(570)), validation=digits.validation.take(torch.arange(40))
    )


def watched(trainer: Trainer) -> Watching:
    """``trainer`` as on a device with graphs."""
    graphs = Watching(trainer)
    trainer._stepper._replay._graphs = graphs
    return graphs


def trainer_of(data: Dataset, **settings: object) -> Trainer:
    return Trainer(
        Config(**{"epochs": 2, "width": 0.25, "device": "cpu", "record_every": 1e9, "batch_size": 50, **settings}), data
    )


def finished(trainer: Trainer) -> dict[str, Tensor]:
    *_, end = trainer.run()
    assert end.status == "done", end.reason
    return trainer.model.state_dict()


# The way to a graph


def test_work_is_warmed_then_captured_then_replayed_and_done_every_time() -> None:
    done: list[list[int]] = []
    graphs = Watching()
    replay = Replay(lambda index: done.append(index.tolist()), 2, lambda: None, graphs)

    for i in range(WARM_UP + 3):
        replay(torch.tensor([i, i + 1]))

    assert done == [[i, i + 1] for i in range(WARM_UP + 3)]
    assert graphs.said == ["warm"] * WARM_UP + ["capture"] + ["replay"] * 3


def test_the_index_that_a_graph_reads_stays_in_its_place() -> None:
    places: set[int] = set()
    replay = Replay(lambda index: places.add(index.data_ptr()), 2, lambda: None, Watching())

    kept = [torch.tensor([i, i]) for i in range(WARM_UP + 3)]
    for index in kept:
        replay(index)

    assert len(places) == 1
    assert places.isdisjoint(index.data_ptr() for index in kept)


def test_a_batch_of_another_size_is_done_apart_and_costs_no_graph() -> None:
    done: list[int] = []
    graphs = Watching()
    replay = Replay(lambda index: done.append(len(index)), 2, lambda: None, graphs)

    for _ in range(3):
        for _ in range(WARM_UP + 1):
            replay(torch.zeros(2, dtype=torch.long))
        replay(torch.zeros(1, dtype=torch.long))

    assert done == ([2] * (WARM_UP + 1) + [1]) * 3
    assert graphs.said.count("capture") == 1


def test_other_settings_are_captured_anew() -> None:
    graphs = Watching()
    settings = [0.1]
    replay = Replay(lambda index: None, 1, lambda: settings[0], graphs)

    for settings[0] in (0.1, 0.2):
        for _ in range(WARM_UP + 2):
            replay(torch.zeros(1, dtype=torch.long))

    assert graphs.said == (["warm"] * WARM_UP + ["capture"] + ["replay"] * 2) * 2


def test_work_that_cannot_be_captured_goes_on_without_and_says_why_once() -> None:
    class Failing(Watching):
        def capture(self, work: Callable[[], None]) -> Callable[[], None]:
            self.said.append("capture")
            try:
                raise RuntimeError("operation not permitted when stream is capturing\nand much more")
            finally:
                self.end()

        def end(self) -> None:
            """As a capture ends that has failed."""
            raise RuntimeError("operation failed due to a previous error during capture")

    done: list[int] = []
    graphs = Failing()
    replay = Replay(lambda index: done.append(int(index)), 1, lambda: None, graphs)

    for i in range(WARM_UP + 4):
        replay(torch.tensor([i]))

    assert done == list(range(WARM_UP + 4))
    assert graphs.said.count("capture") == 1
    assert replay.problem == (
        "Steps are not captured as a CUDA graph: operation not permitted when stream is capturing"
    )


# The trainer's steps


CHANGES = {
    "standard": {"p": 0.4, "knobs": {"vanilla": True}},
    "dropcorr": {"lr": 1e-4, "knobs": {"refresh_every": 3, "count": "active"}},
    "dropact": {"p": 0.3, "knobs": {"rescale": "mass", "clamp": 3.0}},
    "standout": {"knobs": {"alpha": 0.5}},
    "dropconnect": {"p": 0.1},
    "gaussian": {"p": 0.0},
    "variational": {"p": 0.3},
    "none": {"lr": 1e-4},
}


@pytest.mark.parametrize("name", [*CHANGES, "dropinv"])
def test_a_run_in_graphs_is_the_run_without(few: Dataset, name: str) -> None:
    """With a change on the way; each replay finds all numbers and tensors as they were when it was captured."""
    ends = []
    for graphs in (True, False):
        trainer = trainer_of(few, technique=name)
        said = watched(trainer).said if graphs else []
        trainer.advance(steps=7)
        if name in CHANGES:
            trainer.adjust(CHANGES[name])
        ends.append(finished(trainer))
        if graphs:
            assert said.count("capture") == 1 + (name in CHANGES)
            assert said.count("replay") > said.count("warm")

    for key, value in ends[0].items():
        assert torch.equal(value, ends[1][key]), key


@pytest.mark.parametrize("schedule", ["alternate", "linear"])
def test_p_of_a_schedule_reaches_the_graph(few: Dataset, schedule: str) -> None:
    trainer = trainer_of(few, technique="dropinv", schedule=schedule, epochs=3)
    said = watched(trainer).said

    finished(trainer)

    assert said.count("capture") == 3


def test_an_interval_that_grows_reaches_the_graph(few: Dataset) -> None:
    trainer = trainer_of(few, technique="dropcorr", refresh_epochs=0.5, refresh_growth=2.0, epochs=3)
    said = watched(trainer).said

    finished(trainer)

    assert said.count("capture") == 3


@pytest.mark.parametrize("name", ["dropcorr", "variational"])
def test_a_state_that_is_loaded_is_captured_anew(few: Dataset, name: str) -> None:
    knobs = {"refresh_every": 4} if name == "dropcorr" else {}
    whole = finished(trainer_of(few, technique=name, knobs=knobs))
    first = trainer_of(few, technique=name, knobs=knobs)
    first.advance(steps=8)
    state = first.state()

    trainer = trainer_of(few, technique=name, knobs=knobs)
    said = watched(trainer).said
    trainer.advance(steps=6)
    trainer.load_state(state)
    resumed = finished(trainer)

    assert said.count("capture") == 2
    for key, value in whole.items():
        assert torch.equal(value, resumed[key]), key


def test_a_step_that_is_looked_at_is_no_replay(few: Dataset) -> None:
    trainer = trainer_of(few, technique="dropact")
    graphs = watched(trainer)
    trainer.advance(steps=9)
    graphs.said.clear()

    record, batch = trainer.single()

    assert batch is not None
    assert record.dropped is not None
    assert graphs.said == []


def test_the_reason_for_slow_steps_is_the_trainers_problem(few: Dataset) -> None:
    trainer = trainer_of(few)
    assert trainer.problem is None

    def fail(work: Callable[[], None]) -> Callable[[], None]:
        raise RuntimeError("no room")

    watched(trainer).capture = fail  # type: ignore[method-assign]
    trainer.advance(steps=8)

    assert trainer.problem == "Steps are not captured as a CUDA graph: no room"


@pytest.mark.parametrize("there", [True, False])
def test_bf16_without_instructions_for_it_is_a_problem(
    few: Dataset, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    monkeypatch.setattr("core.environment.torch.ops.mkldnn._is_mkldnn_bf16_supported", lambda: there)
    assert trainer_of(few).problem is None
    assert trainer_of(few, precision="bf16").problem == (None if there else SLOW_BF16)
    assert precision_on("cpu") == ("bf16" if there else "fp32")


def test_a_run_says_once_in_its_environment_why_its_steps_are_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(Watching):
        def capture(self, work: Callable[[], None]) -> Callable[[], None]:
            raise RuntimeError("no room")

    written: list[dict[str, object]] = []
    store = RunStore(tmp_path / "home")
    monkeypatch.setattr(store, "set_environment", lambda run_id, facts: written.append(dict(facts)), raising=True)
    monkeypatch.setattr("core.training.trainer.graphs_of", lambda device: Failing())
    config = Config(epochs=3, width=0.25, device="cpu", record_every=1e9)

    run = run_worker(store, store.create(config.to_dict()))

    assert run.status == "done"
    assert [facts.get("problem") for facts in written] == [None, "Steps are not captured as a CUDA graph: no room"]


# What a capture forbids: to wait for the device, and to copy to it


class Crossings(TorchDispatchMode):
    """Refuses what joins tensors of two devices, but for numbers on the CPU that a kernel takes as arguments."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, Tensor)]
        kinds = {t.device.type for t in tensors if t.dim() or func is torch.ops.aten._to_copy.default}
        assert len(kinds) < 2, f"{func} copies between {kinds}"
        return out


@pytest.fixture
def gpu() -> Iterator[None]:
    """A GPU that computes shapes alone; what waits for it, as ``item()`` does, raises."""
    gauss_hermite()  # numbers, which are kept for all layers
    with FakeTensorMode():
        yield
    _scale_and_shift.cache_clear()


@pytest.mark.parametrize("technique", NAMES)
def test_a_step_neither_waits_for_the_device_nor_copies_to_it(gpu: None, technique: str) -> None:
    with torch.device("cuda"):
        model = build("mnist", factory(technique), shape=(1, 28, 28), classes=10, width=0.1)
        train = Split(torch.zeros(40, 1, 28, 28, dtype=torch.uint8), torch.zeros(40, dtype=torch.long))
        tally, index = Tally(torch.device("cuda")), torch.arange(20)
    data = Dataset("noise", "noise", tuple("0123456789"), train, train, train, (0.5,), (0.25,))
    stepper = Stepper(Config(), data, model, torch.optim.Adam(model.parameters()), tally, tuple)
    stepper._forward(index)

    with Crossings():
        loss, out, y = stepper._forward(index)
        stepper._objective(loss)
        tally.add(loss, out, y)


@pytest.mark.parametrize("case", [case for case in CASES if case.on in ("flat", "linear")], ids=str)
def test_no_option_waits_for_the_device(gpu: None, case: Case) -> None:
    with torch.device("cuda"):
        module, x = case.build(), case.input()

    with Crossings():
        module(x)


def test_what_waits_for_the_device_would_be_found(gpu: None) -> None:
    class Waiting(Dropout):
        def draw(self, x: Tensor) -> tuple[Tensor, ...]:
            return (x > float(x.max()) / 2,)

        def perturb(self, x: Tensor, noise: tuple[Tensor, ...]) -> Tensor:
            return x * noise[0]

    layer, x = Waiting(0.5), torch.ones(3, 4, device="cuda")
    with Crossings(), pytest.raises(DataDependentOutputException):
        layer(x)
    with Crossings(), pytest.raises(AssertionError, match="copies between"):
        x.new_tensor(3.0)


# On a GPU


@needs_cuda
@pytest.mark.parametrize("name", NAMES)
def test_losses_in_graphs_are_those_without(few: Dataset, name: str) -> None:
    losses = []
    for graphs in (True, False):
        trainer = trainer_of(few, technique=name, device="cuda")
        if not graphs:
            trainer._stepper._replay._graphs = None
        losses.append([record.loss for record in trainer.run() if record.kind == "epoch"])
        assert trainer.problem is None
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@needs_cuda
def test_masks_differ_from_replay_to_replay() -> None:
    x = torch.ones(1, 1000, device="cuda")
    seen = torch.zeros(WARM_UP + 6, 1000, device="cuda")
    place = torch.zeros((), dtype=torch.long, device="cuda")
    layer = TECHNIQUES["standard"](0.5)

    def work(index: Tensor) -> None:
        seen.index_copy_(0, place[None], layer(x))
        place.add_(1)

    from core.training.replay import CudaGraphs

    graphs: Graphs = CudaGraphs(torch.device("cuda"))
    replay = Replay(work, 1, lambda: None, graphs)
    for _ in range(len(seen)):
        replay(torch.zeros(1, dtype=torch.long, device="cuda"))

    masks = (seen > 0).float()
    assert masks.unique(dim=0).shape[0] == len(seen)
    assert (masks.mean(1) - 0.5).abs().max() < 5 * 0.5 / 1000**0.5


@needs_cuda
@pytest.mark.parametrize("stop_after", [2, 8])
@pytest.mark.parametrize("name", ["dropcorr", "standard"])
def test_a_resumed_run_in_graphs_is_bit_identical(few: Dataset, name: str, stop_after: int) -> None:
    def trainer() -> Trainer:
        return trainer_of(few, technique=name, device="cuda", knobs={"refresh_every": 3} if name == "dropcorr" else {})

    whole = trainer()
    whole.advance(steps=stop_after)
    first = trainer()
    first.advance(steps=stop_after)
    second = trainer()
    second.load_state(first.state())

    expected, resumed = finished(whole), finished(second)
    for key, value in expected.items():
        assert torch.equal(value, resumed[key]), key


@needs_cuda
def test_random_numbers_can_be_drawn_after_a_capture_that_failed() -> None:
    from core.training.replay import CudaGraphs

    def work(index: Tensor) -> None:
        torch.rand(3, device="cuda").sum().item()

    replay = Replay(work, 1, lambda: None, CudaGraphs(torch.device("cuda")))
    for _ in range(WARM_UP + 2):
        replay(torch.zeros(1, dtype=torch.long, device="cuda"))

    assert replay.problem is not None
    assert torch.rand(3, device="cuda").isfinite().all()
