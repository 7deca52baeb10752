"""Which units vary together, and which fall together: what DropCorr is about (Gavier, section 3.3).

Activations are tensors x (R, *units): R examples of N units each, taken flat. Matrices are float64 NumPy arrays (N, N).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.dropout import Dropout
from core.dropout.dropcorr import centre
from core.inspection.models import untouched

Matrix = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Order = Literal["index", "variance", "cluster"]

ORDERS: tuple[Order, ...] = ("index", "variance", "cluster")
LARGEST_SHOWN = 256


class CoDrop(NamedTuple):
    """How often pairs of units fell in the same mask: ``frequency`` (N, N) in [0, 1], counted over ``masks`` masks.

    The diagonal says how often a unit fell at all.
    """

    frequency: Matrix
    masks: int


class Agreement(NamedTuple):
    """A correlation ``r`` over ``pairs`` pairs of units with its 95 % interval; NaN where nothing varies."""

    r: float
    low: float
    high: float
    pairs: int


def centred(x: Tensor) -> Matrix:
    """X_c (R, N), as DropCorr forms it: exactly 0 where a unit never changes. ValueError for one example alone."""
    if len(x) < 2:
        raise ValueError(f"A covariance needs at least two examples, got {len(x)}.")
    c: Matrix = centre(x.detach().cpu().flatten(1).double()).numpy()
    return c


def covariance(x: Tensor) -> Matrix:
    """Covariance of the units of ``x`` (R, *units) over its examples, X_cᵀX_c / (R - 1)."""
    c = centred(x)
    return np.asarray(c.T @ c / (len(c) - 1))


def correlation(x: Tensor) -> Matrix:
    """Correlation of the units of ``x`` (R, *units); NaN in the rows and columns of units that never change."""
    c = centred(x)
    size = np.sqrt(np.square(c).sum(0))
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = c / size
    return np.asarray(np.clip(unit.T @ unit, -1.0, 1.0))


def constant(x: Tensor) -> npt.NDArray[np.bool_]:
    """(N,) True for units that have one value on all examples, as dead units do: they correlate with nothing."""
    return np.asarray(~centred(x).any(axis=0))


def spectrum(x: Tensor) -> Matrix:
    """Eigenvalues of the covariance of ``x`` (R, *units), largest first: min(R, N) of them, all others are 0."""
    c = centred(x)
    return np.asarray(np.square(np.linalg.svd(c, compute_uv=False)) / (len(c) - 1))


def directions(eigenvalues: Matrix) -> float:
    """Participation ratio (Σλ)² / Σλ²: in how many directions the units vary, 1 to N; 0 where none does."""
    total = float(np.square(eigenvalues).sum())
    return float(eigenvalues.sum()) ** 2 / total if total > 0 else 0.0


def co_drop(layer: Dropout, x: Tensor, draws: int = 50, units: Indices | None = None, seed: int = 0) -> CoDrop:
    """How often pairs of units fall together in ``draws`` training forwards of ``layer``, by its own masks.

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
    return ((squares - torch.outer(total, total) / size) / (size - 1)).numpy()


def order(x: Tensor, by: Order = "index") -> Indices:
    """An order of the units of ``x`` (R, *units): flat indices (N,).

    "variance": largest first. "cluster": average linkage on 1 - correlation, with the leaves turned so that neighbours
    are alike (Bar-Joseph et al., Bioinformatics 17, 2001); units that never change come last.
    """
    n = math.prod(x.shape[1:])
    if by == "index":
        return np.arange(n)
    if by == "variance":
        return np.argsort(-np.square(centred(x)).sum(0), kind="stable")
    if by != "cluster":
        raise ValueError(f"Units are ordered by {', '.join(ORDERS)}, not by {by!r}.")
    still = constant(x)
    moving = np.flatnonzero(~still)
    return np.concatenate([moving[_leaves(correlation(x)[np.ix_(moving, moving)])], np.flatnonzero(still)])


def block_size(n: int, at_most: int = LARGEST_SHOWN) -> int:
    """How many neighbouring units share a block, so that ``n`` of them make ``at_most`` blocks or fewer."""
    return max(1, math.ceil(n / at_most))


def blocks(matrix: Matrix, order: Indices, at_most: int = LARGEST_SHOWN) -> Matrix:
    """``matrix`` (N, N) in that order, or means over equal blocks of it where N > ``at_most``.

    Means are over pairs of different units, and leave NaN out.
    """
    ordered = matrix[np.ix_(order, order)]
    size = block_size(len(ordered), at_most)
    if size == 1:
        return ordered
    np.fill_diagonal(ordered, np.nan)
    starts = np.arange(0, len(ordered), size)
    known = np.isfinite(ordered)
    sums, counts = (
        np.add.reduceat(np.add.reduceat(part, starts, 0), starts, 1)
        for part in (np.where(known, ordered, 0.0), known.astype(float))
    )
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / counts)


def last_refresh(step: int, refresh: int) -> int:
    """The step at which the covariance was last estimated, if that is done at 0, ``refresh``, 2·``refresh``, …"""
    return step - step % refresh


def drift(snapshots: Sequence[Tensor], refresh: int) -> Matrix:
    """How far the covariance has moved since it was last estimated, ‖S_e - S_r‖_F / ‖S_r‖_F for each e: (E,).

    Args:
        snapshots: activations (R, *units) of the same examples, one an epoch.
        refresh: every so many of them the covariance is estimated anew; 0 there. NaN where S_r = 0.

    ‖S_e - S_r‖² is expanded, and ⟨S_e, S_r⟩ = ‖X_e X_rᵀ‖², so that nothing of size N×N is built.
    """
    if refresh < 1:
        raise ValueError(f"The covariance is refreshed every 1, 2, … snapshots, not every {refresh}.")
    c = [centred(x) for x in snapshots]
    found = np.zeros(len(c))
    for e in range(len(c)):
        r = last_refresh(e, refresh)
        if e == r:
            continue
        here, kept, both = (float(np.square(a @ b.T).sum()) for a, b in ((c[e], c[e]), (c[r], c[r]), (c[e], c[r])))
        found[e] = math.sqrt(max(0.0, here + kept - 2 * both) / kept) if kept > 0 else math.nan
    return found


def agreement(matrix: Matrix, frequency: Matrix) -> Agreement:
    """Correlation between the entries of two symmetric matrices (N, N) over all pairs of different units.

    Pairs that share a unit depend on each other, so an interval for N(N-1)/2 independent pairs, or one over draws
    alone, would be far too narrow. This one leaves out one unit at a time with all its pairs: the jackknife on
    Fisher's z (Snijders & Borgatti, Connections 22, 1999), which errs on the wide side (Efron & Stein, Annals of
    Statistics 9, 1981). Pairs with a NaN are left out.
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


def _leaves(r: Matrix) -> Indices:
    """Places of the N units whose correlation is ``r`` in a tree with optimal leaf order."""
    from scipy.cluster import hierarchy  # type: ignore[import-untyped]
    from scipy.spatial.distance import squareform  # type: ignore[import-untyped]

    if len(r) < 3:
        return np.arange(len(r))
    apart = 1.0 - (r + r.T) / 2
    np.fill_diagonal(apart, 0.0)
    distances = squareform(apart, checks=False)
    tree = hierarchy.linkage(distances, "average")
    return np.asarray(hierarchy.leaves_list(hierarchy.optimal_leaf_ordering(tree, distances)), dtype=np.intp)


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
