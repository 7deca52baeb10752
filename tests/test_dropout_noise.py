"""Uniform random numbers by both ways: their law, who determines them, and what torch asks of an operator."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.utils.checkpoint import checkpoint

import core.dropout.noise as module
from core.dropout import Standard
from core.dropout.noise import MANY, stretched, uniforms

ON = torch.zeros(())
SHAPES = [(MANY - 1,), (MANY,), (MANY + 1,), (300, 401), (1, 3, 20_001)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_numbers_are_uniform_on_multiples_of_two_to_the_minus_24(shape: tuple[int, ...]) -> None:
    u = uniforms(shape, ON)
    assert u.shape == shape
    assert u.dtype == torch.float32
    assert u.is_contiguous()
    whole = u.flatten().double() * 2**24
    assert torch.equal(whole, whole.round())
    assert whole.min() >= 0
    assert whole.max() < 2**24
    assert stats.kstest(u.flatten().numpy(), "uniform").pvalue > 1e-6
    # Each of the 24 bits is one in half of the numbers.
    ones = [int((whole.long() >> bit & 1).sum()) for bit in range(24)]
    assert min(stats.binomtest(each, u.numel()).pvalue for each in ones) > 1e-6 / 24


def test_neighbours_and_draws_do_not_depend_on_each_other() -> None:
    """Pairs (u_i, u_i+1), and pairs over two draws, fill a grid of 16 × 16 evenly: χ² over 2^17 pairs."""
    one, two = uniforms((2**18,), ON), uniforms((2**18,), ON)
    for pairs in (one.view(-1, 2), torch.stack([one, two], 1)[::2]):
        cell = (pairs * 16).long()
        counts = torch.bincount(cell[:, 0] * 16 + cell[:, 1], minlength=256)
        assert stats.chisquare(counts.numpy()).pvalue > 1e-6


def test_torch_s_generator_determines_them() -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    one, two = uniforms((MANY,), ON), uniforms((MANY,), ON)
    assert not torch.equal(one, two)
    torch.set_rng_state(state)
    assert torch.equal(uniforms((MANY,), ON), one)
    assert torch.equal(uniforms((MANY,), ON), two)


def test_the_seed_decides_and_a_shorter_draw_begins_alike() -> None:
    seed = torch.tensor(2**63 - 2)
    assert torch.equal(stretched(seed, [7]), stretched(seed, [8])[:7])
    assert torch.equal(stretched(seed, [2, 4]).flatten(), stretched(seed, [8]))
    assert not torch.equal(stretched(seed, [8]), stretched(seed - 1, [8]))
    assert stretched(seed, [0, 3]).shape == (0, 3)


def test_torch_finds_nothing_wrong_with_the_operator() -> None:
    torch.library.opcheck(stretched, (torch.tensor(5), [3, 7]))


@pytest.mark.parametrize("randomness", ["different", "same"])
def test_slices_of_vmap_draw_as_it_says(randomness: str) -> None:
    layer, x = Standard(0.5), torch.ones(3, MANY)
    masks = torch.vmap(layer, randomness=randomness)(x) > 0
    alike = torch.equal(masks[0], masks[1]) or torch.equal(masks[1], masks[2])
    assert alike is (randomness == "same")
    # Of two masks, half of the units agree: a binomial.
    if not alike:
        assert stats.binomtest(int((masks[0] == masks[1]).sum()), MANY).pvalue > 1e-6


def test_vmap_refuses_without_being_told() -> None:
    with pytest.raises(RuntimeError, match="randomness"):
        torch.vmap(Standard(0.5))(torch.ones(2, MANY))


def test_a_checkpointed_layer_draws_its_mask_again() -> None:
    x = torch.ones(2, MANY, requires_grad=True)
    y: Tensor = checkpoint(Standard(0.5), x, use_reentrant=False)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, y.detach())


def test_without_numpy_torch_draws() -> None:
    code = (
        "import importlib.util as util\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'numpy' else found(name, *more)\n"
        "import torch\n"
        "from core.dropout import noise as module\n"
        "torch.manual_seed(1); u = module.uniforms((module.MANY,), torch.zeros(()))\n"
        "torch.manual_seed(1); print(torch.equal(u, torch.rand(module.MANY)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "True", done.stderr
    torch.manual_seed(1)
    u = uniforms((MANY,), ON)
    torch.manual_seed(1)
    assert module._NUMPY
    assert not torch.equal(u, torch.rand(MANY))
