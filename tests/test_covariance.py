"""Covariance, what falls together, and how the two agree: against numpy, enumeration and known probabilities."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from core.dropout import DropAct, DropConnect, DropCorr, Dropout, Gaussian, Standard, Standout, Variational
from core.inspection.covariance import (
    Matrix,
    block_size,
    blocks,
    constant,
    correlation,
    covariance,
    directions,
    drift,
    last_refresh,
    order,
    spectrum,
    varying,
)
from core.inspection.together import CoDrop, agreement, co_drop, covariance_after, excess, trend
from tests.oracles import ALPHA, assert_frequencies, sequential_drop_sets


def grouped(rows: int = 200, groups: int = 4, each: int = 4, noise: float = 0.5) -> Tensor:
    """Activations (rows, groups·each) ≥ 0 of units that share a cause within their group."""
    cause = torch.randn(rows, groups).repeat_interleave(each, 1)
    return (cause + noise * torch.randn(rows, groups * each) + 1.0).relu()


def pairs(matrix: Matrix) -> np.ndarray:
    return matrix[np.triu_indices(len(matrix), 1)]


def test_covariance_and_correlation_are_numpys() -> None:
    x = grouped()
    np.testing.assert_allclose(covariance(x), np.cov(x.double().numpy().T), atol=1e-12)
    np.testing.assert_allclose(correlation(x), np.corrcoef(x.double().numpy().T), atol=1e-12)


def test_feature_maps_are_taken_flat() -> None:
    x = torch.randn(20, 2, 3, 2)
    np.testing.assert_array_equal(covariance(x), covariance(x.reshape(20, 12)))
    assert order(x, "cluster").shape == (12,)


def test_units_that_never_change_correlate_with_nothing() -> None:
    x = torch.cat([torch.randn(30, 3), torch.full((30, 1), 0.1), torch.zeros(30, 1)], 1)
    r = correlation(x)
    assert constant(x).tolist() == [False, False, False, True, True]
    assert np.isnan(r[3:]).all()
    assert np.isnan(r[:, 3:]).all()
    assert np.isfinite(r[:3, :3]).all()
    np.testing.assert_array_equal(covariance(x)[3:], 0.0)


def test_units_without_variance_have_no_covariance_to_compare() -> None:
    S = covariance(torch.cat([torch.randn(30, 2), torch.zeros(30, 1)], 1))
    found = varying(S)
    assert np.isnan(found[2]).all()
    assert np.isnan(found[:, 2]).all()
    np.testing.assert_array_equal(found[:2, :2], S[:2, :2])


def test_one_example_has_no_covariance() -> None:
    with pytest.raises(ValueError, match="at least two examples, got 1"):
        covariance(torch.randn(1, 5))


@pytest.mark.parametrize("shape", [(30, 7), (7, 30)])
def test_the_spectrum_is_the_eigenvalues(shape: tuple[int, int]) -> None:
    x = torch.randn(shape)
    exact = np.linalg.eigvalsh(np.cov(x.double().numpy().T))[::-1][: min(shape)]
    np.testing.assert_allclose(spectrum(x), exact, atol=1e-10)


def test_directions_count_equal_eigenvalues() -> None:
    assert directions(np.array([2.0, 2.0, 2.0, 0.0])) == pytest.approx(3.0)
    assert directions(np.zeros(4)) == 0.0


def assert_counts(found: CoDrop, expected: Matrix) -> None:
    """Every pair and unit against its exact probability, binomially."""
    np.testing.assert_array_equal(found.frequency, found.frequency.T)
    at = np.triu_indices(len(expected))
    assert_frequencies(np.rint(found.frequency[at] * found.masks), found.masks, expected[at])


def test_standard_units_fall_together_by_chance_alone() -> None:
    found = co_drop(Standard(0.3), grouped(100, 2, 3), draws=100)
    assert found.masks == 10_000
    assert_counts(found, np.full((6, 6), 0.09) + np.eye(6) * 0.21)


def test_dropact_pairs_fall_as_often_as_enumeration_says() -> None:
    activations = (0.2, 1.0, 3.0, 0.5, 0.0)
    expected = np.zeros((5, 5))
    for fallen, probability in sequential_drop_sets(activations, 2).items():
        for i, j in itertools.product(fallen, repeat=2):
            expected[i, j] += probability
    found = co_drop(DropAct(0.4, count="layer"), torch.tensor([activations]).repeat(400, 1), draws=50)
    assert_counts(found, expected)


def test_dropcorr_pairs_fall_by_the_orthant_probabilities_of_their_covariance() -> None:
    # Of three units two fall, so a pair falls together exactly where the third has the smallest of three Gaussians.
    reference = torch.randn(50, 3) @ torch.tensor([[1.0, 0.8, -0.3], [0.0, 0.6, 0.5], [0.0, 0.0, 0.7]])
    S = covariance(reference)
    together = np.zeros((3, 3))
    for third in range(3):
        i, j = (k for k in range(3) if k != third)
        to = np.zeros((2, 3))
        to[0, [i, third]] = to[1, [j, third]] = 1.0, -1.0
        C = to @ S @ to.T
        rho = C[0, 1] / math.sqrt(C[0, 0] * C[1, 1])
        together[i, j] = together[j, i] = 0.25 + math.asin(rho) / (2 * math.pi)
    np.fill_diagonal(together, together.sum(0))
    layer = DropCorr(2 / 3)
    layer.set_reference(reference)
    assert_counts(co_drop(layer, torch.ones(200, 3), draws=100), together)


def test_standout_units_fall_by_their_own_keep_probabilities() -> None:
    layer = Standout(nn.Linear(4, 3), 0.5, nn.ReLU(), alpha=2.0)
    x = torch.randn(50, 4)
    fall = 1 - layer.keep(layer.layer(x)).detach().double().numpy()
    expected = fall.T @ fall / 50
    np.fill_diagonal(expected, fall.mean(0))
    assert_counts(co_drop(layer, x, draws=200), expected)


@pytest.mark.parametrize("layer", [Gaussian(0.5), Variational(0.5), DropConnect(nn.Linear(4, 4), 0.5)])
def test_techniques_that_drop_no_units_say_so(layer: Dropout) -> None:
    with pytest.raises(ValueError, match=f"{layer.title} does not drop units"):
        co_drop(layer, torch.randn(5, 4))


def test_nothing_falls_at_p_0_and_everything_at_p_1() -> None:
    for layer in (Standard(0.0), DropCorr(0.0)):
        assert not co_drop(layer, grouped(20), draws=2).frequency.any()
    assert (co_drop(DropCorr(1.0), grouped(20), draws=2).frequency == 1.0).all()


def test_some_units_are_those_columns_of_all() -> None:
    x, chosen = grouped(50), np.array([7, 0, 3])
    layer = DropCorr(0.3)
    everything = co_drop(layer, x, draws=5).frequency
    np.testing.assert_array_equal(
        co_drop(layer, x, draws=5, units=chosen).frequency, everything[np.ix_(chosen, chosen)]
    )
    after = covariance_after(layer, x, draws=5)
    np.testing.assert_allclose(
        covariance_after(layer, x, draws=5, units=chosen), after[np.ix_(chosen, chosen)], atol=1e-12
    )


@pytest.mark.parametrize("look", [co_drop, covariance_after])
def test_the_layer_and_the_random_numbers_are_as_before(look: object) -> None:
    layer = DropCorr(0.3, refresh_every=5, rescale="mass").eval()
    x = grouped(20)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    look(layer, x, draws=2)  # type: ignore[operator]
    assert torch.equal(torch.rand(3), expected)
    assert not layer.training
    assert layer.p == 0.3
    assert layer.cache is None
    assert layer.clamped == 0


def test_a_larger_p_only_adds_to_what_falls_together() -> None:
    x = grouped(50)
    layer = DropCorr()
    last = np.zeros((16, 16))
    for p in (0.1, 0.3, 0.6):
        layer.p = p
        frequency = co_drop(layer, x, draws=5).frequency
        assert (frequency >= last).all()
        last = frequency


def test_excess_is_what_independent_units_do_not_explain() -> None:
    frequency = np.array([[0.5, 0.4, 0.1], [0.4, 0.6, 0.3], [0.1, 0.3, 0.5]])
    found = excess(frequency)
    assert np.isnan(np.diag(found)).all()
    np.testing.assert_allclose(pairs(found), [0.1, -0.15, 0.0], atol=1e-12)


@pytest.mark.parametrize(
    "layer", [Standard(0.4), Gaussian(0.4), DropAct(0.4), DropConnect(nn.Linear(16, 5), 0.4, nn.ReLU())]
)
def test_covariance_after_is_numpys_of_what_the_layer_gives(layer: Dropout) -> None:
    x = grouped(30) + 100.0
    torch.manual_seed(3)
    with torch.no_grad():
        given = torch.cat([layer(x) for _ in range(4)]).double().numpy()
    np.testing.assert_allclose(covariance_after(layer, x, 4, seed=3), np.cov(given.T), rtol=1e-8, atol=1e-8)


def test_independent_masks_leave_the_covariance_of_pairs_and_raise_the_variances() -> None:
    x = grouped(100, 2, 3)
    p, repeats = 0.4, 30
    exact = covariance(x) * 99 / 100 + np.diag(p / (1 - p) * x.double().square().mean(0).numpy())
    seen = np.stack([covariance_after(Standard(p), x, 50, seed=seed) for seed in range(repeats)])
    t = (seen.mean(0) - exact) / (seen.std(0, ddof=1) / math.sqrt(repeats))
    assert np.abs(t).max() < stats.t.ppf(1 - ALPHA / (2 * exact.size), repeats - 1)


def test_covariance_after_no_dropout_is_that_before() -> None:
    x = grouped(40)
    np.testing.assert_allclose(covariance_after(Variational(0.0), x, 1), covariance(x), atol=1e-12)


def test_where_everything_falls_nothing_varies() -> None:
    assert not covariance_after(Standard(1.0), grouped(40) + 0.1, 3).any()


def test_order_by_variance_puts_the_largest_first_and_keeps_equal_ones_in_place() -> None:
    x = torch.tensor([[0.0, 5.0, 1.0, 0.0, 1.0], [1.0, -5.0, 1.0, 1.0, 1.0]])
    assert order(x, "variance").tolist() == [1, 0, 3, 2, 4]
    assert order(x).tolist() == [0, 1, 2, 3, 4]


def test_clustering_finds_groups_again_and_puts_dead_units_last() -> None:
    x = torch.cat([grouped(200, 5, 6), torch.zeros(200, 2)], 1)
    group = torch.tensor([*torch.arange(5).repeat_interleave(6).tolist(), 9, 9])
    shuffled = torch.randperm(32)
    found = group[shuffled][torch.from_numpy(order(x[:, shuffled], "cluster"))].tolist()
    assert found[-2:] == [9, 9]
    assert [len(list(same)) for _, same in itertools.groupby(found)] == [6, 6, 6, 6, 6, 2]


def test_clustering_takes_layers_of_few_or_only_dead_units() -> None:
    assert sorted(order(torch.randn(9, 2), "cluster")) == [0, 1]
    assert order(torch.zeros(9, 3), "cluster").tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="ordered by index, variance, cluster, not by 'size'"):
        order(torch.randn(9, 3), "size")  # type: ignore[arg-type]


def test_blocks_are_means_over_pairs_of_different_units() -> None:
    m = np.random.default_rng(0).normal(size=(10, 10))
    m[2, 7] = np.nan
    turn = np.random.default_rng(1).permutation(10)
    assert block_size(10, 4) == 3
    found = blocks(m, turn, at_most=4)
    parts = [turn[0:3], turn[3:6], turn[6:9], turn[9:]]
    for (a, rows), (b, columns) in itertools.product(enumerate(parts), repeat=2):
        values = [m[i, j] for i in rows for j in columns if i != j and math.isfinite(m[i, j])]
        assert found[a, b] == pytest.approx(np.mean(values) if values else math.nan, nan_ok=True)


def test_small_layers_are_shown_unit_by_unit() -> None:
    m = np.arange(9.0).reshape(3, 3)
    np.testing.assert_array_equal(blocks(m, np.array([2, 0, 1])), m[np.ix_([2, 0, 1], [2, 0, 1])])
    assert [block_size(n) for n in (1, 256, 257, 1000)] == [1, 1, 2, 4]


def test_drift_is_the_relative_distance_to_the_last_refresh() -> None:
    snapshots = [torch.randn(20, 30) * (1 + e / 5) for e in range(7)]
    found = drift(snapshots, 3)
    S = [np.cov(x.double().numpy().T) for x in snapshots]
    for e in range(7):
        r = last_refresh(e, 3)
        expected = np.linalg.norm(S[e] - S[r]) / np.linalg.norm(S[r])
        assert found[e] == pytest.approx(expected, abs=1e-9)
    assert [last_refresh(e, 3) for e in range(7)] == [0, 0, 0, 3, 3, 3, 6]
    assert not drift(snapshots, 1).any()


def test_drift_from_a_layer_without_covariance_is_unknown() -> None:
    assert np.isnan(drift([torch.zeros(5, 3), torch.randn(5, 3)], 2)[1])
    with pytest.raises(ValueError, match="not every 0"):
        drift([torch.zeros(5, 3)], 0)


def symmetric(size: int, seed: int) -> Matrix:
    m = np.random.default_rng(seed).normal(size=(size, size))
    return m + m.T


def test_agreement_is_the_correlation_over_pairs_with_a_jackknife_over_units() -> None:
    a = symmetric(9, 0)
    b = a + symmetric(9, 1)
    found = agreement(a, b)

    def r_without(unit: int | None) -> float:
        left = [i for i in range(9) if i != unit]
        return float(np.corrcoef(pairs(a[np.ix_(left, left)]), pairs(b[np.ix_(left, left)]))[0, 1])

    z = np.arctanh([r_without(unit) for unit in range(9)])
    reach = stats.t.ppf(0.975, 8) * math.sqrt(8 / 9 * np.square(z - z.mean()).sum())
    middle = math.atanh(r_without(None))
    assert found.pairs == 36
    assert found.r == pytest.approx(r_without(None))
    assert (found.low, found.high) == pytest.approx((math.tanh(middle - reach), math.tanh(middle + reach)))


def test_agreement_leaves_out_pairs_without_a_number() -> None:
    a, b = symmetric(8, 0), symmetric(8, 1)
    a[3] = a[:, 3] = np.nan
    left = [i for i in range(8) if i != 3]
    assert agreement(a, b) == pytest.approx(agreement(a[np.ix_(left, left)], b[np.ix_(left, left)]))


def test_agreement_of_what_does_not_vary_is_unknown_and_of_the_same_is_1() -> None:
    a = symmetric(8, 0)
    assert math.isnan(agreement(a, np.full((8, 8), 0.25)).r)
    assert agreement(a, 3 * a + 2)[:3] == pytest.approx((1.0, 1.0, 1.0))
    assert math.isnan(agreement(a[:3, :3], a[:3, :3]).r)


def test_the_trend_is_means_over_pairs_sorted_by_their_value() -> None:
    a, b = symmetric(9, 0), symmetric(9, 1)
    a[8] = a[:, 8] = np.nan
    found = trend(a, b, bins=4)
    values, frequencies = pairs(a[:8, :8]), pairs(b[:8, :8])
    turn = np.argsort(values).reshape(4, 7)
    np.testing.assert_allclose(found.value, values[turn].mean(1))
    np.testing.assert_allclose(found.frequency, frequencies[turn].mean(1))
    assert found.pairs.tolist() == [7, 7, 7, 7]


def test_equal_values_share_a_bin_of_the_trend() -> None:
    a, b = np.zeros((8, 8)), symmetric(8, 1)
    a[0, 1] = a[1, 0] = 1.0
    found = trend(a, b, bins=10)
    np.testing.assert_allclose(found.value, [0.0, 1.0])
    assert found.pairs.tolist() == [27, 1]
    assert len(trend(np.full((4, 4), np.nan), b[:4, :4]).value) == 0


def test_the_interval_holds_the_truth_as_often_as_it_says_where_pairs_share_units() -> None:
    # Each pair's two values share the effects of its units; between any two units the true correlation is 1/2.
    rng = np.random.default_rng(0)
    trials, n, held, naive = 300, 30, 0, 0
    for _ in range(trials):
        shared, own_a, own_b = (rng.normal(size=n) for _ in range(3))
        a = np.add.outer(shared + own_a, shared + own_a)
        b = np.add.outer(shared + own_b, shared + own_b)
        found = agreement(a, b)
        held += found.low <= 0.5 <= found.high
        reach = 1.96 / math.sqrt(found.pairs - 3)
        naive += abs(math.atanh(found.r) - math.atanh(0.5)) <= reach
    assert stats.binomtest(held, trials, 0.95, "less").pvalue > 1e-4
    assert naive < 0.6 * trials


def test_correlated_units_fall_together_under_dropcorr_and_not_under_standard() -> None:
    x = grouped(200, 6, 5)
    S = covariance(x)
    found = {
        layer.name: agreement(S, co_drop(layer, x, draws=30).frequency) for layer in (DropCorr(0.3), Standard(0.3))
    }
    assert found["dropcorr"].low > 0.8
    assert found["standard"].low < 0.0 < found["standard"].high
