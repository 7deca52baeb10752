"""The table of Compare as a person reads it, and the sentences beside it."""

import math

import pandas as pd

from core import baseline, comparison, variants

MOST_DIGITS = 4


def shown_summary(
    summary: pd.DataFrame,
    tests: pd.DataFrame,
    pinned: str,
    kind: str = "Technique",
) -> pd.DataFrame:
    """The summary as a person reads it, names under the heading ``kind``."""
    shown = summary.merge(tests, how="left", on="variant")
    return pd.DataFrame(
        {
            kind: [str(name) for name in shown["variant"]],
            "Seeds": shown["n"].astype(str),
            "Test accuracy, mean ± sd": [
                spread(100 * mean, 100 * sd, "%", digits=1)
                for mean, sd in zip(shown["accuracy"], shown["accuracy_sd"], strict=True)
            ],
            f"Difference to {pinned}": [
                "baseline" if row.variant == pinned else difference(row.difference, row.low, row.high)
                for row in shown.itertuples(index=False)
            ],
            "p": [probability(p) for p in shown["p_value"]],
            "Training time, mean ± sd": [
                spread(mean, sd, "s", digits=1 if mean >= 1 else 2)
                for mean, sd in zip(shown["seconds"], shown["seconds_sd"], strict=True)
            ],
            "Relative time": [f"{ratio:.2f}" for ratio in shown["ratio"]],
        }
    )


def difference(mean: float, low: float, high: float) -> str:
    """A difference of shares in points with its interval, as +1.2 (0.4 to 2.0)."""
    if math.isnan(mean):
        return "–"
    around = "" if math.isnan(low) else f" ({signed(100 * low)} to {signed(100 * high)})"
    return signed(100 * mean) + around


def signed(points: float) -> str:
    """Two digits behind the point, as a test example of some thousand is a hundredth; a minus that is one."""
    return "0.00" if abs(points) < 0.005 else f"{points:+.2f}".replace("-", "−")


def probability(p: float) -> str:
    return "–" if math.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def spread(mean: float, sd: float, unit: str, digits: int) -> str:
    """mean ± sd where there is one, with so many digits that a small sd does not read as none."""
    if math.isnan(mean):
        return "–"
    if sd > 0:
        digits = max(digits, min(MOST_DIGITS, -math.floor(math.log10(sd))))
    around = "" if math.isnan(sd) else f" ± {sd:.{digits}f}"
    return f"{mean:.{digits}f}{around} {unit}"


def difference_note(tests: pd.DataFrame, pinned: str) -> str:
    """How the differences are to be read, and what they do not say."""
    if tests.empty:
        return f"There is nothing else to compare with {pinned}."
    number = baseline.judged(tests)
    said = f"Difference: in percentage points, mean over the seeds that both have, paired by seed, less {pinned}."
    if not number:
        return said
    count = "one comparison" if number == 1 else f"{number} comparisons"
    together = "95 % interval" if number == 1 else "intervals that hold all at once with 95 % (Bonferroni)"
    ranked = (
        " This holds for a baseline chosen before the results were seen; the sentence at the top of the page, "
        "on the best of all, counts every pair instead."
        if number > 1
        else ""
    )
    how = "paired t test" + ("" if number == 1 else f", corrected for {count} (Holm)")
    return f"{said} In brackets: {together}. p: {how}.{ranked}"


def pooled_note(rows: pd.DataFrame) -> str:
    """Which groups average over settings, so that nobody takes them for one."""
    pooled = variants.pooled(rows)
    if not pooled:
        return ""
    told = comparison.listed([f"{name} ({count})" for name, count in pooled.items()])
    return (
        f"Pooled from several settings: {told}. Of each seed their mean counts, and a difference may come from any of "
        "the settings."
    )


def time_note(rows: pd.DataFrame, summary: pd.DataFrame, base: str) -> str:
    """To what times relate, and whether they were taken under like conditions."""
    plain = rows.loc[rows["variant"] == base, "technique"].eq("none").any()
    why = "" if plain else ", the fastest, as nothing here is without dropout"
    devices = rows["device"].dropna().unique()
    mixed = "" if len(devices) < 2 else " These runs were trained on different devices: their times do not compare."
    bars = " Bars: ± one standard deviation." if (summary["n"] > 1).any() else ""
    return f"Time of an epoch relative to {base}{why}.{bars}{mixed}"
