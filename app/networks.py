"""The trained networks that pages look at: those shipped, and runs that have weights."""

from functools import lru_cache
from pathlib import Path

import streamlit as st

from app import services
from app.controls import Choice
from core import checkpoints
from core.checkpoints import Checkpoint
from core.home import home
from core.inspection import Position

FIRST = "digits-dropcorr"


def network_control() -> Choice:
    """The choice of a network, key ``net``; an address may carry a network's name in place of its title."""
    titles = network_titles()
    asked = st.query_params.get("net")
    if asked in titles:
        st.query_params["net"] = titles[asked]
        st.rerun()
    return Choice("net", "Network", titles, FIRST if FIRST in titles else next(iter(titles)))


def network_titles() -> dict[str, str]:
    """Name → title, the shipped ones first; a title that occurs twice is followed by the name."""
    found = {info.name: info.title for info in checkpoints.shipped()}
    found |= {run.id: run.name for run in services.store().list() if weights_of(run.id).exists()}
    titles = list(found.values())
    return {name: title if titles.count(title) == 1 else f"{title} · {name}" for name, title in found.items()}


def layer_title(place: Position) -> str:
    """What a person reads for a place of dropout and the shape of its units: Hidden 1 · 128."""
    return f"{place.title} · {' × '.join(map(str, place.units))}"


def network(name: str, state: int | None = None) -> Checkpoint:
    """The network called ``name``, read once until its weights change; its tensors are shared. CheckpointError.

    ``state`` is its :func:`stamp`, where that is known already.
    """
    return _read(home(), name, stamp(name) if state is None else state)


def stamp(name: str) -> int:
    """Changes when a run has new weights: a part of the key of whatever is kept about it."""
    shipped = name in {info.name for info in checkpoints.shipped()}
    return 0 if shipped or not weights_of(name).exists() else weights_of(name).stat().st_mtime_ns


def weights_of(run: str) -> Path:
    """Where the weights of a run are, once it has some."""
    return services.store().folder(run) / "weights.safetensors"


@lru_cache(maxsize=8)
def _read(_home: Path, name: str, _stamp: int) -> Checkpoint:
    return checkpoints.load(name, services.store())
