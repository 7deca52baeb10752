"""Training: a loop that hands out records, and knows no store and no screen."""

from core.config import Config, ConfigError
from core.environment import choose_device, environment
from core.training.evaluation import evaluate
from core.training.progress import Progress
from core.training.trainer import Trainer

__all__ = ["Config", "ConfigError", "Progress", "Trainer", "choose_device", "environment", "evaluate"]
