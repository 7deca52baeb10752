"""Look at a trained network under dropout: activations, masks, covariance, Monte Carlo; for pages and notebooks."""

from core.inspection.models import Position, activations, positions, untouched

__all__ = ["Position", "activations", "positions", "untouched"]
