"""Whether the noise has the distribution that the specification gives it, against oracles computed another way.

Thresholds follow from oracles.ALPHA, the chance that a correct layer fails; seeds are fixed.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor, nn

from core.dropout import (
    DropAct,
    DropConnect,
    DropCorr,
    DropInv,
    Gaussian,
    Standard,
    Standout,
    Variational,
    kl,
    noise_parameters,
)
from tests import oracles
from tests.dropout_cases import dropped, factors

ROWS = 20_000
RACES = [DropAct, DropInv]


def repeated(row: list[float] | Tensor, rows: int = ROWS) -> Tensor:
    row = torch.as_tensor(row, dtype=torch.float32)
    return row.expand(rows, *row.shape).contiguous()


def weights(technique: type[nn.Module], row: list[float]) -> list[float]:
    """In proportion to which Algorithm 1 or 2 drops."""
    return [0.0 if x <= 0 else x if technique is DropAct else 1 / x for x in row]


def share(k: int, n: int) -> float:
    """A p at which floor(p·n) is k."""
    return min((k + 0.5) / n, 1.0)


# The races


@pytest.mark.parametrize("technique", RACES)
@pytest.mark.parametrize("k", [1, 2, 3, 5])
@pytest.mark.parametrize(
    "row",
    [
        [0.2, 0.5, 1.0, 2.0, 3.0, 0.7],
        [0.2, 0.0, 1.0, 2.0, -3.0, 0.7],
        [1.0, 1.0, 1.0, 4.0, 4.0, 0.0],
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
        [1e-3, 2e-3, 1.0, 3.0, 50.0, 80.0],
    ],
    ids=["spread", "some at rest", "ties", "all equal", "wide"],
)
def test_a_race_drops_whole_sets_as_the_papers_loop(technique: type[nn.Module], row: list[float], k: int) -> None:
    fell = dropped(technique(share(k, 6), count="layer"), repeated(row)).numpy()
    oracles.assert_sets_follow(fell, oracles.sequential_drop_sets(weights(technique, row), k))


@pytest.mark.parametrize("technique", RACES)
@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1e20, 1e37])
def test_a_race_does_not_depend_on_the_scale(technique: type[nn.Module], scale: float) -> None:
    row = [0.5, 1.0, 1.5, 3.0, 2.5]
    fell = dropped(technique(share(2, 5)), repeated(row) * scale).numpy()
    oracles.assert_sets_follow(fell, oracles.sequential_drop_sets(weights(technique, row), 2))


@pytest.mark.parametrize("technique", RACES)
@pytest.mark.parametrize("rescale", ["uniform", "mass", "unbiased"])
def test_rescaling_leaves_the_choice_alone(technique: type[nn.Module], rescale: str) -> None:
    row = [0.2, 0.5, 1.0, 2.0, 3.0, 0.0]
    fell = dropped(technique(share(3, 6), count="layer", rescale=rescale), repeated(row)).numpy()
    oracles.assert_sets_follow(fell, oracles.sequential_drop_sets(weights(technique, row), 3))


@pytest.mark.parametrize("technique", RACES)
def test_a_race_on_feature_maps_and_in_half_precision(technique: type[nn.Module]) -> None:
    row = [0.25, 0.5, 1.0, 2.0, 3.0, 0.75]
    expected = oracles.sequential_drop_sets(weights(technique, row), 2)
    maps = repeated(torch.tensor(row).reshape(2, 3, 1))
    oracles.assert_sets_follow(dropped(technique(share(2, 6)), maps).numpy(), expected)
    halves = repeated(row).bfloat16()
    oracles.assert_sets_follow(dropped(technique(share(2, 6)), halves).numpy(), expected)


@pytest.mark.parametrize("technique", RACES)
@pytest.mark.parametrize(("p", "k"), [(0.2, 0), (0.3, 1), (0.5, 2), (0.9, 3), (1.0, 4)])
def test_count_active_takes_p_of_the_active_units(technique: type[nn.Module], p: float, k: int) -> None:
    row = [0.2, 0.0, 1.0, 2.0, -3.0, 0.7]
    fell = dropped(technique(p, count="active"), repeated(row)).numpy()
    oracles.assert_sets_follow(fell, oracles.sequential_drop_sets(weights(technique, row), k))


@pytest.mark.parametrize("technique", RACES)
def test_rows_with_different_numbers_of_active_units(technique: type[nn.Module]) -> None:
    """Each row keeps its own law although all share one top-k."""
    rows = [[0.2, 0.5, 1.0, 2.0, 3.0, 0.7], [0.2, 0.0, 1.0, 2.0, -3.0, 0.7], [0.0, 0.0, 0.3, 0.0, 0.0, 0.6]]
    x = torch.tensor(rows).repeat(ROWS, 1)
    for count, ks in (("layer", [3, 3, 3]), ("active", [3, 2, 1])):
        fell = dropped(technique(0.5, count=count), x).numpy()
        for i, (row, k) in enumerate(zip(rows, ks, strict=True)):
            oracles.assert_sets_follow(fell[i::3], oracles.sequential_drop_sets(weights(technique, row), k))


@pytest.mark.parametrize("technique", RACES)
def test_with_fewer_than_k_active_exactly_those_fall(technique: type[nn.Module]) -> None:
    row = [0.0, 0.4, -1.0, 0.0, 2.0, 0.0]
    fell = dropped(technique(0.7, count="layer"), repeated(row, 500))
    assert torch.equal(fell, repeated(row, 500) > 0)


@pytest.mark.parametrize(("technique", "odds"), [(DropAct, 3.0), (DropInv, 1 / 3)])
def test_a_race_of_two_weights_follows_wallenius(technique: type[nn.Module], odds: float) -> None:
    heavy, light, k = 8, 12, 7
    row = [3.0] * heavy + [1.0] * light
    fell = dropped(technique(share(k, heavy + light)), repeated(row)).numpy()
    law = stats.nchypergeom_wallenius(heavy + light, heavy, k, odds)
    taken = fell[:, :heavy].sum(1)
    probabilities = {frozenset([i]): float(law.pmf(i)) for i in range(k + 1)}
    oracles.assert_sets_follow(np.eye(heavy + 1, dtype=bool)[taken], probabilities)
    mean = law.mean()
    oracles.assert_frequencies(fell[:, :heavy].sum(0), ROWS, np.full(heavy, mean / heavy))
    oracles.assert_frequencies(fell[:, heavy:].sum(0), ROWS, np.full(light, (k - mean) / light))


# DropCorr


def activations(b: int, n: int, seed: int = 0) -> np.ndarray:
    """Correlated activations, some at rest, as float32 values in a float64 array."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((b, 3)) @ rng.standard_normal((3, n)) + 0.5 * rng.standard_normal((b, n)) + 0.5
    return np.maximum(mixed, 0).astype(np.float32).astype(np.float64)


def batches(module: nn.Module, x: np.ndarray, rows: int = ROWS, per_forward: int = 2_000) -> np.ndarray:
    """Drops under the covariance of x: the batch is x many times over, which scales S and so leaves the order."""
    times = per_forward // len(x)
    tiled = torch.tensor(x, dtype=torch.float32).repeat(times, 1)
    forwards = math.ceil(rows / len(tiled))
    return torch.cat([dropped(module, tiled) for _ in range(forwards)]).numpy()


@pytest.mark.parametrize(("b", "n", "k"), [(4, 6, 3), (12, 6, 2), (5, 24, 6), (2, 6, 3)])
def test_dropcorr_drops_as_the_explicit_covariance(b: int, n: int, k: int) -> None:
    x = activations(b, n)
    ours = batches(DropCorr(share(k, n)), x)
    theirs = oracles.covariance_drops(x, k, 200_000, np.random.default_rng(1))
    oracles.assert_same_frequencies(ours, theirs)


def test_dropcorr_with_a_reference_drops_as_its_covariance() -> None:
    x = activations(9, 6)
    module = DropCorr(0.5)
    module.set_reference(torch.tensor(x, dtype=torch.float32))
    theirs = oracles.covariance_drops(x, 3, 200_000, np.random.default_rng(1))
    other = torch.rand(ROWS, 6)
    oracles.assert_same_frequencies(dropped(module, other).numpy(), theirs)
    module.set_reference(torch.tensor(x, dtype=torch.float32).reshape(9, 3, 2, 1))
    maps = other.reshape(ROWS, 3, 2, 1)
    oracles.assert_same_frequencies(dropped(module, maps).numpy(), theirs)
    alone = torch.cat([dropped(module, other[:1]) for _ in range(2_000)]).numpy()
    oracles.assert_same_frequencies(alone, theirs)
    module.set_reference(None)
    uniform = oracles.sequential_drop_sets([1.0] * 6, 3)
    alone = torch.cat([dropped(module, other[:1]) for _ in range(2_000)]).numpy()
    oracles.assert_sets_follow(alone, uniform)


def test_dropcorr_mean_shifts_do_not_matter_but_signs_do() -> None:
    rng = np.random.default_rng(3)
    t = rng.standard_normal((10, 1)).astype(np.float32)
    signs = np.array([1, 1, 1, -1, -1, -1], dtype=np.float32)
    x = t * signs + np.array([9, 5, 7, 8, 6, 9], dtype=np.float32)
    fell = batches(DropCorr(0.5), x, rows=4_000)
    together = {frozenset({0, 1, 2}): 0.5, frozenset({3, 4, 5}): 0.5}
    oracles.assert_sets_follow(fell, together)


def test_dropcorr_chooses_evenly_between_equal_columns() -> None:
    x = activations(8, 6, seed=2)
    x[:, 1] = x[:, 4] = x[:, 0]
    ours = batches(DropCorr(share(2, 6)), x)
    theirs = oracles.covariance_drops(x, 2, 200_000, np.random.default_rng(1))
    oracles.assert_same_frequencies(ours, theirs)
    one_of_three = ours[:, [0, 1, 4]][ours[:, [0, 1, 4]].sum(1) == 1]
    assert len(one_of_three) > 500
    oracles.assert_frequencies(one_of_three.sum(0), len(one_of_three), np.full(3, 1 / 3))


def test_dropcorr_breaks_ties_between_dead_units_uniformly() -> None:
    x = activations(8, 7, seed=4)
    x[:, [1, 3, 6]] = [0.0, 2.5, 0.1]  # 0.1 has no exact mean in binary
    ours = batches(DropCorr(share(3, 7)), x)
    theirs = oracles.covariance_drops(x, 3, 200_000, np.random.default_rng(1))
    oracles.assert_same_frequencies(ours, theirs)


def test_dropcorr_on_a_constant_batch_is_uniform() -> None:
    fell = dropped(DropCorr(share(2, 5)), repeated([0.1, 0.0, 3.3, -1.0, 1e9], 2_000)).numpy()
    oracles.assert_sets_follow(fell, oracles.sequential_drop_sets([1.0] * 5, 2))


def test_dropcorr_on_one_example_is_uniform() -> None:
    module, x = DropCorr(share(2, 5)), torch.tensor([[0.1, 0.0, 3.3, -1.0, 1e9]])
    for example in (x, x[0]):
        fell = torch.stack([factors(module, example).flatten() == 0 for _ in range(2_000)]).numpy()
        oracles.assert_sets_follow(fell, oracles.sequential_drop_sets([1.0] * 5, 2))


def test_dropcorr_count_active_lets_only_units_off_zero_compete() -> None:
    x = activations(9, 6)
    module = DropCorr(0.5, count="active")
    module.set_reference(torch.tensor(x, dtype=torch.float32))
    competes = np.array([True, False, True, True, False, True])
    row = [1.0, 0.0, -2.0, 0.5, 0.0, 3.0]  # negative units are off zero, too
    theirs = oracles.covariance_drops(x, 2, 200_000, np.random.default_rng(1), competes)
    oracles.assert_same_frequencies(dropped(module, repeated(row)).numpy(), theirs)


def partition(rows: int, signs: list[int]) -> Tensor:
    """A batch whose covariance makes half of 8 units fall: those of sign 1, or those of sign -1."""
    return 3 + torch.randn(rows, 1) * torch.tensor(signs, dtype=torch.float32)


def follows(fell: Tensor, signs: list[int]) -> bool:
    up = torch.tensor(signs) > 0
    return bool(((fell == up).all(1) | (fell == ~up).all(1)).all())


PATTERNS = [
    [1, 1, 1, 1, -1, -1, -1, -1],
    [1, -1, 1, -1, 1, -1, 1, -1],
    [1, 1, -1, -1, 1, 1, -1, -1],
    [1, -1, -1, 1, 1, -1, -1, 1],
    [1, 1, -1, -1, -1, -1, 1, 1],
    [1, -1, 1, -1, -1, 1, -1, 1],
]


@pytest.mark.parametrize(
    ("every", "sizes", "used"),
    [
        (1, [16, 16, 5, 16], [0, 1, 2, 3]),
        (2, [16, 16, 16, 16, 16], [0, 0, 2, 2, 4]),
        (3, [16, 16, 5, 16, 16, 5], [0, 0, 0, 3, 3, 3]),
        (2, [16, 16, 5, 16, 3, 16], [0, 0, 2, 2, 4, 4]),
        (2, [4, 16, 16, 7, 32, 9], [0, 0, 2, 2, 4, 4]),
    ],
)
def test_refresh_every_uses_the_batch_of_its_last_refresh(every: int, sizes: list[int], used: list[int]) -> None:
    module = DropCorr(0.5, refresh_every=every)
    for i, (size, reference) in enumerate(zip(sizes, used, strict=True)):
        fell = dropped(module, partition(size, PATTERNS[i]))
        assert [j for j, pattern in enumerate(PATTERNS) if follows(fell, pattern)] == [reference], f"forward {i}"
        module.eval()(partition(16, PATTERNS[-1]))
        module.train()


def test_refresh_every_may_change_while_training() -> None:
    for intervals in ([1, 1, 2, 2, 4, 4], [2, 1, 1, 1, 2, 2], [4, 4, 2, 2, 1, 1]):
        module, used = DropCorr(0.5), []
        for i, every in enumerate(intervals):
            module.refresh_every = every
            fell = dropped(module, partition(16, PATTERNS[i]))
            used += [j for j, pattern in enumerate(PATTERNS) if follows(fell, pattern)]
        # When a change takes hold is left open; a covariance older than the interval is not.
        assert all(0 <= i - j < every for i, (j, every) in enumerate(zip(used, intervals, strict=True))), used


def test_a_set_reference_outlives_every_refresh() -> None:
    for every in (1, 2):
        module = DropCorr(0.5, refresh_every=every)
        module.set_reference(partition(16, PATTERNS[0]))
        for pattern in PATTERNS[1:5]:
            assert follows(dropped(module, partition(11, pattern)), PATTERNS[0])
        module.set_reference(None)
        assert follows(dropped(module, partition(11, PATTERNS[3])), PATTERNS[3])


# Rescaling


@pytest.mark.parametrize("technique", [DropAct, DropInv, DropCorr])
@pytest.mark.parametrize("count", ["layer", "active"])
def test_uniform_and_mass_factors_by_hand(technique: type[nn.Module], count: str) -> None:
    x = torch.randn(40, 12).relu() - 0.2 * (torch.rand(40, 12) < 0.2)
    x[0] = 0
    x[1, 1:] = 0
    active = x > 0 if technique is not DropCorr else x != 0
    for rescale in ("none", "uniform", "mass"):
        factor = factors(technique(0.6, count=count, rescale=rescale, clamp=math.inf), x).double().numpy()
        for i, row in enumerate(x.double().numpy()):
            survives = factor[i] > 0
            k = (~survives).sum()
            n = int(active[i].sum()) if count == "active" else len(row)
            if rescale == "none":
                wanted = 1.0
            elif rescale == "uniform":
                wanted = n / (n - k) if n > k else 1.0
            else:
                left = np.abs(row[survives]).sum()
                wanted = np.abs(row).sum() / left if left > 0 else 1.0
            np.testing.assert_allclose(factor[i][survives], wanted, rtol=1e-5)


@pytest.mark.parametrize("technique", RACES)
def test_unbiased_factors_of_a_row_share_one_threshold(technique: type[nn.Module]) -> None:
    x = torch.rand(300, 10) + 0.2
    x[:, 3] = 0
    x[:, 7] = -1
    factor = factors(technique(0.4, rescale="unbiased", clamp=math.inf), x).double()
    assert (factor[:, [3, 7]] == 1).all()
    weight = (x if technique is DropAct else 1 / x).double()
    alive = (factor > 0) & (x > 0)
    thresholds = factor.clamp(min=1e-30).log() / weight
    low = thresholds.masked_fill(~alive, math.inf).amin(1)
    high = thresholds.masked_fill(~alive, -math.inf).amax(1)
    torch.testing.assert_close(low, high, rtol=1e-4, atol=1e-6)
    assert (low > 0).all()


def test_the_unbiased_threshold_is_the_kth_smallest_key() -> None:
    """With equal weights T is the k-th of n exponentials, and 1 - exp(-T) ~ Beta(k, n - k + 1)."""
    n, k = 9, 4
    for technique in RACES:
        factor = factors(technique(share(k, n), rescale="unbiased", clamp=math.inf), torch.ones(5_000, n))
        largest = factor.amax(1).double().numpy()
        assert stats.kstest(1 - 1 / largest, stats.beta(k, n - k + 1).cdf).pvalue > oracles.ALPHA


@pytest.mark.parametrize("technique", RACES)
@pytest.mark.parametrize("count", ["layer", "active"])
def test_unbiased_outputs_are_right_in_the_mean(technique: type[nn.Module], count: str) -> None:
    row = [1.0, 1.2, 0.8, 1.1, 0.0, 0.9, 1.3, 1.0, -0.5, 0.7, 1.0, 1.2, 0.9, 1.1]
    module = technique(0.25, count=count, rescale="unbiased", clamp=math.inf)
    samples = module(repeated(row, 100_000)).numpy()
    oracles.assert_means(samples, np.array(row))


@pytest.mark.parametrize("technique", RACES)
def test_unbiased_leaves_rows_alone_from_which_nothing_falls(technique: type[nn.Module]) -> None:
    x = torch.tensor([[1.0, 0, 0, 0], [0, 0, 0, 0], [1.0, 2.0, 0, 0]])
    module = technique(0.4, count="active", rescale="unbiased")
    for _ in range(20):
        assert torch.equal(module(x), x)


@pytest.mark.parametrize(
    ("technique", "rescale"),
    [(DropAct, "mass"), (DropAct, "unbiased"), (DropInv, "mass"), (DropInv, "unbiased"), (DropCorr, "mass")],
)
def test_clamp_limits_the_factors_and_its_share_is_reported(technique: type[nn.Module], rescale: str) -> None:
    x = torch.rand(200, 10) + 0.01
    free, cut = (technique(0.6, rescale=rescale, clamp=c) for c in (math.inf, 2.0))
    whole, limited = ((torch.manual_seed(2), factors(m, x))[1] for m in (free, cut))
    torch.testing.assert_close(limited, whole.clamp(max=2.0))
    survives = whole > 0
    assert float(free.clamped) == 0
    assert float(cut.clamped) == pytest.approx(float((whole > 2)[survives].float().mean()))
    assert 0.05 < float(cut.clamped) < 1
    assert technique(0.5, rescale=rescale).clamp == 10


def test_unbiased_is_for_the_races_alone() -> None:
    with pytest.raises(ValueError, match="unbiased"):
        DropCorr(0.5, rescale="unbiased")


# Standard, Gaussian, Variational on activations


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("vanilla", [False, True])
def test_standard_units_fall_independently(p: float, vanilla: bool) -> None:
    factor = factors(Standard(p, vanilla=vanilla), torch.ones(ROWS, 8)).numpy()
    kept = factor > 0
    np.testing.assert_allclose(factor[kept], 1 if vanilla else 1 / (1 - p), rtol=1e-6)
    oracles.assert_frequencies(kept.sum(0), ROWS, np.full(8, 1 - p))
    both = np.triu_indices(8, 1)
    pairs = (kept.T.astype(float) @ kept.astype(float))[both]
    oracles.assert_frequencies(pairs, ROWS, np.full(len(pairs), (1 - p) ** 2))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("technique", [Gaussian, Variational])
def test_gaussian_factors_have_mean_1_and_variance_alpha(technique: type[nn.Module], p: float) -> None:
    alpha = p / (1 - p)
    samples = factors(technique(p), torch.ones(ROWS, 4)).double().numpy()
    oracles.assert_means(samples, np.ones(4))
    oracles.assert_variances(samples, np.full(4, alpha))
    assert stats.kstest((samples.ravel() - 1) / math.sqrt(alpha), stats.norm.cdf).pvalue > oracles.ALPHA
    centred = samples - 1
    oracles.assert_means(np.stack([centred[:, i] * centred[:, j] for i in range(4) for j in range(i)], 1), np.zeros(6))


def test_variational_starts_at_alpha_within_its_range() -> None:
    for p, alpha in ((1e-9, 1e-4), (0.5, 1.0), (0.75, 3.0), (1 - 1e-9, 1e4)):
        (log_alpha,) = noise_parameters(Variational(p))
        assert log_alpha.shape == ()
        assert float(log_alpha.detach()) == pytest.approx(math.log(alpha), rel=1e-5, abs=1e-7)


def test_variational_units_have_each_their_alpha() -> None:
    alpha = torch.tensor([0.01, 0.1, 1.0, 4.0, 0.3, 2.0])
    module = Variational(0.5, units=6)
    (log_alpha,) = noise_parameters(module)
    assert log_alpha.shape == (6,)
    with torch.no_grad():
        log_alpha.copy_(alpha.log())
    for shape in ((ROWS, 6), (ROWS, 2, 3, 1)):
        samples = factors(module, torch.ones(shape)).flatten(1).double().numpy()
        oracles.assert_means(samples, np.ones(6))
        oracles.assert_variances(samples, alpha.double().numpy())


@pytest.mark.parametrize("shape", [(5, 7), (5, 2, 3)])
def test_variational_units_must_fit_the_input(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="units=8"):
        Variational(0.5, units=8)(torch.ones(shape))


def test_kingma_starts_below_1_with_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"0\.95"):
        module = Variational(0.5, kl="kingma")
    samples = factors(module, torch.ones(ROWS, 4)).double().numpy()
    oracles.assert_variances(samples, np.full(4, 0.95))
    (ell,) = noise_parameters(module)
    assert float(ell.detach().sigmoid()) == pytest.approx(0.95, rel=1e-5)
    with torch.no_grad():
        ell.fill_(30.0)
    oracles.assert_variances(factors(module, torch.ones(ROWS, 4)).double().numpy(), np.ones(4))


# The divergence


def divergence(alpha: float, fit: str) -> float:
    """KL of one noise variable, as the layer computes it."""
    module = Variational(alpha / (1 + alpha), kl=fit).double()
    module(torch.ones(3, 1, dtype=torch.float64))
    return float(module.kl().detach())


@pytest.mark.parametrize(
    ("fit", "alphas", "within"),
    [
        ("molchanov", np.logspace(-3, 3, 61), 0.01),
        ("kingma", np.append(np.logspace(-3, math.log10(0.949), 40), 0.949), 0.041),
    ],
)
def test_kl_fits_lie_within_their_tolerance_of_the_series(fit: str, alphas: np.ndarray, within: float) -> None:
    off = [abs(divergence(a, fit) - oracles.kl_exact(a)) for a in alphas]
    assert max(off) <= within


def test_the_exact_series_has_its_known_values() -> None:
    assert oracles.kl_exact(0.25) == pytest.approx(1.15553, abs=1e-5)
    assert oracles.kl_exact(1.0) == pytest.approx(0.42669, abs=1e-5)


def test_kl_fits_to_the_digit() -> None:
    for alpha in (0.01, 0.3, 0.9):
        c1, c2, c3 = 1.161451241083230, -1.502041176441722, 0.586299206427007
        kingma = 0.63518 - (0.5 * math.log(alpha) + c1 * alpha + c2 * alpha**2 + c3 * alpha**3)
        assert divergence(alpha, "kingma") == pytest.approx(kingma, rel=1e-5)
        k1, k2, k3 = 0.63576, 1.87320, 1.48695
        molchanov = k1 * special.expit(k2 + k3 * math.log(alpha)) - 0.5 * math.log1p(1 / alpha) - k1
        assert divergence(alpha, "molchanov") == pytest.approx(-molchanov, rel=1e-5)


@pytest.mark.parametrize("fit", ["molchanov", "kingma"])
@pytest.mark.parametrize("p", [0.05, 0.3, 0.48])
def test_the_divergence_asks_for_more_noise(fit: str, p: float) -> None:
    for module in (Variational(p, kl=fit), Variational(nn.Linear(3, 2), p, kl=fit, per="weight")):
        module(torch.ones(2, 3))
        module.kl().backward()
        (raw,) = noise_parameters(module)
        assert raw.grad is not None
        assert (raw.grad < 0).all()


@pytest.mark.parametrize("fit", ["molchanov", "kingma"])
def test_kl_counts_every_noise_variable(fit: str) -> None:
    p = 0.3
    one = divergence(p / (1 - p), fit)
    x = torch.rand(5, 2, 3, 4)
    shared = Variational(p, kl=fit)
    shared(x)
    assert float(shared.kl().detach()) == pytest.approx(24 * one, rel=1e-4)
    shared(x[0, 0, 0])
    assert float(shared.kl().detach()) == pytest.approx(4 * one, rel=1e-4)
    shared(x[:2])
    assert float(shared.kl().detach()) == pytest.approx(24 * one, rel=1e-4)
    assert float(Variational(p, kl=fit, units=24).kl().detach()) == pytest.approx(24 * one, rel=1e-4)
    for per in ("layer", "input", "weight"):
        assert float(Variational(nn.Linear(7, 5), p, kl=fit, per=per).kl().detach()) == pytest.approx(
            35 * one, rel=1e-4
        )
        conv = nn.Conv2d(4, 6, 3, groups=2)
        assert float(Variational(conv, p, kl=fit, per=per).kl().detach()) == pytest.approx(108 * one, rel=1e-4)
    model = nn.Sequential(Variational(nn.Linear(4, 3), p, kl=fit), nn.ReLU(), Variational(p, kl=fit), Standard(0.5))
    model(torch.rand(2, 4))
    assert float(kl(model).detach()) == pytest.approx((12 + 3) * one, rel=1e-4)
    assert float(kl(nn.Linear(2, 2))) == 0
    assert len(list(noise_parameters(model))) == 2


# Variational on weights


def moment_oracle(layer: nn.Module, x: Tensor, variance_ratio: Tensor | float) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the layer's output when each weight θ has variance ratio·θ²; x is one example.

    Each output meets a weight once, so its derivative by the weights is the input at that weight.
    """
    layer = in_double(layer)
    names = dict(layer.named_parameters())

    def output(weight: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {**names, "weight": weight}, (x.double()[None],)).flatten()

    weight = names["weight"].detach()
    slopes = torch.func.jacrev(output)(weight)  # (outputs, *weight)
    spread = torch.as_tensor(variance_ratio, dtype=torch.float64) * weight.square()
    variance = (slopes.square() * spread).flatten(1).sum(1)
    return output(weight).detach().numpy(), variance.detach().numpy()


def in_double(layer: nn.Module) -> nn.Module:
    return copy.deepcopy(layer).double()


LAYERS: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    (lambda: nn.Linear(5, 3), (5,)),
    (lambda: nn.Conv2d(2, 4, 2, stride=2, padding=1, groups=2), (2, 3, 4)),
    (lambda: nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular", dilation=1), (1, 4, 4)),
]


@pytest.mark.parametrize(("make", "shape"), LAYERS, ids=["linear", "strided", "circular"])
@pytest.mark.parametrize("per", ["layer", "input", "weight"])
def test_weight_noise_has_the_local_moments(make: Callable[[], nn.Module], shape: tuple[int, ...], per: str) -> None:
    layer, x = make(), torch.randn(shape)
    module = Variational(layer, 0.4, per=per)
    (log_alpha,) = noise_parameters(module)
    with torch.no_grad():
        log_alpha.copy_(torch.randn(log_alpha.shape) - 0.5)
    alpha = log_alpha.detach().exp().double()
    if per == "input" and isinstance(layer, nn.Conv2d) and layer.groups > 1:
        alpha = spread_over_groups(alpha, layer)
    elif per == "input" and isinstance(layer, nn.Linear):
        alpha = alpha.reshape(1, -1)
    elif per == "input":
        alpha = alpha.reshape(1, -1, 1, 1)
    mean, variance = moment_oracle(layer, x, alpha)
    samples = module(repeated(x, 10_000)).flatten(1).detach().double().numpy()
    oracles.assert_means(samples, mean)
    oracles.assert_variances(samples, variance)
    centred = samples - mean
    pairs = np.stack([centred[:, i] * centred[:, i - 1] for i in range(1, centred.shape[1])], 1)
    oracles.assert_means(pairs, np.zeros(pairs.shape[1]))  # drawn for each pre-activation on its own


def spread_over_groups(alpha: Tensor, layer: nn.Conv2d) -> Tensor:
    """α of each weight (out, in/groups, 1, 1): one for each input channel, or one for each channel of a group."""
    each = alpha.flatten()
    if each.numel() != layer.in_channels:
        return each.reshape(1, -1, 1, 1)
    rows = each.reshape(layer.groups, -1).repeat_interleave(layer.out_channels // layer.groups, 0)
    return rows[:, :, None, None]


def test_weight_noise_on_one_output_is_gaussian_dropout_of_the_input() -> None:
    """y = Σ θ_i x_i m_i + b with m_i ~ N(1, α): the two forms meet where nothing shares the noise."""
    layer, x, p = nn.Linear(6, 1), torch.randn(6), 0.3
    weights_noisy = Variational(layer, p)(repeated(x)).detach().numpy().ravel()
    input_noisy = layer(Gaussian(p)(repeated(x))).detach().numpy().ravel()
    assert stats.ks_2samp(weights_noisy, input_noisy).pvalue > oracles.ALPHA
    shifted = stats.ks_2samp(weights_noisy, input_noisy + 0.1 * weights_noisy.std())
    assert shifted.pvalue < oracles.ALPHA, "the comparison has no power"


def test_weight_noise_of_an_all_zero_row_has_finite_gradients() -> None:
    for layer, x in ((nn.Linear(4, 3), torch.zeros(2, 4)), (nn.Conv2d(1, 2, 3, padding=1), torch.zeros(2, 1, 4, 4))):
        module, x = Variational(layer, 0.5), x.requires_grad_()
        module(x).square().sum().backward()
        for q in (x, *module.parameters()):
            assert q.grad is not None
            assert q.grad.isfinite().all()


# Standout


def test_standout_keeps_each_unit_by_its_pre_activation() -> None:
    layer = nn.Linear(4, 6)
    x = torch.randn(4)
    a = layer(x).detach().double().numpy()
    for options, alpha, beta in (
        ({"p": 0.5}, 1.0, 0.0),
        ({"p": 0.2}, 1.0, math.log(4)),
        ({"p": 0.7, "alpha": -2.0}, -2.0, math.log(3 / 7)),
        ({"p": 0.5, "alpha": 0.5, "beta": 0.7}, 0.5, 0.7),
        ({"p": 0.2, "learn": True}, 1.0, math.log(4)),
        ({"p": 0.5, "alpha": 0.5, "beta": 0.7, "learn": True}, 0.5, 0.7),
    ):
        keep = special.expit(alpha * a + beta)
        module = Standout(layer, activation=torch.sigmoid, **options)
        y = module(repeated(x)).detach().numpy()
        oracles.assert_frequencies((y != 0).sum(0), ROWS, keep)
        full = special.expit(a)
        np.testing.assert_allclose(y, np.where(y != 0, full, 0), rtol=1e-4, atol=1e-6)
        expected = module.eval()(x).detach().numpy()
        np.testing.assert_allclose(expected, full * keep, rtol=1e-5)
        kept = y != 0
        pairs = (kept.T.astype(float) @ kept.astype(float))[np.triu_indices(6, 1)]
        oracles.assert_frequencies(pairs, ROWS, np.outer(keep, keep)[np.triu_indices(6, 1)])


def test_standout_on_a_convolution() -> None:
    layer, x = nn.Conv2d(2, 3, 3, stride=2, padding=1), torch.randn(2, 5, 4)
    a = layer(x).detach().double().numpy()
    y = Standout(layer, 0.3, activation=torch.sigmoid)(repeated(x)).detach().numpy()
    keep = special.expit(a + math.log(7 / 3))
    oracles.assert_frequencies((y != 0).sum(0), ROWS, keep)


def test_standout_gradients_are_straight_through() -> None:
    layer, x, weight = nn.Linear(4, 6), torch.randn(9, 4), torch.randn(9, 6)
    module = Standout(layer, 0.3, activation=torch.tanh, learn=True)
    y = module(x)
    (y * weight).sum().backward()
    a = layer(x).detach()
    g = torch.sigmoid(a + math.log(7 / 3))
    slope = weight * a.tanh() * g * (1 - g)
    alpha, beta = noise_parameters(module)
    assert float(alpha.grad) == pytest.approx(float((slope * a).sum()), rel=1e-3)  # type: ignore[arg-type]
    assert float(beta.grad) == pytest.approx(float(slope.sum()), rel=1e-3)  # type: ignore[arg-type]
    kept = (y != 0).float()
    through = weight * kept * (1 - a.tanh().square())  # nothing of it goes through the keep probability
    torch.testing.assert_close(layer.weight.grad, through.T @ x, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(layer.bias.grad, through.sum(0), rtol=1e-3, atol=1e-4)


def test_standout_without_learning_has_no_parameters_of_its_own() -> None:
    assert not list(noise_parameters(Standout(nn.Linear(2, 2))))
    module = Standout(nn.Linear(2, 2), learn=True)
    assert [q.shape for q in noise_parameters(module)] == [(), ()]


# DropConnect


def small_layer() -> tuple[nn.Linear, Tensor]:
    layer = nn.Linear(5, 3)
    with torch.no_grad():
        layer.weight.copy_(
            torch.tensor([[0.3, -1.1, 0.72, 0.05, 2.0], [0.41, 0.93, 1.77, -0.59, 0.87], [-0.6, 0.9, 0.31, 1.7, 0.11]])
        )
    return layer, torch.tensor([1.0, 0.5, -2.0, 1.5, 0.25])


@pytest.mark.parametrize("p", [0.2, 0.5])
@pytest.mark.parametrize("mask", ["batch", "example"])
def test_dropconnect_masks_weights_as_bernoulli(mask: str, p: float) -> None:
    layer, x = small_layer()
    module = DropConnect(layer, p, mask=mask)
    if mask == "example":
        y = module(repeated(x)).detach().double().numpy()
    else:
        y = torch.cat([module(x[None]) for _ in range(4_000)]).detach().double().numpy()
    for unit in range(3):
        values, probabilities = oracles.masked_sums(
            layer.weight[unit].tolist(), x.tolist(), float(layer.bias.detach()[unit]), p
        )
        order = np.argsort(values)
        values, probabilities = values[order], probabilities[order]
        assert np.diff(values).min() > 1e-4
        nearest = np.abs(y[:, unit, None] - values).argmin(1)
        np.testing.assert_allclose(y[:, unit], values[nearest], atol=1e-5)
        law = {frozenset([i]): float(q) for i, q in enumerate(probabilities)}
        oracles.assert_sets_follow(np.eye(len(values), dtype=bool)[nearest], law)
    centred = y - y.mean(0)
    pairs = np.stack([centred[:, 0] * centred[:, 1], centred[:, 0] * centred[:, 2], centred[:, 1] * centred[:, 2]], 1)
    oracles.assert_means(pairs, np.zeros(3))


@pytest.mark.parametrize(("make", "shape"), LAYERS, ids=["linear", "strided", "circular"])
def test_dropconnect_training_and_evaluation_share_their_moments(
    make: Callable[[], nn.Module], shape: tuple[int, ...]
) -> None:
    layer, x, p = make(), torch.randn(shape), 0.3
    thinned = in_double(layer)
    with torch.no_grad():
        thinned.weight.mul_(1 - p)
    mean, _ = moment_oracle(thinned, x, 0.0)
    _, variance = moment_oracle(layer, x, p * (1 - p))
    samples = DropConnect(layer, p, mask="example")(repeated(x, 10_000)).flatten(1).detach().double().numpy()
    oracles.assert_means(samples, mean)
    oracles.assert_variances(samples, variance)
    evaluated = DropConnect(layer, p).eval()(x[None]).detach().numpy().ravel()
    np.testing.assert_allclose(evaluated, mean, rtol=1e-4, atol=1e-6)
    rectified = DropConnect(layer, p, activation=nn.ReLU()).eval()(x[None]).detach().numpy().ravel()
    np.testing.assert_allclose(rectified, oracles.relu_expectation(mean, np.sqrt(variance)), rtol=1e-4, atol=1e-6)


def enumerated_moments(layer: nn.Linear, x: Tensor, p: float) -> tuple[np.ndarray, np.ndarray]:
    means, deviations = [], []
    for unit in range(layer.out_features):
        values, probabilities = oracles.masked_sums(
            layer.weight[unit].tolist(), x.tolist(), float(layer.bias.detach()[unit]), p
        )
        mean = float(values @ probabilities)
        means.append(mean)
        deviations.append(math.sqrt(float((values - mean) ** 2 @ probabilities)))
    return np.array(means), np.array(deviations)


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("relu", [nn.ReLU(), torch.relu, nn.functional.relu], ids=["module", "torch", "functional"])
def test_dropconnect_evaluates_relu_in_closed_form(relu: Callable[[Tensor], Tensor], p: float) -> None:
    layer, x = small_layer()
    mean, deviation = enumerated_moments(layer, x, p)
    y = DropConnect(layer, p, activation=relu).eval()(x).detach().numpy()
    np.testing.assert_allclose(y, oracles.relu_expectation(mean, deviation), rtol=1e-5, atol=1e-6)
    by_quadrature = [
        oracles.gaussian_expectation(lambda a: max(a, 0.0), m, s) for m, s in zip(mean, deviation, strict=True)
    ]
    np.testing.assert_allclose(y, by_quadrature, rtol=1e-5, atol=1e-6)
    rng = np.random.default_rng(0)
    samples = np.maximum(mean + deviation * rng.standard_normal((200_000, 3)), 0)
    oracles.assert_means(samples, y)


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Tanh()], ids=["relu", "tanh"])
def test_dropconnect_evaluates_f_of_the_mean_where_nothing_varies(activation: nn.Module) -> None:
    for scale in (1.0, -1.0):
        layer = nn.Linear(4, 3)
        with torch.no_grad():
            layer.bias.copy_(scale * layer.bias.abs())
        module = DropConnect(layer, 0.5, activation=activation).eval()
        x = torch.zeros(2, 4, requires_grad=True)
        y = module(x)
        torch.testing.assert_close(y, activation(layer.bias).expand(2, 3))
        y.sum().backward()
        for q in (x, layer.weight, layer.bias):
            assert q.grad is not None
            assert q.grad.isfinite().all()


FUNCTIONS: list[tuple[Callable[[Tensor], Tensor], Callable[[float], float]]] = [
    (nn.Tanh(), math.tanh),
    (nn.Sigmoid(), lambda a: float(special.expit(a))),
    (torch.tanh, math.tanh),
    (nn.GELU(), lambda a: a * stats.norm.cdf(a)),
]


@pytest.mark.parametrize(("activation", "f"), FUNCTIONS, ids=["tanh", "sigmoid", "function", "gelu"])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_dropconnect_evaluates_other_functions_by_quadrature(
    activation: Callable[[Tensor], Tensor], f: Callable[[float], float], p: float
) -> None:
    layer, x = small_layer()
    with torch.no_grad():
        layer.weight.mul_(0.4)
        layer.weight[1].mul_(0.1)
    mean, deviation = enumerated_moments(layer, x, p)
    y = DropConnect(layer, p, activation=activation).eval()(x).detach().numpy()
    wanted = [oracles.gaussian_expectation(f, m, s) for m, s in zip(mean, deviation, strict=True)]
    np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-4)
    shortcut = np.array([f(m) for m in mean])
    assert np.abs(shortcut - wanted).max() > 1e-3, "the mean alone would pass"


@pytest.mark.parametrize("draws", [1, 5])
def test_dropconnect_draws_average_samples_of_the_gaussian(draws: int) -> None:
    layer, x = small_layer()
    mean, deviation = enumerated_moments(layer, x, 0.4)
    module = DropConnect(layer, 0.4, activation=nn.ReLU(), draws=draws).eval()
    samples = module(repeated(x)).detach().double().numpy()
    oracles.assert_means(samples, oracles.relu_expectation(mean, deviation))
    rng = np.random.default_rng(0)
    one = np.maximum(mean + deviation * rng.standard_normal((400_000, 3)), 0)
    np.testing.assert_allclose(samples.var(0), one.var(0) / draws, rtol=0.08)
    np.testing.assert_allclose(
        DropConnect(layer, 0.4, draws=draws).eval()(x).detach().numpy(), mean, rtol=1e-5, err_msg="no f: the mean"
    )


def test_dropconnect_draws_0_uses_the_mean() -> None:
    layer, x = small_layer()
    mean, _ = enumerated_moments(layer, x, 0.4)
    y = DropConnect(layer, 0.4, activation=nn.ReLU(), draws=0).eval()(x).detach().numpy()
    np.testing.assert_allclose(y, np.maximum(mean, 0), rtol=1e-5, atol=1e-6)
