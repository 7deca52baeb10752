"""The paper's experiments again: the plan of the runs, and what came of them as one table."""
