"""Corners where dropout layers meet what people really pass: in-place activations, other dtypes, single numbers."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from core.dropout import TECHNIQUES, DropConnect, DropCorr, Dropout, Standout, Variational


@pytest.mark.parametrize("make", [nn.ReLU, nn.ELU, nn.SiLU, nn.Hardtanh, nn.LeakyReLU])
@pytest.mark.parametrize("technique", [Standout, DropConnect, partial(Standout, learn=True), Variational], ids=str)
def test_an_activation_in_place_changes_nothing(make: type[nn.Module], technique: type[Dropout]) -> None:
    layer, x = nn.Linear(6, 5), torch.randn(4, 6)
    plain, in_place = (technique(copy.deepcopy(layer), 0.4, activation=make(inplace=flag)) for flag in (False, True))
    for training in (True, False):
        outputs = []
        for module in (plain, in_place):
            torch.manual_seed(1)
            y = module.train(training)(x)
            y.sum().backward()
            outputs.append(y)
        torch.testing.assert_close(*outputs)
    for mine, theirs in zip(plain.parameters(), in_place.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


@pytest.mark.parametrize("name", ["standard", "gaussian", "variational", "dropact", "dropinv", "dropcorr"])
def test_a_single_number_is_one_example_of_one_unit(name: str) -> None:
    assert TECHNIQUES[name](0.5)(torch.tensor(2.0)).shape == ()


def test_double_precision_stays_double() -> None:
    module = DropConnect(nn.Linear(4, 3).double(), 0.5, nn.ReLU()).eval()
    assert torch.autograd.gradcheck(module, (torch.randn(2, 4, dtype=torch.float64, requires_grad=True),))


def test_whole_numbers_may_be_given_as_floats() -> None:
    assert isinstance(DropCorr(0.5, refresh_every=3.0).refresh_every, int)
    assert isinstance(Variational(0.5, units=4.0).units, int)
