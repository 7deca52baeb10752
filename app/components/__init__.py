"""Browser-side parts and their Python wrappers. JavaScript and CSS live in files of their own beside each wrapper."""

from pathlib import Path

_HERE = Path(__file__).parent


def script(folder: Path, *shared: str) -> str:
    """One module: ``plotting.js``, other ``shared`` files of this folder, the component's own, ``index.js`` last."""
    common = [_HERE / f"{name}.js" for name in ("plotting", *shared)]
    own = [path for path in sorted(folder.glob("*.js")) if path.name != "index.js"]
    return "\n".join(path.read_text(encoding="utf-8") for path in (*common, *own, folder / "index.js"))


def stylesheet(folder: Path) -> str:
    """The component's ``style.css``."""
    return (folder / "style.css").read_text(encoding="utf-8")
