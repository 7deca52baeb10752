"""What to tell a person of an error that training, or making ready for it, met."""

from __future__ import annotations

OUT_OF_MEMORY = "The memory ran out: choose a smaller batch size, width or data set, or stop other runs."


def is_out_of_memory(error: Exception) -> bool:
    """Whether ``error`` tells that the memory of the machine or of a GPU was too small."""
    # The CPU's allocator tells it by a plain RuntimeError.
    words = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in words)


def named(error: Exception) -> str:
    """The kind of ``error`` and the first line of its message, without a full stop."""
    first = (str(error).strip().splitlines() or ["no message"])[0].rstrip(".")
    return f"{type(error).__name__}: {first}"
