"""What pairs of units say, as tables and in words."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from app import pairs
from app.covariance_charts import leaves_chart
from app.names import techniques
from app.networks import network
from app.pairs import AROUND, FALLING, Shown
from core.dropout import TECHNIQUES
from core.inspection.covariance import Matrix, as_correlation, block_size, constant, directions
from core.inspection.together import Agreement

JOINT = "Agreement"


def title(technique: str) -> str:
    """What a person reads for a technique."""
    return techniques()[technique]


def agreement_table(shown: Shown, able: Sequence[str]) -> pd.DataFrame:
    """How falling together agrees with what varies together, a technique a row."""
    rows = [
        {
            "Technique": title(name),
            "Agreement with covariance": pairs.agreed(shown.source, name, shown.p, "covariance"),
            "Agreement with correlation": pairs.agreed(shown.source, name, shown.p, "correlation"),
            "Units that fall": percent(np.diag(pairs.falling(shown.source, name, shown.p).frequency).mean()),
        }
        for name in able
    ]
    return pd.DataFrame(rows)


def change_table(shown: Shown, able: Sequence[str]) -> pd.DataFrame:
    """What becomes of the covariance, a technique a row, the activations without dropout first."""
    rows = [change(shown, "Without dropout", pairs.before(shown.source), pairs.eigenvalues(shown.source, None, 0.0))]
    for name in able:
        after = pairs.after(shown.source, name, shown.p)
        row = change(shown, title(name), after, pairs.eigenvalues(shown.source, name, shown.p))
        falls = TECHNIQUES[name].drops == "units"
        rows.append(row | {JOINT: pairs.agreed(shown.source, name, shown.p, "after") if falls else "drops no units"})
    return pd.DataFrame(rows)


def change(shown: Shown, what: str, covariance: Matrix, eigenvalues: Matrix) -> dict[str, Any]:
    total = np.trace(pairs.before(shown.source))
    return {
        "Technique": what,
        "Variance": f"{np.trace(covariance) / total:.2f} ×" if total > 0 else "–",
        "Mean |r|": f"{mean_size(as_correlation(covariance)):.2f}",
        "Directions": f"{directions(eigenvalues):.1f}",
        JOINT: "–",
    }


def agreement_in_words(shown: Shown, able: Sequence[str]) -> str:
    """One number a technique, sorted by what it says."""
    found = {name: pairs.agreed(shown.source, name, shown.p, shown.measure) for name in able}
    known = {name: r for name, r in found.items() if not math.isnan(r.r)}
    more = [name for name, r in known.items() if r.low > 0]
    less = [name for name, r in known.items() if r.high < 0]
    rest = [name for name in known if name not in (*more, *less)]
    said = [
        f"fall together {how} under {listed(names, found)}."
        for how, names in (("more often", more), ("less often", less), ("neither more nor less often", rest))
        if names
    ]
    if not said:
        return "All pairs fall together equally often." if found else ""
    note = "In brackets: the correlation over all pairs, with its 95 % interval."
    return " ".join([f"Pairs with a larger {shown.measure} {said[0]}", *(f"They {part}" for part in said[1:]), note])


def change_in_words(shown: Shown, able: Sequence[str]) -> str:
    """How far correlations shrink, a technique each."""
    parts = [
        f"behind {title(name)} {mean_size(as_correlation(pairs.after(shown.source, name, shown.p))):.2f}"
        for name in able
    ]
    before = mean_size(pairs.correlated(shown.source))
    return f"{', '.join([f'Without dropout two units correlate by {before:.2f} on average, up or down', *parts])}."


def drift_in_words(epochs: Sequence[float], drift: Matrix, refresh: int) -> str:
    """What the drift says of estimating the covariance so many snapshots apart."""
    sizes = [np.nanmax(part, initial=0.0) for part in (drift[:refresh], drift[refresh:])]
    start = "untrained network, whose covariance is tiny"
    if refresh >= len(drift):
        return f"The one estimate is that of the {start}: it is soon worth nothing."
    said = f"Once training is under way, the covariance drifts by up to {100 * sizes[1]:.0f} % between estimates."
    if leaves_chart(drift, refresh):
        said += f" The first is that of the {start}: from there it drifts by {sizes[0]:,.0f} × its size, off the chart."
    return said


def remarks(shown: Shown) -> str:
    """What a reader has to know about what is drawn."""
    looked_at, masks = pairs.looked_at(shown.source), pairs.DRAWS * len(pairs.looked_at(shown.source))
    n, still = looked_at.shape[1], int(constant(looked_at).sum())
    everything = pairs.clean(shown.source)[0].numel()
    said = [f"{len(looked_at)} images, {masks:,} masks of each technique."]
    if everything > n:
        said.append(f"The layer has {everything:,} units; {n:,} of them, chosen once at random, are looked at.")
    if block_size(n) > 1:
        size = block_size(n)
        said.append(f"Each cell is the mean over {size} × {size} pairs of units that are neighbours in this order.")
        said.append("A layer as wide as this takes longer to answer.")
    if still:
        said.append(f"{still} of {n:,} units never change on these images: they vary with nothing and are left blank.")
    kept = shown.source.estimated.epoch
    if kept != shown.source.epoch and kept is not None and "dropcorr" in shown.techniques:
        epoch = network(shown.source.net, shown.source.stamp).snapshots.epochs[kept]
        said.append(f"DropCorr draws its masks with the covariance of epoch {epoch:g}, its last estimate.")
    return " ".join(said)


def pair_table(shown: Shown, able: Sequence[str]) -> pd.DataFrame:
    """A row a pair of units: covariance and correlation without dropout, and what is drawn of each technique."""
    unit = pairs.units(shown.source)
    i, j = np.triu_indices(len(unit), 1)
    columns = {"unit": unit[i], "other": unit[j], "covariance": pairs.before(shown.source)[i, j],
               "correlation": pairs.correlated(shown.source)[i, j]}  # fmt: skip
    for name in able:
        if shown.view == FALLING:
            columns[f"{name}: fall together"] = pairs.falling(shown.source, name, shown.p).frequency[i, j]
        else:
            columns[f"{name}: covariance after"] = pairs.after(shown.source, name, shown.p)[i, j]
    return pd.DataFrame(columns)


def spectrum_table(shown: Shown, able: Sequence[str]) -> pd.DataFrame:
    columns = {"without dropout": pairs.eigenvalues(shown.source, None, 0.0)}
    if shown.view == AROUND:
        columns |= {name: pairs.eigenvalues(shown.source, name, shown.p) for name in able}
    frame = pd.DataFrame({name: pd.Series(values) for name, values in columns.items()})
    frame.insert(0, "direction", np.arange(1, len(frame) + 1))
    return frame


def spread_out(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with an agreement's number and interval in columns of their own."""
    found = {}
    for name, column in frame.items():
        if not any(isinstance(value, Agreement) for value in column):
            found[name] = column
            continue
        for part in ("r", "low", "high"):
            found[f"{name}, {part}"] = [getattr(value, part, None) for value in column]
    return pd.DataFrame(found)


def listed(names: Sequence[str], found: dict[str, Agreement]) -> str:
    parts = [f"{title(name)} ({interval(found[name])})" for name in names]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def interval(r: Agreement) -> str:
    """0.72, from 0.66 to 0.77."""
    if math.isnan(r.r):
        return "unknown"
    return f"{signed(r.r)}" + ("" if math.isnan(r.low) else f", {signed(r.low)} to {signed(r.high)}")


def signed(value: float) -> str:
    return f"{value:.2f}".replace("-", "−") if abs(value) >= 0.005 else "0.00"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def mean_size(correlation: Matrix) -> float:
    """Mean |correlation| over the pairs that have one."""
    values = np.abs(pair_values(correlation))
    return float(values.mean()) if len(values) else math.nan


def pair_values(matrix: Matrix) -> Matrix:
    values = matrix[np.triu_indices(len(matrix), 1)]
    return values[np.isfinite(values)]
