"""Look at a trained network under dropout: activations, masks, covariance, Monte Carlo; for pages and notebooks.

>>> from core.checkpoints import load
>>> from core.inspection import field
>>> net = load("digits-none")
>>> shown = field(net.model("dropact"), x, 0, draws=8)   # x (1, 1, 8, 8), normalised
>>> shown.falls <= shown.grid.index(0.2)                 # (8, 128): who falls at p = 0.2 in each draw
"""

from core.inspection.covariance import correlation, covariance, drift, spectrum
from core.inspection.fields import Field, field, plan
from core.inspection.forgetting import called
from core.inspection.frequency import keep_frequency
from core.inspection.models import Position, activations, positions, untouched
from core.inspection.monte_carlo import Answers, MonteCarlo, monte_carlo
from core.inspection.together import agreement, co_drop, covariance_after

__all__ = [
    "Answers",
    "Field",
    "MonteCarlo",
    "Position",
    "activations",
    "agreement",
    "called",
    "co_drop",
    "correlation",
    "covariance",
    "covariance_after",
    "drift",
    "field",
    "keep_frequency",
    "monte_carlo",
    "plan",
    "positions",
    "spectrum",
    "untouched",
]
