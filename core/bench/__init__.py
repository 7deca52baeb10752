"""What things cost here: measured side by side in one process, told as ratios, held against the budgets."""

from core.bench.budgets import BUDGETS, Budget, Verdict, verdicts
from core.bench.results import Agreement, Amount, Finding, Growth, Result

__all__ = ["BUDGETS", "Agreement", "Amount", "Budget", "Finding", "Growth", "Result", "Verdict", "verdicts"]
