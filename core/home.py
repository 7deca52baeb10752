"""Where Dropscope keeps what it writes: data, runs and the run store."""

import os
from pathlib import Path

from core.errors import reason_of


class HomeError(OSError):
    """The home folder cannot be made. ``str(error)`` is one sentence."""


def home() -> Path:
    """``$DROPSCOPE_HOME``, else ``~/.dropscope``; made when it is missing. Raises HomeError when that fails."""
    folder = _location()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HomeError(
            f"The folder {folder} cannot be made ({reason_of(error)}); "
            "set DROPSCOPE_HOME to a folder that you can write to."
        ) from error
    return folder


def data_folder() -> Path:
    """``$DROPSCOPE_DATA``, else ``data`` in the home folder. Nothing is made: reading needs no folder to write to."""
    configured = os.environ.get("DROPSCOPE_DATA")
    return Path(configured).expanduser().absolute() if configured else _location() / "data"


def _location() -> Path:
    return Path(os.environ.get("DROPSCOPE_HOME") or "~/.dropscope").expanduser().absolute()
