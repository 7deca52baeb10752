"""The run store as pages see it."""

from typing import Any

from core.runs import RunStore

READS = (
    "home", "get", "find", "list", "damage", "aside", "requested", "metrics", "newer", "folder",
    "has_state", "load_weights", "load_weights_and_config",
)  # fmt: skip


class Reader:
    """What of a :class:`RunStore` only reads. What writes is not there, for pages and for whoever drives one."""

    def __init__(self, store: RunStore) -> None:
        self._reads = {name: getattr(store, name) for name in READS}

    def __getattr__(self, name: str) -> Any:
        if name not in self.__dict__.get("_reads", ()):
            raise AttributeError(f"{name!r} is not what a page may ask of the run store: {', '.join(READS)}")
        return self._reads[name]
