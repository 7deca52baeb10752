"""Which units vary together: the covariance that DropCorr draws from (Gavier, section 3.3), seen from several sides.

Activations are tensors x (R, *units): R examples of N units each, taken flat. Matrices are float64 NumPy arrays (N, N).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from core.dropout.dropcorr import centre

Matrix = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Order = Literal["index", "variance", "cluster"]

ORDERS: tuple[Order, ...] = ("index", "variance", "cluster")
LARGEST_SHOWN = 256


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
    return as_correlation(covariance(x))


def as_correlation(S: Matrix) -> Matrix:
    """The correlation (N, N) that belongs to a covariance ``S``; NaN in the rows and columns of variance 0."""
    size = np.sqrt(np.diag(S))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.clip(S / np.outer(size, size), -1.0, 1.0))


def varying(S: Matrix) -> Matrix:
    """A covariance ``S`` (N, N) with NaN in the rows and columns of variance 0: such units have none to compare."""
    still = np.diag(S) == 0
    return np.where(still | still[:, None], np.nan, S)


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
