"""Monte Carlo dropout: its passes are the model's own forwards, and their mean is the sum over all masks."""

from __future__ import annotations

import itertools
import math
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from core.dropout import TECHNIQUES, DropConnect, DropCorr, Standard, dropouts, factory
from core.inspection import Answers, activations, monte_carlo
from models import build

EVERY = list(TECHNIQUES)
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in EVERY),
    ("standard", {"vanilla": True}),
    ("dropact", {"count": "active", "rescale": "unbiased"}),
    ("dropinv", {"rescale": "mass"}),
    ("dropcorr", {"rescale": "uniform"}),
    ("dropconnect", {"mask": "example"}),
    ("variational", {"form": "weight"}),
    ("standout", {"learn": True}),
]
# Bounds that chance breaks once in 10,000 tests.
CHANCE = 1e-4


def network(name: str, data: str = "digits", **knobs: Any) -> nn.Module:
    torch.manual_seed(2)
    model = build(data, factory(name, **knobs), width=0.25)
    for index, layer in enumerate(dropouts(model)):
        if isinstance(layer, DropCorr):
            clean = build(data, factory("standard"), width=0.25)
            layer.set_reference(activations(clean, torch.randn(20, *model.input), index))
    return model.eval()


def image(data: str = "digits") -> Tensor:
    shape = build(data, factory("none"), width=0.25).input
    return 2 * torch.randn(1, *shape, generator=torch.Generator().manual_seed(4))


def acting(model: nn.Module) -> nn.Module:
    """The model with its dropout layers, and nothing else, in training."""
    model.eval()
    for layer in dropouts(model):
        layer.training = True
    return model


def tiny() -> nn.Sequential:
    """Two layers of Standard dropout with 4 and 3 units: 2^7 masks."""
    torch.manual_seed(5)
    parts = nn.Linear(3, 4), nn.Tanh(), Standard(0.3), nn.Linear(4, 3), nn.Tanh(), Standard(0.6), nn.Linear(3, 3)
    model = nn.Sequential(*parts)
    with torch.no_grad():
        for layer in (model[0], model[3], model[6]):
            layer.weight.mul_(3)
    return model.eval()


def every_answer(model: nn.Sequential, x: Tensor) -> tuple[Tensor, Tensor]:
    """Of all masks of :func:`tiny`, by plain products: their probabilities (128,), and the answers (128, 3)."""
    chances, answers = [], []
    for bits in itertools.product((0.0, 1.0), repeat=7):
        first, second = torch.tensor(bits[:4]), torch.tensor(bits[4:])
        h = torch.tanh(model[0](x)) * first / 0.7
        h = torch.tanh(model[3](h)) * second / 0.4
        kept_1, kept_2 = int(first.sum()), int(second.sum())
        chances.append(0.7**kept_1 * 0.3 ** (4 - kept_1) * 0.4**kept_2 * 0.6 ** (3 - kept_2))
        answers.append(model[6](h).softmax(1)[0].detach())
    return torch.tensor(chances).double(), torch.stack(answers).double()


def within(found: Tensor, mean: Tensor, sd: Tensor, passes: int) -> bool:
    """Whether means over passes lie where the central limit theorem has them, all at once (Bonferroni)."""
    reach = stats.norm.isf(CHANCE / 2 / len(mean)) * sd / math.sqrt(passes)
    return bool(((found - mean).abs() <= reach).all())


# The passes


@pytest.mark.parametrize(("name", "knobs"), OPTIONS, ids=str)
@pytest.mark.parametrize("position", [0, 1])
def test_passes_are_the_models_own_forward(name: str, knobs: dict[str, Any], position: int) -> None:
    x, passes = image(), 12
    shown = monte_carlo(network(name, **knobs), x, passes=passes, p=0.3, seed=7, position=position)

    plain = acting(network(name, **knobs))
    for layer in dropouts(plain):
        layer.turn_to(0.3)
        if isinstance(layer, DropConnect):
            layer.mask = "example"
    came_out: list[Tensor] = []
    dropouts(plain)[position].register_forward_hook(lambda _, inputs, y: came_out.append(y))
    torch.manual_seed(7)
    with torch.no_grad():
        logits = plain(x.expand(passes, -1, -1, -1))
    torch.testing.assert_close(shown.probabilities.float(), logits.softmax(1), rtol=1e-4, atol=1e-6)
    rebuilt = shown.activation * shown.factor
    if shown.fallen is not None:
        rebuilt = rebuilt.masked_fill(shown.fallen, 0)
    at_work = shown.activation != 0
    torch.testing.assert_close(rebuilt[at_work], came_out[0].flatten(1)[at_work], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["standard", "gaussian", "dropact", "dropinv", "dropconnect"])
def test_passes_are_a_loop_of_single_forwards(name: str) -> None:
    # With one layer that acts, a loop takes the same numbers from torch's generator in the same order.
    model, x = network(name), image()
    dropouts(model)[1].p = 0.0
    shown = monte_carlo(model, x, passes=6, seed=3)
    acting(model)
    torch.manual_seed(3)
    with torch.no_grad():
        for answer in shown.probabilities:
            torch.testing.assert_close(model(x).softmax(1)[0].double(), answer, rtol=1e-4, atol=1e-6)


def test_the_mean_over_passes_is_the_sum_over_all_masks() -> None:
    model, x, passes = tiny(), torch.tensor([[1.0, -2.0, 0.5]]), 20_000
    weights, answers = every_answer(model, x)
    mean = weights @ answers
    sd = (weights @ (answers - mean).square()).sqrt()
    shown = monte_carlo(model, x, passes=passes)
    assert within(shown.mean, mean, sd, passes)
    assert not within(shown.mean, model(x).softmax(1)[0].double().detach(), sd, passes)
    share = torch.stack([weights[answers.argmax(1) == k].sum() for k in range(3)])
    assert within(shown.votes / passes, share, (share * (1 - share)).sqrt(), passes)
    entropies = torch.tensor(stats.entropy(answers.numpy(), base=2, axis=1))
    middle = weights @ entropies
    spread = (weights @ (entropies - middle).square()).sqrt()
    assert within(torch.tensor([shown.expected_entropy]), middle[None], spread[None], passes)
    # The plug-in entropy of a mean of T passes errs by about (K-1)/(2T ln 2) bits at most, and by its slope times sd.
    slope = (mean.log2() - mean.log2().mean()).abs() * sd
    wanted = stats.entropy(mean.numpy(), base=2) - float(middle)
    error = stats.norm.isf(CHANCE / 2) * float(slope.sum() + spread) / math.sqrt(passes) + 2 / passes
    assert abs(shown.mutual_information - wanted) <= error < 0.1 * wanted


def test_units_fall_as_often_as_p_says_at_every_layer() -> None:
    model, x, passes = tiny(), torch.randn(1, 3), 10_000
    for position, p in ((0, 0.3), (1, 0.6)):
        fallen = monte_carlo(model, x, passes=passes, position=position).fallen
        assert fallen is not None
        low, high = stats.binom.interval(1 - CHANCE / fallen.shape[1], passes, p)
        assert ((fallen.sum(0) >= low) & (fallen.sum(0) <= high)).all()


def test_every_dropconnect_pass_has_a_weight_mask_of_its_own() -> None:
    torch.manual_seed(0)
    model, x, passes = nn.Sequential(DropConnect(nn.Linear(2, 2), 0.4)).eval(), torch.tensor([[1.0, 2.0]]), 20_000
    layer = dropouts(model)[0]
    shown = monte_carlo(model, x, passes=passes)
    masks = [torch.tensor(bits).view(2, 2) for bits in itertools.product((0.0, 1.0), repeat=4)]
    chances = torch.tensor([0.6 ** float(m.sum()) * 0.4 ** float(4 - m.sum()) for m in masks]).double()
    answers = torch.stack([(x @ (layer.layer.weight * m).T + layer.layer.bias).softmax(1)[0] for m in masks]).double()
    counts = torch.stack([(shown.probabilities - a).abs().amax(1) < 1e-5 for a in answers.detach()]).sum(1)
    assert counts.sum() == passes
    assert stats.chisquare(counts.numpy(), (chances * passes).numpy()).pvalue > CHANCE
    assert shown.fallen is None


def test_a_pass_is_independent_of_those_beside_it_in_dropcorr() -> None:
    # Without a reference an image alone has no covariance: units fall uniformly, k of them, whatever the batch.
    model, x, passes = network("dropcorr"), image(), 4000
    for layer in dropouts(model):
        layer.set_reference(None)
    for position in (0, 1):
        fallen = monte_carlo(model, x, passes=passes, p=0.25, position=position).fallen
        assert fallen is not None
        assert (fallen.sum(1) == 8).all()
        low, high = stats.binom.interval(1 - CHANCE / 32, passes, 0.25)
        assert ((fallen.sum(0) >= low) & (fallen.sum(0) <= high)).all()
        # Pairs fall together as k of N drawn without replacement do.
        together = fallen.float().T @ fallen.float()
        low, high = stats.binom.interval(1 - CHANCE / (32 * 31), passes, 8 / 32 * 7 / 31)
        apart = ~torch.eye(32, dtype=torch.bool)
        assert ((together[apart] >= low) & (together[apart] <= high)).all()


def test_dropcorr_keeps_to_the_covariance_that_training_left() -> None:
    model, x = network("dropcorr", refresh_every=5), image()
    for layer in dropouts(model):
        layer.set_reference(None)
    acting(model)(torch.randn(20, 1, 8, 8))
    model.eval()
    kept = [layer.cache.clone() for layer in dropouts(model)]
    left = monte_carlo(model, x, passes=9, p=0.3, seed=1)
    assert all(torch.equal(layer.cache, cache) for layer, cache in zip(dropouts(model), kept, strict=True))
    for layer, cache in zip(dropouts(model), kept, strict=True):
        layer.reference = cache
    assert torch.equal(left.probabilities, monte_carlo(model, x, passes=9, p=0.3, seed=1).probabilities)


def test_parts_change_no_law_and_bound_what_is_needed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x, passes = tiny(), torch.tensor([[1.0, -2.0, 0.5]]), 5000
    largest: list[int] = []
    dropouts(model)[0].register_forward_hook(lambda _, inputs, y: largest.append(y.numel()))
    monkeypatch.setattr(import_module("core.inspection.monte_carlo"), "MOST_NUMBERS", 401)
    shown = monte_carlo(model, x, passes=passes)
    assert max(largest) <= 401 < passes * 4
    assert shown.probabilities.shape == (passes, 3)
    assert shown.fallen is not None
    assert shown.fallen.shape == shown.activation.shape == shown.factor.shape == (passes, 4)
    assert len({tuple(row) for row in shown.fallen.tolist()}) == 16
    weights, answers = every_answer(model, x)
    mean = weights @ answers
    assert within(shown.mean, mean, (weights @ (answers - mean).square()).sqrt(), passes)


@pytest.mark.parametrize("name", EVERY)
def test_without_dropout_all_passes_agree(name: str) -> None:
    model, x = network(name), image()
    shown = monte_carlo(model, x, passes=20, p=0.0)
    for layer in dropouts(model):
        layer.turn_to(0.0)
    clean = model(x).softmax(1).double().detach()
    torch.testing.assert_close(shown.probabilities, clean.expand(20, -1), rtol=1e-5, atol=1e-6)
    assert shown.mutual_information < 1e-6
    assert shown.votes.tolist() == [20 if k == clean.argmax() else 0 for k in range(10)]
    assert shown.fallen is None or not shown.fallen.any()
    torch.testing.assert_close(shown.factor, torch.ones_like(shown.factor))


def test_p_is_each_layers_own_unless_given() -> None:
    model, x = network("dropact"), image()
    model.hidden_1.dropout.p, model.hidden_2.dropout.p = 0.25, 0.0
    for layer in dropouts(model):
        layer.count = "layer"
    first, second = (monte_carlo(model, x, passes=3, position=at).fallen for at in (0, 1))
    assert first is not None
    assert second is not None
    assert (first.sum(1) == 8).all()
    assert not second.any()
    third = monte_carlo(model, x, passes=3, p=0.125, position=1).fallen
    assert third is not None
    assert (third.sum(1) == 4).all()
    with pytest.raises(ValueError, match="must lie in"):
        monte_carlo(model, x, p=1.5)


# What must not act, and what must stay


def test_batchnorm_stays_in_eval() -> None:
    model, x = network("standard", "cifar10"), image("cifar10")
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    generator = torch.Generator().manual_seed(8)
    for norm in norms:
        norm.running_mean = torch.randn(norm.num_features, generator=generator)
        norm.running_var = 0.5 + torch.rand(norm.num_features, generator=generator)
    before = [(m.running_mean.clone(), m.running_var.clone(), int(m.num_batches_tracked)) for m in norms]
    shown = monte_carlo(model, x, passes=5, seed=2)
    after = [(m.running_mean, m.running_var, int(m.num_batches_tracked)) for m in norms]
    for (mean, var, seen), (mean_after, var_after, seen_after) in zip(before, after, strict=True):
        assert torch.equal(mean, mean_after)
        assert torch.equal(var, var_after)
        assert seen == seen_after
    torch.manual_seed(2)
    with torch.no_grad():
        wanted = acting(model)(x.expand(5, -1, -1, -1)).softmax(1)
        flipped = model.train()(x.expand(5, -1, -1, -1)).softmax(1)
    torch.testing.assert_close(shown.probabilities.float(), wanted, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(shown.probabilities.float(), flipped, atol=1e-2)


def test_what_a_layer_wraps_stays_in_eval() -> None:
    torch.manual_seed(1)
    noisy = TECHNIQUES["standout"](nn.Linear(4, 30), 0.0, activation=nn.RReLU(0.0, 0.9))
    model = nn.Sequential(noisy, nn.Linear(30, 3)).eval()
    assert monte_carlo(model, torch.randn(1, 4), passes=8, p=0.0).mutual_information < 1e-6
    unwatched = nn.Sequential(noisy, nn.Linear(30, 3), Standard(0.0)).eval()
    assert monte_carlo(unwatched, torch.randn(1, 4), passes=8, p=0.0, position=1).mutual_information < 1e-6


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("fails", [False, True])
def test_a_look_leaves_no_trace(name: str, fails: bool) -> None:
    model, x = network(name), torch.randn(1, 3, 8, 8) if fails else image()
    model.features.train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    buffers = [None if b is None else b.clone() for m in model.modules() for b in m._buffers.values()]
    modes, state, ps = [m.training for m in model.modules()], torch.get_rng_state(), [d.p for d in dropouts(model)]
    if fails:
        with pytest.raises(RuntimeError):
            monte_carlo(model, x, p=0.7)
    else:
        monte_carlo(model, x, passes=4, p=0.7, position=1)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    now = [b for m in model.modules() for b in m._buffers.values()]
    assert all((a is None and b is None) or torch.equal(a, b) for a, b in zip(buffers, now, strict=True))
    assert [m.training for m in model.modules()] == modes
    assert [layer.p for layer in dropouts(model)] == ps
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(layer.mask == "batch" for layer in dropouts(model) if isinstance(layer, DropConnect))


def test_what_cannot_be_asked_is_said() -> None:
    model, x = network("standard"), image()
    with pytest.raises(IndexError, match="2 dropout layers"):
        monte_carlo(model, x, position=2)
    with pytest.raises(IndexError, match="0 dropout layers"):
        monte_carlo(network("none"), x)
    with pytest.raises(ValueError, match="not 0 of 1"):
        monte_carlo(model, x, passes=0)
    with pytest.raises(ValueError, match="not 200 of 2"):
        monte_carlo(model, x.expand(2, -1, -1, -1))
    assert monte_carlo(model, x, passes=1).probabilities.shape == (1, 10)


def test_a_layer_behind_meets_other_units_in_every_pass() -> None:
    model, x = network("standard"), image()
    first, second = (monte_carlo(model, x, passes=20, p=0.4, position=at) for at in (0, 1))
    assert torch.equal(first.activation, activations(model, x, 0).expand(20, -1))
    assert len({tuple(row) for row in second.activation.tolist()}) == 20
    assert torch.equal(first.probabilities, second.probabilities)


# What the answers say


def passes_of(probabilities: Tensor) -> Answers:
    return Answers(probabilities.double())


def test_entropies_are_scipys_and_add_up() -> None:
    p = torch.randn(300, 7).mul(4).softmax(1)
    p[0] = torch.eye(7)[3]  # 0·log 0 = 0
    shown = passes_of(p)
    total, within_passes = stats.entropy(shown.mean.numpy(), base=2), stats.entropy(p.numpy(), base=2, axis=1).mean()
    assert shown.predictive_entropy == pytest.approx(total, abs=1e-6)
    assert shown.expected_entropy == pytest.approx(within_passes, abs=1e-6)
    # I is also the mean divergence of a pass from the mean.
    divergence = stats.entropy(p.double().numpy(), shown.mean.numpy()[None], base=2, axis=1).mean()
    assert shown.mutual_information == pytest.approx(divergence, abs=1e-6)


def test_entropies_at_the_corners() -> None:
    agreed = passes_of(torch.full((9, 4), 0.25))
    assert (agreed.predictive_entropy, agreed.mutual_information) == (pytest.approx(2), pytest.approx(0))
    torn = passes_of(torch.eye(4).repeat(5, 1))
    assert (torn.predictive_entropy, torn.expected_entropy) == (pytest.approx(2), pytest.approx(0))
    assert torn.mutual_information == pytest.approx(2)
    sure = passes_of(torch.eye(4)[:1].repeat(5, 1))
    assert (sure.predictive_entropy, sure.mutual_information) == (0, 0)


def test_votes_quantiles_outliers() -> None:
    p = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.85, 0.15], [0.9, 0.1]])
    shown = passes_of(p)
    assert shown.votes.tolist() == [4, 1]
    assert shown.says.tolist() == [0, 0, 1, 0, 0]
    wanted = np.quantile(p.double().numpy(), [0.05, 0.5, 0.95], axis=0)
    np.testing.assert_allclose(shown.quantiles(0.05, 0.5, 0.95).numpy(), wanted, atol=1e-12)
    # The mean is 0.71: 0.61 away lies pass 2; passes 0 and 4 tie at 0.19, the earlier one first.
    assert shown.outliers(3) == [2, 0, 4]
    assert shown.distance[2] == pytest.approx(0.61)
    assert shown.typical == 1
    assert len(shown.outliers(99)) == 5
