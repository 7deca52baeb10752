"""What a step is said to have done is what it did: tensors of the step itself, and the statistics of its masks."""

import gc
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from core.config import Config
from core.data import Dataset, Split, load
from core.dropout import TECHNIQUES, dropouts
from core.runs import StoreError, steps
from core.runs.steps import Batch
from core.training import Trainer, capture
from core.training.observing import Masks, means

CASES: list[dict[str, Any]] = [
    {"technique": "none"},
    *({"technique": name} for name in TECHNIQUES),
    {"technique": "standard", "knobs": {"vanilla": True}, "p": 0.5},
    {"technique": "standard", "p": 0.0},
    {"technique": "dropconnect", "knobs": {"mask": "example"}},
    {"technique": "variational", "knobs": {"form": "weight"}},
    {"technique": "standout", "knobs": {"learn": True}},
    {"technique": "dropact", "knobs": {"rescale": "unbiased", "count": "active"}},
    {"technique": "dropcorr", "knobs": {"rescale": "mass", "refresh_every": 3}, "p": 0.5},
]


@pytest.fixture(scope="module")
def few() -> Dataset:
    """230 training digits: two batches of 100 and one of 30."""
    digits = load("digits")
    some = torch.arange(230)
    return replace(digits, train=Split(digits.train.x[some], digits.train.y[some]))


def trainer(data: Dataset, **settings: Any) -> Trainer:
    return Trainer(Config(**{"epochs": 2, "width": 0.25, "device": "cpu", "record_every": 1e9, **settings}), data)


def taken(run: Trainer, times: int = 2) -> Batch:
    """The last of so many single steps."""
    for _ in range(times):
        _, batch = run.single()
    assert batch is not None
    return batch


def names(case: dict[str, Any]) -> str:
    return "-".join(str(value) for value in case.values())


@pytest.mark.parametrize("settings", CASES, ids=names)
def test_a_step_that_is_watched_is_the_step_that_would_have_been(few: Dataset, settings: dict[str, Any]) -> None:
    alone, watched = trainer(few, **settings), trainer(few, **settings)
    for _ in alone.run():
        pass
    records = []
    while watched.status == "running":
        records.append(watched.single()[0])
    assert [record.kind for record in records] == ["step", "step", "epoch"] * 2 + ["end"]
    assert all(torch.equal(value, watched.model.state_dict()[name]) for name, value in alone.model.state_dict().items())


@pytest.mark.parametrize("settings", CASES, ids=names)
def test_the_tensors_of_a_step_belong_together(few: Dataset, settings: dict[str, Any]) -> None:
    run = trainer(few, **settings)
    batch = taken(run)
    layers = dropouts(run.model)
    assert [place.title for place in batch.places] == ["Hidden 1", "Hidden 2"][: len(layers)]
    for place, layer in zip(batch.places, layers, strict=True):
        assert (place.units, place.p) == ((32,), layer.p)
        assert place.out.shape == (8, 32)
        if place.scale is None:
            assert settings["technique"] in ("dropconnect", "variational")
            continue
        mask = torch.ones_like(place.out) if place.mask is None else place.mask.float()
        torch.testing.assert_close(place.x * mask * place.scale, place.out)
        assert place.grad_out is not None
        assert place.grad_x is not None
        torch.testing.assert_close(place.grad_out * mask * place.scale, place.grad_x)
        assert place.grad_out.abs().sum() > 0


@pytest.mark.parametrize("name", ["standard", "standout", "gaussian", "dropact", "dropcorr"])
def test_the_tensors_of_feature_maps_belong_together(few: Dataset, name: str) -> None:
    knobs = {"rescale": "uniform"} if name.startswith("drop") else {}
    batch = taken(trainer(few, technique=name, network="cifar10", p=0.4, knobs=knobs), 1)
    assert [place.title for place in batch.places] == ["Stage 1", "Stage 2", "Stage 3", "Hidden 1", "Hidden 2"]
    for place in batch.places:
        assert place.out.shape[1:] == place.units
        assert place.scale is not None
        assert place.grad_out is not None
        mask = torch.ones_like(place.out) if place.mask is None else place.mask.float()
        torch.testing.assert_close(place.x * mask * place.scale, place.out)
        torch.testing.assert_close(place.grad_out * mask * place.scale, place.grad_x)


def test_of_a_convolution_s_weights_a_corner_is_kept(few: Dataset) -> None:
    place = taken(trainer(few, technique="dropconnect", network="cifar10"), 1).places[0]
    assert place.weight is not None
    assert place.weight_mask is not None
    assert (place.weight.shape, place.weight_mask.shape) == ((8, 72), (1, 8, 72))


def test_of_weights_that_fall_a_corner_is_kept(few: Dataset) -> None:
    for mask, examples in (("batch", 1), ("example", 8)):
        place = taken(trainer(few, technique="dropconnect", p=0.5, knobs={"mask": mask}), 1).places[1]
        assert place.weight is not None
        assert place.weight_mask is not None
        assert (place.weight.shape, place.weight_mask.shape) == ((32, 32), (examples, 32, 32))
        assert place.weight_mask.float().mean() == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(examples * 1024))


def test_the_output_under_weights_that_fall_is_that_of_the_kept_mask(few: Dataset) -> None:
    run = trainer(few, technique="dropconnect", p=0.5)
    bias = dropouts(run.model)[1].layer.bias.detach().clone()
    place = taken(run, 1).places[1]
    assert place.weight is not None
    assert place.weight_mask is not None
    out = (place.x @ (place.weight * place.weight_mask[0]).T + bias).relu()
    torch.testing.assert_close(place.out, out)


def test_a_batch_tells_its_images_loss_answers_and_updates(few: Dataset) -> None:
    run = trainer(few, technique="standard")
    before = {name: value.detach().clone() for name, value in run.model.named_parameters()}
    batch = taken(run, 1)
    first = run._batches[1][0]
    assert (batch.step, batch.epoch, batch.size, batch.lr) == (1, 1 / 3, 100, 5e-4)
    assert torch.equal(batch.images, few.train.x[first[:8]])
    assert list(batch.labels) == few.train.y[first[:8]].tolist()
    torch.testing.assert_close(batch.answers.sum(1), torch.ones(8))
    moved = {name: (value.detach() - before[name]).norm() for name, value in run.model.named_parameters()}
    norms = {update.title: update.norm for update in batch.updates}
    assert list(norms) == ["Features (1)", "Features (2)", "Hidden 1", "Hidden 2", "Output"]
    expected = math.hypot(moved["output.weight"], moved["output.bias"])
    assert norms["Output"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", TECHNIQUES)
def test_nothing_is_kept_of_a_step_but_its_batch(few: Dataset, name: str) -> None:
    """What is left would hold all weights as they were, and on a GPU keep steps from being captured."""
    batch = taken(trainer(few, technique=name))

    gc.collect()

    assert batch.places
    assert not [each for each in gc.get_objects() if type(each) is capture.Capture]


def test_the_loss_of_a_batch_is_that_of_its_record(few: Dataset) -> None:
    record, batch = trainer(few, technique="dropact").single()
    assert batch is not None
    assert batch.loss == pytest.approx(record.loss, rel=1e-6)


def test_large_layers_are_kept_in_part() -> None:
    assert capture.kept(torch.zeros(100, 5000)).shape == (8, 4096)
    assert capture.kept(torch.zeros(3, 64, 16, 16)).shape == (3, 16, 16, 16)
    assert capture.kept(torch.zeros(3, 4, 100, 100)).shape == (3, 1, 100, 100)


def test_a_batch_comes_back_from_its_file(few: Dataset, tmp_path: Path) -> None:
    assert steps.load(tmp_path) is None
    batch = taken(trainer(few, technique="dropconnect"))
    steps.save(tmp_path, batch)
    again = steps.load(tmp_path)
    assert again is not None

    def plain(value: Any) -> Any:
        if isinstance(value, Tensor):
            return value.dtype, value.tolist()
        if isinstance(value, tuple):
            return tuple(map(plain, value))
        return {name: plain(part) for name, part in vars(value).items()} if hasattr(value, "__dict__") else value

    assert plain(again) == plain(batch)
    (tmp_path / steps.FILE).write_bytes(b"nothing of the kind")
    with pytest.raises(StoreError, match="is damaged: step once more"):
        steps.load(tmp_path)


@pytest.mark.parametrize("name", ["standard", "dropact", "dropcorr", "standout"])
def test_mask_statistics_are_those_of_the_masks(few: Dataset, name: str) -> None:
    run = trainer(few, technique=name, p=0.5, batch_size=8)
    record, batch = run.single()
    assert batch is not None
    shares = []
    for place in batch.places:
        assert place.mask is not None
        fallen, active = ~place.mask.numpy(), place.x.numpy() > 0
        alive = (place.out.numpy() > 0).any(1)
        shares.append((fallen.mean(), fallen[active].mean(), 1 - alive.mean()))
    expected = [sum(column) / len(column) for column in zip(*shares, strict=True)]
    assert [record.dropped, record.active_dropped, record.dead] == pytest.approx(expected, abs=1e-6)


def test_mask_statistics_come_with_every_epoch_and_only_where_something_falls(few: Dataset) -> None:
    epoch = next(trainer(few, technique="dropinv", p=0.5).run())
    assert epoch.layers is not None
    assert [set(layer) for layer in epoch.layers] == [set(Masks.NAMES)] * 2
    assert means(epoch.layers) == {name: getattr(epoch, name) for name in Masks.NAMES}
    weights = next(trainer(few, technique="dropconnect", p=0.5).run())
    assert weights.dropped == pytest.approx(0.5, abs=0.05)
    assert weights.active_dropped is None
    for name in ("none", "gaussian", "variational"):
        record = next(trainer(few, technique=name).run())
        assert (record.dropped, record.active_dropped, record.dead, record.layers) == (None,) * 4
