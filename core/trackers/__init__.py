"""Runs for other programs to show, each an optional extra: one-way, as the run store stays the only truth."""
