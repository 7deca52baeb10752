"""Browser-side parts and their Python wrappers. JavaScript and CSS live in files of their own beside each wrapper."""

from pathlib import Path

_HERE = Path(__file__).parent


def script(folder: Path) -> str:
    """One module: the helpers that components share, the folder's other scripts, and its ``index.js``."""
    shared = [_HERE / "plotting.js", _HERE / "cells.js"]
    own = [path for path in sorted(folder.glob("*.js")) if path.name != "index.js"]
    return "\n".join(path.read_text(encoding="utf-8") for path in (*shared, *own, folder / "index.js"))


def stylesheet(folder: Path) -> str:
    """The component's ``style.css``."""
    return (folder / "style.css").read_text(encoding="utf-8")
