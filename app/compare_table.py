"""The table of Compare as a person reads it."""

import math

import pandas as pd

from app.controls import plain_text

MOST_DIGITS = 4


def shown_summary(summary: pd.DataFrame, tests: pd.DataFrame, pinned: str) -> pd.DataFrame:
    """The summary as a person reads it."""
    shown = summary.merge(tests, how="left", on="variant")
    return pd.DataFrame(
        {
            "Technique": [plain_text(name) for name in shown["variant"]],
            "Seeds": shown["n"].astype(str),
            "Test accuracy, mean ± sd": [
                spread(100 * mean, 100 * sd, "%", digits=1)
                for mean, sd in zip(shown["accuracy"], shown["accuracy_sd"], strict=True)
            ],
            f"Difference to {plain_text(pinned)}": [
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
