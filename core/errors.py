"""Errors whose text is meant for the person at the screen."""


class DataError(Exception):
    """Data that is missing, damaged or unusable. ``str(error)`` is one sentence: what is wrong and what mends it."""


def reason_of(error: BaseException) -> str:
    """The shortest plain cause of ``error``: the system's words where there are any, else its last line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return lines[-1].strip().strip("<>").rstrip(".") if lines else type(error).__name__
