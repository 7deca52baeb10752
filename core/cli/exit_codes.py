"""What ``python -m core`` returns besides 0."""

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130
