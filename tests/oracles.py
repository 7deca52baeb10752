"""What the dropout package has to agree with, computed another way: by enumeration, series, quadrature or numpy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache

import numpy as np
from scipy import integrate, special, stats

DropSet = frozenset[int]

# A correct layer fails one of these comparisons with this chance, and the seeds are fixed besides.
ALPHA = 1e-6


def drop_count(p: float, n: int) -> int:
    """k = floor(p·n), with the guard against 0.29·100 = 28.999999999999996."""
    return math.floor(p * n + 1e-9)


def sequential_drop_sets(weights: Sequence[float], k: int) -> dict[DropSet, float]:
    """Probability of each set that the paper's loop can drop: k times, one of what is left, in proportion to weight.

    Weights of 0 are never drawn; with fewer than k positive weights all of those fall.
    """
    candidates = [i for i, w in enumerate(weights) if w > 0]
    found: dict[DropSet, float] = {}
    for order in itertools.permutations(candidates, min(k, len(candidates))):
        left = math.fsum(weights[i] for i in candidates)
        probability = 1.0
        for i in order:
            probability *= weights[i] / left
            left -= weights[i]
        key = frozenset(order)
        found[key] = found.get(key, 0.0) + probability
    return found


def observed_sets(dropped: np.ndarray) -> dict[DropSet, int]:
    """Counts of the drop sets in a boolean (rows, units) array."""
    patterns, counts = np.unique(np.asarray(dropped, dtype=bool), axis=0, return_counts=True)
    return {frozenset(np.flatnonzero(row).tolist()): int(n) for row, n in zip(patterns, counts, strict=True)}


def assert_sets_follow(dropped: np.ndarray, expected: Mapping[DropSet, float], alpha: float = ALPHA) -> None:
    """Chi-square of whole drop sets against exact probabilities; sets expected fewer than 5 times are pooled."""
    seen = observed_sets(dropped)
    impossible = set(seen) - set(expected)
    assert not impossible, f"dropped sets that cannot fall: {sorted(map(sorted, impossible))[:5]}"
    rows = len(dropped)
    often = [s for s, q in expected.items() if q * rows >= 5]
    observed = [seen.get(s, 0) for s in often]
    wanted = [expected[s] * rows for s in often]
    if rows - sum(wanted) > 1e-6 * rows:
        observed.append(rows - sum(observed))
        wanted.append(rows - sum(wanted))
    if len(observed) < 2:
        return
    statistic = sum((o - e) ** 2 / e for o, e in zip(observed, wanted, strict=True))
    limit = stats.chi2.ppf(1 - alpha, len(observed) - 1)
    assert statistic < limit, f"chi-square {statistic:.1f} over {limit:.1f} for {len(observed)} drop sets"


def assert_frequencies(counts: np.ndarray, rows: int, expected: np.ndarray, alpha: float = ALPHA) -> None:
    """Each count against Binomial(rows, expected), two-sided, Bonferroni over the counts."""
    counts, expected = np.asarray(counts, dtype=float).ravel(), np.asarray(expected, dtype=float).ravel()
    tail = alpha / (2 * max(counts.size, 1))
    low = stats.binom.cdf(counts, rows, expected)
    high = stats.binom.sf(counts - 1, rows, expected)
    bad = (low < tail) | (high < tail)
    assert not bad.any(), f"frequencies {counts[bad] / rows} where {expected[bad]} was expected"


def assert_same_frequencies(ours: np.ndarray, theirs: np.ndarray, alpha: float = ALPHA) -> None:
    """Two-sample z test of every unit's and every pair's drop frequency, Bonferroni; both (rows, units) boolean."""
    first, second = (_frequencies(np.asarray(a, dtype=float)) for a in (ours, theirs))
    n, m = len(ours), len(theirs)
    pooled = (first * n + second * m) / (n + m)
    spread = np.sqrt(np.clip(pooled * (1 - pooled), 0, None) * (1 / n + 1 / m))
    limit = stats.norm.isf(alpha / (2 * first.size))
    off = np.abs(first - second)
    assert (off <= limit * spread + 1e-12).all(), (
        f"largest distance {(off / (spread + 1e-12)).max():.1f} of {limit:.1f}"
    )


def _frequencies(dropped: np.ndarray) -> np.ndarray:
    together = dropped.T @ dropped / len(dropped)
    return together[np.triu_indices(dropped.shape[1])]


def assert_means(samples: np.ndarray, expected: np.ndarray, alpha: float = ALPHA, slack: float = 0.0) -> None:
    """Column means of (rows, columns) samples against expected, by the CLT with the sample's variance."""
    samples = np.asarray(samples, dtype=np.float64)
    error = samples.std(0, ddof=1) / math.sqrt(len(samples))
    limit = stats.norm.isf(alpha / (2 * max(samples.shape[1], 1))) * error + slack + 1e-7
    off = np.abs(samples.mean(0) - expected)
    assert (off <= limit).all(), f"means off by {off[off > limit]} where {limit[off > limit]} is the limit"


def assert_variances(samples: np.ndarray, expected: np.ndarray, alpha: float = ALPHA) -> None:
    """Column variances against expected, by the CLT on squared deviations from the column mean."""
    samples = np.asarray(samples, dtype=np.float64)
    assert_means((samples - samples.mean(0)) ** 2 * len(samples) / (len(samples) - 1), expected, alpha)


def covariance_drops(
    x: np.ndarray, k: int, draws: int, rng: np.random.Generator, competes: np.ndarray | None = None
) -> np.ndarray:
    """Drops of the paper's Algorithm 3, literally: build S, draw s ~ N(0, S), drop the k largest. (draws, N) boolean.

    S is singular as a rule, so s comes from its eigendecomposition in float64. Units that have the same centred column
    get the same s to the bit, and ties fall uniformly. `competes` limits the choice to some units.
    """
    centred = np.asarray(x, dtype=np.float64) - np.asarray(x, dtype=np.float64).mean(0)
    covariance = centred.T @ centred
    values, vectors = np.linalg.eigh(covariance)
    s = rng.standard_normal((draws, len(values))) @ (vectors * np.sqrt(np.clip(values, 0, None))).T
    for twins in _equal_columns(centred):
        s[:, twins] = s[:, twins[:1]] if np.abs(centred[:, twins]).max() > 1e-12 else 0.0
    if competes is not None:
        s[:, ~competes] = -np.inf
    order = np.lexsort((rng.random(s.shape), -s), axis=1)
    dropped = np.zeros(s.shape, dtype=bool)
    np.put_along_axis(dropped, order[:, :k], True, axis=1)
    return dropped


def _equal_columns(centred: np.ndarray) -> list[list[int]]:
    groups: list[list[int]] = []
    for j in range(centred.shape[1]):
        twin = next((g for g in groups if np.allclose(centred[:, g[0]], centred[:, j], rtol=0, atol=1e-12)), None)
        if twin is None:
            groups.append([j])
        else:
            twin.append(j)
    return groups


@cache
def kl_exact(alpha: float) -> float:
    """KL(N(θ, αθ²) || log-uniform) up to its constant: 0.5·Σ_j Poisson(j; 1/(2α))·Σ_{i<j} 1/(i+1/2)."""
    rate = 1 / (2 * alpha)
    top = int(rate + 40 * math.sqrt(rate) + 60)
    j = np.arange(top + 1)
    weights = np.exp(j * math.log(rate) - rate - special.gammaln(j + 1))
    inner = np.concatenate([[0.0], np.cumsum(1 / (np.arange(top) + 0.5))])
    return float(0.5 * (weights * inner).sum())


def masked_sums(weights: Sequence[float], x: Sequence[float], bias: float, p: float) -> tuple[np.ndarray, np.ndarray]:
    """All 2^n values of Σ w_i m_i x_i + bias over m_i ~ Bernoulli(1-p), and their probabilities."""
    masks = np.array(list(itertools.product((0.0, 1.0), repeat=len(weights))))
    kept = masks.sum(1)
    values = masks @ (np.asarray(weights, dtype=np.float64) * np.asarray(x, dtype=np.float64)) + bias
    return values, (1 - p) ** kept * p ** (len(weights) - kept)


def gaussian_expectation(f: Callable[[float], float], mean: float, deviation: float) -> float:
    """E f(mean + deviation·z) by adaptive quadrature."""
    if deviation == 0:
        return f(mean)
    value, _ = integrate.quad(
        lambda z: f(mean + deviation * z) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi),
        -12,
        12,
        points=[min(max(-mean / deviation, -12), 12)],
        limit=400,
        epsabs=1e-11,
    )
    return float(value)


def relu_expectation(mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """E max(0, mean + deviation·z) in closed form, by scipy's normal distribution."""
    safe = np.where(deviation > 0, deviation, 1.0)
    ratio = mean / safe
    value = mean * stats.norm.cdf(ratio) + safe * stats.norm.pdf(ratio)
    return np.where(deviation > 0, value, np.maximum(mean, 0))


def inclusion(sets: Mapping[DropSet, float] | Iterable[tuple[DropSet, float]], n: int) -> np.ndarray:
    """Each unit's probability of falling."""
    items = sets.items() if isinstance(sets, Mapping) else sets
    out = np.zeros(n)
    for members, probability in items:
        for i in members:
            out[i] += probability
    return out
