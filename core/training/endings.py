"""Why a run ends before its last epoch, in a sentence."""

from __future__ import annotations

import math

from core.config import Config
from core.training.best import Best

# A network that knows nothing has loss ln(classes); twenty times that is confidently wrong, and no way back is known.
DIVERGED = 20.0


def seconds_left(config: Config, spent: float) -> float:
    """Of the run's budget of training time; infinite without one."""
    return math.inf if config.time_budget is None else config.time_budget - spent


def early_end(config: Config, spent: float, best: Best | None) -> str | None:
    """Why training is over after ``spent`` seconds of it, None where it is not; ``best`` counts the epochs in vain."""
    if seconds_left(config, spent) <= 0:
        return f"Training has taken the {config.time_budget:g} s that it was given."
    patience = config.early_stop
    if best and patience is not None and best.waited >= patience:
        epochs = "1 epoch" if patience == 1 else f"{patience} epochs"
        return f"The validation loss has not fallen for {epochs}."
    return None


def trouble(loss: float, since: int, step: int, classes: int) -> str | None:
    """Why a mean ``loss`` over the steps from ``since`` to ``step`` ends a run as failed; None where it does not."""
    advice = "lower the learning rate or p"
    if not math.isfinite(loss):
        return f"The loss became {loss} between steps {since} and {step}; {advice}."
    guess = math.log(max(2, classes))
    if loss > DIVERGED * guess:
        return f"The loss diverged: {loss:.3g} by step {step}, where guessing gives {guess:.2f}; {advice}."
    return None
