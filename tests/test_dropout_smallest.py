"""The k smallest of each row: both kernels against sorted rows, ties, and what torch asks of an operator."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

import core.dropout.smallest as module
from core.dropout import DropAct
from core.dropout.smallest import ranks, smallest


def by_halves(score: Tensor, k: int, k_row: Tensor | None) -> Tensor:
    """What CPUs run where sorting is faster than selecting: here for rows of 4 to 8, so that most fit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_sorts_faster", lambda: True)
        patch.setattr(module, "_IN_REGISTERS", 4)
        return smallest(score, k, k_row)


# By topk, as on a GPU; what CPUs run is behind the operator.
KERNELS = {"topk": smallest._init_fn, "operator": smallest, "halves": by_halves}


@st.composite
def selections(draw: st.DrawFn) -> tuple[Tensor, int, Tensor | None]:
    """Scores (B, N) with many ties and +∞ among them, k, and now and then a k for each row."""
    size, n = draw(st.integers(1, 5)), draw(st.integers(1, 12))
    values = st.sampled_from([-2.5, 0.0, 1.0, 1.5, 3e38, math.inf])
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    score = torch.tensor(draw(st.lists(values, min_size=size * n, max_size=size * n)), dtype=dtype).view(size, n)
    k = draw(st.integers(1, n))
    rows = draw(st.none() | st.lists(st.integers(0, k), min_size=size, max_size=size))
    return score, k, None if rows is None else torch.tensor(rows)[:, None]


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
@given(given_=selections())
def test_the_smallest_finite_ones_fall_and_just_so_many(
    kernel: object, given_: tuple[Tensor, int, Tensor | None]
) -> None:
    score, k, k_row = given_
    kept = score.clone()
    mask = kernel(score, k, k_row)  # type: ignore[operator]
    for row, (values, falls) in enumerate(zip(score.numpy(), mask.numpy(), strict=True)):
        wanted = k if k_row is None else int(k_row[row])
        expected = np.sort(values[np.isfinite(values)])[:wanted]
        assert np.array_equal(np.sort(values[falls]), expected)
    assert torch.equal(score, kept)


@pytest.mark.parametrize("faster", [False, True], ids=["selected", "halves"])
@pytest.mark.parametrize("n", [512, 513, 1000, 1023, 1024, 1025])
def test_the_kth_of_common_widths_is_that_of_a_sorted_row(
    monkeypatch: pytest.MonkeyPatch, n: int, faster: bool
) -> None:
    """Of both signs, with ties and without, in order and out of it, for one k and for a k of each row."""
    monkeypatch.setattr(module, "_sorts_faster", lambda: faster)
    ordered = np.arange(n) - n // 3
    rng = np.random.default_rng(n)
    rows = [ordered, ordered[::-1], rng.permutation(ordered), rng.integers(-9, 9, n), np.full(n, -5)]
    rows = np.array(rows, np.int32) * 2**20
    ranked = np.sort(rows, axis=1)
    for k in (1, 2, n // 5, n // 2, n // 2 + 1, n - 1, n):
        assert np.array_equal(module._kth(rows, np.array([[k]])), ranked[:, k - 1 : k])
        wanted = rng.integers(1, k + 1, (len(rows), 1))
        assert np.array_equal(module._kth(rows, wanted), np.take_along_axis(ranked, wanted - 1, 1))


def test_the_way_to_select_is_tried_once_and_taken_by_what_it_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    for seconds, faster in (([3.0, 1.0], True), ([1.0, 1.0], False)):
        costs = iter(seconds)
        monkeypatch.setattr(module.timeit, "repeat", lambda *_, costs=costs, **__: [9.0, next(costs)])
        module._sorts_faster.cache_clear()
        assert module._sorts_faster() is faster
        assert module._sorts_faster() is faster
    module._sorts_faster.cache_clear()


@pytest.mark.parametrize("k_row", [None, torch.tensor([[2], [0], [3]])], ids=["k", "k_row"])
def test_torch_finds_nothing_wrong_with_the_operator(k_row: Tensor | None) -> None:
    torch.library.opcheck(smallest, (torch.rand(3, 7), 3, k_row))
    torch.library.opcheck(smallest, (torch.rand(7, 3).T, 3, k_row))


def test_slices_of_vmap_are_selected_from_one_by_one() -> None:
    score, k_row = torch.rand(4, 3, 9), torch.randint(0, 6, (4, 1))
    mask = torch.vmap(lambda each: smallest(each, 5, k_row), in_dims=1)(score)
    assert torch.equal(mask, torch.stack([smallest(score[:, i], 5, k_row) for i in range(3)]))


def test_every_rank_is_given_once_and_in_order() -> None:
    score = torch.randint(0, 4, (50, 20)).float()
    place = ranks(score)
    assert torch.equal(place.sort(1).values, torch.arange(20).expand(50, 20))
    inverse = place.argsort(1)
    assert (score.gather(1, inverse).diff(dim=1) >= 0).all()


def test_of_equal_scores_none_is_favoured_for_its_place() -> None:
    """Three of seven equal ones fall behind a random smallest: every unit alike, by χ² over 20,000 rows."""
    rows = 20_000
    score = torch.cat([torch.rand(rows, 1), torch.ones(rows, 7)], 1)
    counts = smallest(score, 4, None)[:, 1:].sum(0)
    assert int(counts.sum()) == 3 * rows
    # A unit's count is binomial; drawing without replacement shrinks the statistic by (7 - 3) / (7 - 1).
    statistic = float(((counts - rows * 3 / 7) ** 2 / (rows * 3 / 7)).sum()) / (1 - 3 / 7) * 6 / 7
    assert statistic < stats.chi2.ppf(1 - 1e-6, 6)


def test_ties_fall_in_one_order_whatever_k() -> None:
    score = torch.cat([torch.rand(30, 2), torch.ones(30, 8)], 1)
    masks = [smallest(score, k, None) for k in range(1, 11)]
    for smaller, larger in itertools.pairwise(masks):
        assert (smaller <= larger).all()
        assert ((larger & ~smaller).sum(1) == 1).all()


def test_masks_at_every_p_agree_with_the_step_at_which_units_fall_when_scores_tie() -> None:
    """Noise of only three values makes ties everywhere."""
    layer, x = DropAct(0.5), torch.ones(6, 12)
    noise = (torch.randint(0, 3, (6, 12)) / 4,)
    grid = [step / 12 for step in range(13)]
    at = layer.falls_at(x, noise, grid)
    for step, p in enumerate(grid):
        layer.p = p
        assert torch.equal(layer.fallen(x, noise), at <= step)


def test_without_numpy_topk_selects() -> None:
    code = (
        "import importlib.util as util\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, *more: None if name == 'numpy' else found(name, *more)\n"
        "import torch\n"
        "from core.dropout import smallest as module\n"
        "assert module.smallest._backend_fns.keys() <= {None}, module.smallest._backend_fns\n"
        "print(module.smallest(torch.tensor([[3.0, 1.0, 2.0]]), 2, None).tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[[False, True, True]]", done.stderr
    assert "cpu" in module.smallest._backend_fns
