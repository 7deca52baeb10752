"""Browser-side parts and their Python wrappers. JavaScript and CSS live in files of their own beside each wrapper."""

from pathlib import Path

_HERE = Path(__file__).parent


def script(folder: Path) -> str:
    """The component's ``index.js`` behind the helpers that every chart component shares."""
    return (_HERE / "plotting.js").read_text(encoding="utf-8") + (folder / "index.js").read_text(encoding="utf-8")


def stylesheet(folder: Path) -> str:
    """The component's ``style.css``."""
    return (folder / "style.css").read_text(encoding="utf-8")
