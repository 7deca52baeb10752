"""What Explore shows of a draw is what the layer's own forward does, at every p; and a look leaves no trace."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from core.dropout import TECHNIQUES, DropConnect, DropCorr, dropouts, factory, set_p
from core.inspection import activations, models, positions, untouched
from core.inspection.fields import COARSE, FINE, Field, field, plan
from core.inspection.frequency import band, draws_for, keep_frequency
from models import build

EVERY = list(TECHNIQUES)
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in EVERY),
    ("standard", {"vanilla": True}),
    ("dropact", {"count": "active", "rescale": "unbiased"}),
    ("dropinv", {"count": "active", "rescale": "mass"}),
    ("dropcorr", {"rescale": "uniform"}),
    ("variational", {"form": "weight"}),
    ("standout", {"alpha": 2.0, "beta": 0.5}),
    ("standout", {"learn": True}),
    ("standout", {"learn": True, "beta": 0.5}),
]
GRID = (0.0, 0.1, 0.2, 0.5, 0.9, 1.0)


def network(name: str, data: str = "digits", **knobs: Any) -> nn.Module:
    torch.manual_seed(2)
    model = build(data, factory(name, **knobs), width=0.25)
    for layer in dropouts(model):
        if isinstance(layer, DropCorr):
            reference = build(data, factory("standard"), width=0.25)
            at = dropouts(model).index(layer)
            layer.set_reference(activations(reference, torch.randn(20, *model.input), at))
    return model.eval()


def image(data: str = "digits") -> Tensor:
    return torch.randn(1, *build(data, factory("none"), width=0.25).input, generator=torch.Generator().manual_seed(4))


def forward(model: nn.Module, x: Tensor, position: int, p: float, draws: int, seed: int) -> tuple[Tensor, Tensor]:
    """(what the layer puts out, probabilities) when it alone trains, on the image repeated, by the plain forward."""
    model.eval()
    set_p(model, 0.0)
    layer = dropouts(model)[position]
    if isinstance(layer, DropConnect):
        layer.mask = "example"
    layer.train()
    layer.turn_to(p)
    out: list[Tensor] = []
    handle = layer.register_forward_hook(lambda _, inputs, output: out.append(output))
    torch.manual_seed(seed)
    with torch.no_grad():
        logits = model(x.expand(draws, *x.shape[1:]))
    handle.remove()
    return out[0], logits.softmax(1)


def rebuilt(shown: Field, step: int) -> Tensor:
    """(D, N) what leaves the layer at a step of the grid, from what is shown alone."""
    if shown.output is not None:
        return shown.output[:, step].float()
    factor = shown.factor[:, step]
    y = shown.activation * (factor if factor.dim() == 2 else factor[:, None]).float()
    return y if shown.falls is None else y.masked_fill(shown.falls <= step, 0)


@pytest.mark.parametrize(("name", "knobs"), OPTIONS, ids=str)
@pytest.mark.parametrize("position", [0, 1])
def test_what_is_shown_is_the_layers_own_forward_at_each_p(name: str, knobs: dict[str, Any], position: int) -> None:
    model, x = network(name, **knobs), image()
    shown = field(model, x, position, draws=8, grid=GRID, seed=11)
    for step, p in enumerate(GRID):
        y, probabilities = forward(network(name, **knobs), x, position, p, draws=8, seed=11)
        torch.testing.assert_close(rebuilt(shown, step), y.flatten(1), rtol=2e-3, atol=2e-3)  # factors are float16
        torch.testing.assert_close(shown.answers[:, step], probabilities, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["standard", "standout", "dropact", "dropcorr", "dropconnect", "gaussian"])
def test_feature_maps_show_as_the_layers_own_forward(name: str) -> None:
    model, x = network(name, "cifar10"), image("cifar10")
    shown = field(model, x, 1, draws=3, grid=(0.0, 0.3), seed=5)
    y, probabilities = forward(network(name, "cifar10"), x, 1, 0.3, draws=3, seed=5)
    assert shown.units == tuple(y.shape[1:])
    torch.testing.assert_close(rebuilt(shown, 1), y.flatten(1), rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(shown.answers[:, 1], probabilities, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", EVERY)
def test_a_grid_of_p_0_alone_shows_the_undisturbed_layer(name: str) -> None:
    shown = field(network(name), image(), 0, draws=2, grid=(0.0,))
    assert shown.falls is None or not (shown.falls == 0).any()
    torch.testing.assert_close(rebuilt(shown, 0), shown.activation.expand(2, -1), rtol=1e-3, atol=1e-3)


def test_weights_that_fall_are_those_that_the_forward_loses() -> None:
    model, x = network("dropconnect"), image()
    shown = field(model, x, 1, draws=4, grid=GRID, seed=3)
    assert shown.falls is not None
    assert shown.weight is not None
    layer = dropouts(model)[1]
    incoming = activations(model, x, 1)
    for step in range(1, len(GRID)):
        for draw in range(4):
            kept = shown.weight.flatten().masked_fill(shown.falls[draw] <= step, 0).view_as(layer.layer.weight)
            wanted = (incoming @ kept.T + layer.layer.bias).relu().detach()[0]
            y, _ = forward(network("dropconnect"), x, 1, GRID[step], draws=4, seed=3)
            torch.testing.assert_close(y[draw], wanted, rtol=1e-4, atol=1e-5)


def test_one_seed_is_one_draw_for_all_techniques() -> None:
    x = image()
    scores = {
        name: field(network(name), x, 0, draws=4, grid=GRID, seed=1)
        for name in ("standard", "standout", "dropact", "dropinv")
    }
    u = scores["standard"].score
    assert u is not None
    assert scores["standout"].score is not None
    assert torch.equal(u, scores["standout"].score)
    e, active = -torch.log(1 - u), scores["dropact"].activation > 0
    a = scores["dropact"].activation
    torch.testing.assert_close(scores["dropact"].score[:, active], (e / a)[:, active], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(scores["dropinv"].score[:, active], (e * a)[:, active], rtol=1e-4, atol=1e-6)


def test_layers_behind_act_only_when_asked() -> None:
    model, x = network("standard"), image()
    quiet = field(model, x, 0, draws=4, grid=GRID, seed=1)
    loud = field(model, x, 0, draws=4, grid=GRID, seed=1, onward=True)
    assert torch.equal(quiet.falls, loud.falls)
    assert torch.equal(quiet.clean, loud.clean)
    assert not torch.equal(quiet.answers, loud.answers)


@pytest.mark.parametrize("name", ["standard", "dropcorr"])
def test_the_layers_behind_act_as_in_their_own_forward_at_the_same_p(name: str) -> None:
    x = image()
    shown = field(network(name), x, 0, draws=4, grid=GRID, seed=1, onward=True)
    for step, p in enumerate(GRID[1:], 1):
        model = network(name)
        first, second = dropouts(model)
        set_p(model, p)
        second.train()
        y = rebuilt(shown, step)
        first.register_forward_hook(lambda *_, y=y: y)
        torch.manual_seed(2)  # the one after the field's own
        with torch.no_grad():
            torch.testing.assert_close(shown.answers[:, step], model(x).softmax(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_a_look_leaves_no_trace(name: str) -> None:
    model, x = network(name), image()
    model.features.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    buffers = [None if b is None else b.clone() for m in model.modules() for b in m._buffers.values()]
    modes, state = [m.training for m in model.modules()], torch.get_rng_state()
    ps = [layer.p for layer in dropouts(model)]
    field(model, x, 0, draws=4, grid=GRID, onward=True)
    keep_frequency(model, x, 0, draws=10, grid=GRID)
    positions(model, x)
    after = model.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    now = [b for m in model.modules() for b in m._buffers.values()]
    assert all((a is None and b is None) or torch.equal(a, b) for a, b in zip(buffers, now, strict=True))
    assert [m.training for m in model.modules()] == modes
    assert [layer.p for layer in dropouts(model)] == ps
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(layer.mask == "batch" for layer in dropouts(model) if isinstance(layer, DropConnect))


def test_a_look_that_fails_leaves_no_trace_either() -> None:
    model = network("dropconnect")
    with pytest.raises(RuntimeError):
        field(model, torch.randn(1, 3, 8, 8), 0, grid=GRID)
    assert not model.training
    assert dropouts(model)[0].mask == "batch"
    with pytest.raises(IndexError, match="2 dropout layers"):
        field(model, image(), 2, grid=GRID)


def test_positions_have_names_and_shapes() -> None:
    found = positions(network("dropconnect", "cifar10"), image("cifar10"))
    assert [(at.title, at.units) for at in found] == [
        ("Stage 1", (8, 32, 32)), ("Stage 2", (16, 16, 16)), ("Stage 3", (32, 8, 8)),
        ("Hidden 1", (64,)), ("Hidden 2", (64,)),
    ]  # fmt: skip
    sequential = nn.Sequential(nn.Linear(4, 6), TECHNIQUES["dropact"](0.5), nn.Linear(6, 2))
    assert positions(sequential, torch.randn(2, 4))[0].title == "Layer 1"


def test_standards_units_stay_as_often_as_p_says() -> None:
    draws, grid = 2000, (0.0, 0.2, 0.7, 1.0)
    kept = keep_frequency(network("standard"), image(), 0, draws=draws, grid=grid)
    assert kept is not None
    assert (kept[0] == 1).all()
    assert (kept[3] == 0).all()
    for step in (1, 2):
        # Bonferroni over 32 units and two steps at 1 in 10,000.
        low, high = band(grid, draws, 1 - 1e-4 / 64)[step]
        assert ((kept[step] >= low) & (kept[step] <= high)).all()


def test_active_units_fall_the_likelier_under_dropact_and_the_rarer_under_dropinv() -> None:
    x, grid = image(), (0.0, 0.2)
    a = field(network("dropact"), x, 0, draws=2, grid=grid).activation
    active = a > 0
    act = keep_frequency(network("dropact"), x, 0, draws=1000, grid=grid)[1]
    inv = keep_frequency(network("dropinv"), x, 0, draws=1000, grid=grid)[1]
    assert (act[~active] == 1).all()
    assert torch.corrcoef(torch.stack([a[active], act[active]]))[0, 1] < -0.8
    assert torch.corrcoef(torch.stack([a[active], inv[active]]))[0, 1] > 0.5


@pytest.mark.parametrize("name", ["gaussian", "variational", "dropconnect"])
def test_where_no_unit_falls_there_is_no_keep_frequency(name: str) -> None:
    assert keep_frequency(network(name), image(), 0, draws=10, grid=GRID) is None


def test_the_band_is_the_binomials() -> None:
    (one, half) = band((0.0, 0.5), 10, 0.95)
    assert one == (1.0, 1.0)
    # 2 to 8 of 10 heads have probability 1002/1024; 3 to 7 only 912/1024.
    assert half == (0.2, 0.8)
    for draws, level in ((1, 0.95), (100, 0.95), (400, 0.999)):
        low, high = stats.binom.interval(level, draws, [1 - p for p in FINE])
        assert band(FINE, draws, level) == tuple(zip(low / draws, high / draws, strict=True))


def test_plans_fit_their_budget() -> None:
    assert plan(128, 65_536) == (32, FINE)
    assert plan(1000, 1_000_000)[1] == FINE
    draws, grid = plan(32_768, 9_216)
    assert grid == COARSE
    assert draws * len(grid) * 32_768 <= 2_000_000
    assert plan(1000, 6_272_000) == (2, COARSE)
    assert draws_for(128) == 400
    assert draws_for(32_768) >= 100


def test_a_look_that_waits_for_another_finds_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network("variational")
    alphas, ps = [layer.alpha.clone() for layer in dropouts(model)], [layer.p for layer in dropouts(model)]
    at_the_door, found = threading.Event(), []

    class Door:
        """The lock, which says when the second thread stands before it."""

        lock = threading.RLock()

        def __enter__(self) -> None:
            if threading.current_thread() is second:
                at_the_door.set()
            self.lock.acquire()

        def __exit__(self, *_: object) -> None:
            self.lock.release()

    def look() -> None:
        with untouched(model):
            found.append([layer.p for layer in dropouts(model)])

    monkeypatch.setattr(models, "ONE_AT_A_TIME", Door())
    second = threading.Thread(target=look)
    with untouched(model):
        model.train()
        for layer in dropouts(model):
            layer.turn_to(0.9)
        second.start()
        assert at_the_door.wait(60)
        assert not found
    second.join()
    assert found == [ps]
    assert [layer.p for layer in dropouts(model)] == ps
    assert all(torch.equal(layer.alpha, alpha) for layer, alpha in zip(dropouts(model), alphas, strict=True))
    assert not any(module.training for module in model.modules())
