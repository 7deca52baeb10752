"""What a layer says it does to each unit is what it does, at every p: the ground that pictures of masks stand on."""

from __future__ import annotations

import operator

import pytest
import torch
from torch import Tensor

from core.dropout import TECHNIQUES, Dropout, Standout, Variational
from tests.dropout_cases import CASES, Case

PS = (0.0, 0.01, 0.1, 0.2, 0.29, 0.5, 0.75, 0.99, 1.0)
SIGNS = {"<": operator.lt, "≤": operator.le, "≥": operator.ge, ">": operator.gt}
every_case = pytest.mark.parametrize("case", CASES, ids=str)
dropping_case = pytest.mark.parametrize("case", [c for c in CASES if TECHNIQUES[c.name].drops], ids=str)


@every_case
def test_at_p_0_nothing_disturbs(case: Case) -> None:
    layer, x = case.build(0.0), case.input()
    torch.testing.assert_close(layer.undisturbed(x), layer(x))


@pytest.mark.parametrize("case", [c for c in CASES if TECHNIQUES[c.name].drops != "weights"], ids=str)
@torch.no_grad()
def test_the_effect_on_undisturbed_units_is_the_output(case: Case) -> None:
    layer, x = case.build(), case.input()
    noise = layer.draw(x)
    clean = layer.undisturbed(x)
    for p in PS[1:-1]:
        layer.turn_to(p)
        effect = layer.effect(x, noise)
        wanted = clean * effect.factor
        if effect.fallen is not None:
            wanted = wanted.masked_fill(effect.fallen, 0)
        # A layer with noise on its weights shows as the ratio of its outputs, which says nothing of units at rest.
        seen = torch.where(clean != 0, layer.perturb(x, noise), wanted)
        torch.testing.assert_close(seen, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", [c for c in CASES if c.name == "dropconnect"], ids=str)
@torch.no_grad()
def test_the_weights_said_to_stay_give_the_output(case: Case) -> None:
    layer, x = case.build(), case.input()
    noise = layer.draw(x)
    for p in PS[1:]:
        layer.p = p
        fallen = layer.effect(x, noise).fallen
        for b in range(len(x)):
            mask = fallen[b] if layer.mask == "example" else fallen
            bare = case.layer()
            bare.weight.masked_fill_(mask, 0)
            wanted = case.activation()(bare(x[b : b + 1]))
            torch.testing.assert_close(layer.perturb(x, noise)[b : b + 1], wanted, rtol=1e-4, atol=1e-5)


@dropping_case
@torch.no_grad()
def test_what_falls_at_each_p_is_what_the_effect_says_there(case: Case) -> None:
    layer, x = case.build(0.37), case.input()
    noise = layer.draw(x)
    learned = [q.clone() for q in layer.noise_parameters()]
    at = layer.falls_at(x, noise, PS)
    assert layer.p == 0.37
    assert all(torch.equal(a, b) for a, b in zip(layer.noise_parameters(), learned, strict=True))
    for step, p in enumerate(PS):
        layer.turn_to(p)
        fallen = layer.effect(x, noise).fallen if p else torch.zeros_like(at, dtype=torch.bool)
        assert torch.equal(at <= step, fallen), f"p={p}"


@dropping_case
@torch.no_grad()
def test_the_score_against_its_threshold_says_what_falls(case: Case) -> None:
    layer, x = case.build(), case.input()
    noise = layer.draw(x)
    for p in PS[1:-1]:
        layer.p = p
        effect = layer.effect(x, noise)
        decided = SIGNS[layer.falls_when](effect.score, effect.threshold)
        assert torch.equal(decided.expand_as(effect.fallen), effect.fallen)


def test_a_race_shows_its_keys_as_the_formula_has_them() -> None:
    x, u = torch.tensor([[0.5, 2.0, 0.0]]), torch.tensor([[0.3, 0.6, 0.9]])
    e = -torch.log(1 - u)
    act = TECHNIQUES["dropact"](0.4).effect(x, (u,))
    inv = TECHNIQUES["dropinv"](0.4).effect(x, (u,))
    torch.testing.assert_close(act.score[0, :2], (e / x)[0, :2])
    torch.testing.assert_close(inv.score[0, :2], (e * x)[0, :2])
    assert act.score[0, 2] == inv.score[0, 2] == torch.inf


def test_a_technique_that_tells_nothing_of_itself_shows_as_factors() -> None:
    class Doubling(Dropout):
        def draw(self, x: Tensor) -> tuple[Tensor, ...]:
            return (torch.rand_like(x),)

        def perturb(self, x: Tensor, noise: tuple[Tensor, ...]) -> Tensor:
            return x * torch.where(noise[0] < self.p, 2.0, 1.0)

    layer = Doubling(0.5)
    x, u = torch.tensor([[1.0, 0.0, -3.0]]), torch.tensor([[0.1, 0.1, 0.9]])
    effect = layer.effect(x, (u,))
    assert effect.fallen is None
    assert effect.factor.tolist() == [[2.0, 1.0, 1.0]]
    assert layer.falls_at(x, (u,), PS).tolist() == len(PS)


def test_turning_starts_what_is_learned_from_that_p() -> None:
    variational = Variational(0.5)
    variational.turn_to(0.2)
    assert variational.alpha.item() == pytest.approx(0.25)
    standout = Standout(torch.nn.Linear(2, 3), learn=True)
    standout.turn_to(0.2)
    assert standout.keep(torch.zeros(1, 3)).tolist() == [pytest.approx([0.8] * 3)]
    given = Standout(torch.nn.Linear(2, 3), learn=True, beta=0.5)
    given.turn_to(0.2)
    assert given.beta.item() == 0.5


def test_every_technique_says_what_it_costs_and_works_an_example() -> None:
    for name, cls in TECHNIQUES.items():
        assert cls.cost, name
        assert "{y}" in cls.worked, name
        assert bool(cls.falls_when) == bool(cls.drops), name
