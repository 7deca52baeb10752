"""What things cost here: measured side by side in one process, told as ratios, held against the budgets."""

from core.bench.budgets import BUDGETS, Budget, Verdict, verdicts
from core.bench.results import Agreement, Growth, Result

__all__ = ["BUDGETS", "Agreement", "Budget", "Growth", "Result", "Verdict", "verdicts"]
