"""Experiments: many runs that differ in technique, p, seed or network, described in one small file."""

from core.sweep.experiment import Experiment, ExperimentError
from core.sweep.spec import from_yaml, probabilities, to_yaml

__all__ = ["Experiment", "ExperimentError", "from_yaml", "probabilities", "to_yaml"]
