"""The one way by which pages reach the run store and the engine; everything that writes passes through here."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import streamlit as st

from app.controls import plain_text
from core.config import Config, ConfigError
from core.data import DataError
from core.home import HomeError, home
from core.jobs import LocalEngine
from core.runs import Run, RunStore, StoreError, steps
from core.runs.steps import Batch

UNDO_SECONDS = 600.0
ACTIVE = ("queued", "running", "paused")


def store() -> RunStore:
    """The run store of this process's Dropscope home; safe to use from any thread."""
    return _store(home())


def engine() -> LocalEngine:
    """The engine that trains runs of :func:`store` in processes of their own."""
    return _engine(home())


@lru_cache(maxsize=8)
def _store(folder: Path) -> RunStore:
    return RunStore(folder)


@lru_cache(maxsize=8)
def _engine(folder: Path) -> LocalEngine:
    return LocalEngine(_store(folder))


def start(configs: Sequence[Config]) -> list[str]:
    """Queue one run a config, all checked before the first is queued; returns their ids."""
    checked = [config.validated() for config in configs]
    return [engine().submit(config) for config in checked]


def act(verb: str, ids: Iterable[str]) -> None:
    """Carry out a wish that came from a browser: ``verb`` is pause, resume, stop, step-batch or step-epoch.

    A run that is past it, as one that ended while its button was pressed, is left as it is.
    """
    resumable = ("paused", "stopped", "failed", "lost")
    able: dict[str, tuple[Sequence[str], Callable[[str], object]]] = {
        "pause": (ACTIVE, engine().pause),
        "resume": (resumable, engine().resume),
        "stop": (ACTIVE, engine().cancel),
        "step-batch": ((*ACTIVE, *resumable), lambda key: engine().step(key, "batch")),
        "step-epoch": ((*ACTIVE, *resumable), lambda key: engine().step(key, "epoch")),
    }
    if verb not in able:
        raise StoreError(f"A run can be paused, resumed, stepped or stopped, not {verb!r}.")
    statuses, do = able[verb]
    for run in existing(ids):
        if run.status in statuses:
            do(run.id)


def rename(run_id: str, name: str) -> None:
    """Give a run another name."""
    store().rename(run_id, name)


def tag(ids: Iterable[str], *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
    """Take tags from runs and give them others, whatever they do now; runs that are gone are passed over."""
    store().tag([run.id for run in existing(ids)], add=add, remove=remove)


def adjust(ids: Iterable[str], changes: Mapping[str, Any]) -> None:
    """Change p, lr or knobs of runs at their next step, ``{"p": 0.3, "lr": 1e-3, "knobs": {"clamp": 5.0}}`` or a part.

    ConfigError or StoreError with one sentence where a run cannot take them; runs before it then have them already.
    """
    for run in existing(ids):
        engine().adjust(run.id, changes)


def batch_of(run_id: str) -> Batch | None:
    """What the last step on one batch of a run did, None where none was taken; StoreError where it is damaged."""
    return steps.load(store().folder(run_id))


def delete(ids: Sequence[str]) -> None:
    """Set ended runs aside, for ``UNDO_SECONDS`` and until :func:`undo_delete`; those still active are refused."""
    if any(run.status in ACTIVE for run in existing(ids)):
        raise StoreError("A run that still trains cannot be deleted: stop it first.")
    store().set_aside(list(ids))


def deleted() -> list[Run]:
    """The runs that were deleted together last and can be brought back."""
    aside = store().aside()
    return [run for run in aside if run.deleted == aside[0].deleted]


def undo_delete(ids: Iterable[str]) -> None:
    """Bring deleted runs back; one that is gone for good by now is passed over."""
    store().bring_back(list(ids))


def existing(ids: Iterable[str]) -> list[Run]:
    """The runs among ``ids`` that the store has, in the order of ``ids``."""
    wanted = list(dict.fromkeys(ids))
    known = {run.id: run for run in store().list(ids=wanted)}
    return [known[key] for key in wanted if key in known]


def look_after() -> None:
    """Start queued runs whose turn it is, notice those whose process died, have a worker wait for the next.

    What was deleted and not brought back is let go for good.
    """
    engine().advance()
    engine().keep_warm()
    store().purge(UNDO_SECONDS)


def expect_start() -> None:
    """Somebody looks at the page that starts runs: let a worker wait for the first."""
    with suppress(HomeError, StoreError):  # said where the runs are read
        engine().warm.expect()


@contextmanager
def guard() -> Iterator[None]:
    """Show what core says is wrong as one sentence in the page, and draw the rest of it no further."""
    try:
        yield
    except (ConfigError, DataError, HomeError, StoreError) as error:
        st.error(plain_text(error), icon=":material/error:")
        st.stop()
