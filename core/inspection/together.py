"""Which units fall together, and how that agrees with their covariance.

Activations are tensors x (R, *units): R examples of N units each, taken flat. Matrices are float64 NumPy arrays (N, N).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.dropout import DropCorr, Dropout
from core.inspection.covariance import Indices, Matrix
from core.inspection.models import untouched


class CoDrop(NamedTuple):
    """How often pairs of units fell in the same mask: ``frequency`` (N, N) in [0, 1], counted over ``masks`` masks.

    The diagonal says how often a unit fell at all.
    """

    frequency: Matrix
    masks: int


class Trend(NamedTuple):
    """Means over bins of pairs: of what they were sorted by, of how often they fall together, and pairs a bin: (K,)."""

    value: Matrix
    frequency: Matrix
    pairs: Indices


class Agreement(NamedTuple):
    """A correlation ``r`` over ``pairs`` pairs of units with its 95 % interval; NaN where nothing varies."""

    r: float
    low: float
    high: float
    pairs: int


def co_drop(layer: Dropout, x: Tensor, draws: int = 50, units: Indices | None = None, seed: int = 0) -> CoDrop:
    """How often pairs of units fall together in ``draws`` training forwards of ``layer``, by its own masks.

    Work grows with draws·R·N²: 5,000 masks of 1,000 units take up to half a second on one core, of 128 units 0.03 s.

    Args:
        layer: a technique that drops units, with its p; it is as before afterwards.
        x: what enters it (R, *units), R ≥ 1; every forward draws a mask for each of the R examples.
        draws: number of forwards.
        units: flat indices of the units to count, None for all.
        seed: of the random numbers; equal seeds give coupled masks over p.

    Raises:
        ValueError: where units do not fall.
    """
    if layer.drops != "units":
        raise ValueError(f"{layer.title} does not drop units{', but weights' if layer.drops else ''}.")
    if draws < 1 or len(x) < 1:
        raise ValueError(f"Masks are counted over at least one draw and one example, got {draws} and {len(x)}.")
    with untouched(layer, seed):
        n = _columns(layer.undisturbed(x[:1]), units).shape[1]
        total = np.zeros((n, n))
        for _ in range(draws if layer.p > 0.0 else 0):
            fallen = layer.effect(x, layer.draw(x)).fallen
            assert fallen is not None
            m = _columns(fallen, units).float()
            total += (m.T @ m).numpy()
    masks = draws * len(x)
    return CoDrop(total / masks, masks)


def excess(frequency: Matrix) -> Matrix:
    """How much more often pairs fall together than if each unit fell on its own: f_ij - f_i·f_j, the diagonal NaN."""
    alone = np.diag(frequency)
    found = frequency - np.outer(alone, alone)
    np.fill_diagonal(found, np.nan)
    return found


def covariance_after(layer: Dropout, x: Tensor, draws: int = 50, units: Indices | None = None, seed: int = 0) -> Matrix:
    """Covariance of the units behind ``layer`` in training, over examples and ``draws`` draws of its noise.

    Arguments as in :func:`co_drop`; any technique will do. ``x`` is what the layer takes.
    """
    size = draws * len(x)
    if size < 2:
        raise ValueError(f"A covariance needs at least two examples, got {size}.")
    with untouched(layer, seed):
        clean = _columns(layer.undisturbed(x), units).double()
        middle = clean.mean(0)  # near the mean, so that the difference of squares below keeps its digits
        total, squares = torch.zeros_like(middle), torch.zeros(len(middle), len(middle), dtype=torch.float64)
        for _ in range(draws):
            noisy = clean if layer.p == 0.0 else _columns(layer.perturb(x, layer.draw(x)), units).double()
            total += (noisy - middle).sum(0)
            squares += (noisy - middle).T @ (noisy - middle)
    S = squares - torch.outer(total, total) / size
    still = S.diagonal() <= 1e-12 * squares.diagonal()  # but for rounding these units never change
    S[still, :] = S[:, still] = 0.0
    return (S / (size - 1)).numpy()


def sampled(layer: DropCorr, x: Tensor, draws: int = 50, units: Indices | None = None, seed: int = 0) -> Matrix:
    """Covariance of the samples s by which ``layer`` ranks units, of ``draws`` training forwards on ``x``.

    Arguments as in :func:`co_drop`. s has mean 0 and, by its derivation, covariance (R - 1) times that of the layer's
    reference, or of ``x`` where it has none: this one is counted.
    """
    with untouched(layer, seed):
        drawn = [layer.effect(x, layer.draw(x)).score for _ in range(draws)]
    s = torch.cat([_columns(part, units) for part in drawn if part is not None]).double()
    return (s.T @ s / len(s)).numpy()


def trend(matrix: Matrix, frequency: Matrix, bins: int = 20) -> Trend:
    """How often pairs of different units fall together, over what ``matrix`` (N, N) says of them.

    Up to ``bins`` bins hold about equally many pairs; equal values share one, and NaN are left out.
    """
    upper = np.triu_indices(len(matrix), 1)
    a, b = matrix[upper], frequency[upper]
    a, b = (part[np.isfinite(a) & np.isfinite(b)] for part in (a, b))
    if len(a) == 0:
        return Trend(a, b, np.zeros(0, dtype=np.intp))
    rank = np.searchsorted(np.sort(a), a)  # equal values have the same
    bin_of = rank * bins // len(a)
    count = np.bincount(bin_of)
    full = count > 0
    value, mean = (np.bincount(bin_of, part)[full] / count[full] for part in (a, b))
    return Trend(value, mean, count[full])


def agreement(matrix: Matrix, frequency: Matrix) -> Agreement:
    """Correlation between the entries of two symmetric matrices (N, N) over all pairs of different units.

    Pairs that share a unit depend on each other, so an interval for N(N-1)/2 independent pairs, or one over draws
    alone, would be far too narrow. This one leaves out one unit at a time with all its pairs, as Snijders & Borgatti
    (Connections 22, 1999) do with vertices: the plain jackknife on Fisher's z, which errs on the wide side (Efron &
    Stein, Annals of Statistics 9, 1981; for networks Lin et al. 2020, arXiv:2004.08935). Pairs with a NaN are left out.
    """
    from scipy.special import stdtrit  # type: ignore[import-untyped]

    known = np.isfinite(matrix) & np.isfinite(frequency)
    np.fill_diagonal(known, False)
    rows = np.flatnonzero(known.any(0))
    known = known[np.ix_(rows, rows)]
    n, pairs = len(rows), int(known.sum()) // 2
    if n < 4:
        return Agreement(math.nan, math.nan, math.nan, pairs)
    a, b = (_standardised(part[np.ix_(rows, rows)], known) for part in (matrix, frequency))
    # (6, N): what the pairs of each unit add to the sums behind a correlation.
    of_unit = np.stack([part.sum(1) for part in (known.astype(float), a, b, a * a, b * b, a * b)])
    total = of_unit.sum(1) / 2
    r = float(_correlation(total))
    with np.errstate(invalid="ignore", divide="ignore"):
        z = np.arctanh(_correlation(total[:, None] - of_unit))
        middle = np.arctanh(r)
    if abs(r) > 1 - 1e-12:
        return Agreement(r, r, r, pairs)
    error = math.sqrt((n - 1) / n * float(np.square(z - z.mean()).sum()))
    reach = float(stdtrit(n - 1, 0.975)) * error
    return Agreement(r, math.tanh(middle - reach), math.tanh(middle + reach), pairs)


def _columns(x: Tensor, units: Indices | None) -> Tensor:
    flat = x.detach().cpu().flatten(1)
    return flat if units is None else flat[:, torch.from_numpy(units)]


def _standardised(part: Matrix, known: npt.NDArray[np.bool_]) -> Matrix:
    """Entries with mean 0 and deviation 1 over the known pairs, 0 elsewhere; all 0 where they do not vary."""
    values = part[known]
    spread = float(values.std())
    if spread <= 1e-12 * float(np.abs(values).max()):
        return np.zeros_like(part)
    return np.where(known, (part - values.mean()) / spread, 0.0)


def _correlation(sums: Matrix) -> Matrix:
    """Correlation from Σ1, Σa, Σb, Σa², Σb², Σab, the first axis of ``sums``; NaN where one does not vary."""
    n, a, b, aa, bb, ab = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        spread = np.sqrt(np.clip(aa - a * a / n, 0, None) * np.clip(bb - b * b / n, 0, None))
        return np.asarray(np.clip(np.where(spread > 0, (ab - a * b / n) / spread, np.nan), -1.0, 1.0))
