"""The one way by which pages reach the run store and the engine.

What reads goes through :func:`store`. Whatever writes asks :func:`_writer` or :func:`_engine` for the means, and these
give them only to a visitor who may change something, whatever the visitor's browser sent and by which function.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from app import access
from app.controls import plain_text
from app.reading import Reader
from core.config import ConfigError
from core.data import DataError
from core.home import HomeError, home
from core.jobs import LocalEngine
from core.jobs.places import Turn
from core.runs import Run, RunStore, StoreError, steps
from core.runs.steps import Batch
from core.sweep import Experiment
from core.sweep.running import Planned, begin, matched, plan

if TYPE_CHECKING:
    from core.confusion import Confusion

UNDO_SECONDS = 600.0
ACTIVE = ("queued", "running", "paused")
# Processes that work on a run of a lesson with nobody asking.
MOST_ATTEMPTS = 2
# What says in one sentence, for the person, why something cannot be done.
REFUSALS = (ConfigError, DataError, HomeError, StoreError)


def store() -> Reader:
    """The run store of this process's Dropscope home, to read; safe to use from any thread."""
    return _opened(home()).reader


def _writer() -> RunStore:
    """The same store to write in; :class:`AccessError` for a visitor who may not."""
    access.check()
    return _opened(home()).store


def _engine() -> LocalEngine:
    """The engine that trains the store's runs in processes of their own; :class:`AccessError` as :func:`_writer`."""
    access.check()
    return _opened(home()).engine


@dataclass(frozen=True)
class _Opened:
    """A home folder's store and engine, without a question asked: for the server itself."""

    store: RunStore
    reader: Reader
    engine: LocalEngine


@lru_cache(maxsize=8)
def _opened(folder: Path) -> _Opened:
    store = RunStore(folder)
    return _Opened(store, Reader(store), LocalEngine(store))


def may_change() -> bool:
    """Whether the visitor may start, stop, change and delete runs."""
    return access.permitted()


def start(experiment: Experiment) -> list[str]:
    """Start the runs of an experiment, or go on with them where it has a name; all checked before the first.

    Returns the ids of all its runs.
    """
    engine = _engine()
    return begin(engine, planned(experiment), experiment.name)


def planned(experiment: Experiment) -> list[Planned]:
    """What :func:`start` would do with each run."""
    return plan(store(), experiment)


def train_lesson(key: str) -> list[Planned]:
    """The runs that a lesson needs, begun if nobody has begun them: what a visitor without the code may have trained.

    ``key`` chooses among the lessons' files, which alone say what that is. What has ended stays so, except that a run
    whose process was lost goes on once.
    """
    from app.lessons.reading import training_of  # lessons show parts of pages, which import this

    opened = _opened(home())
    name, configs = training_of(key)
    found = matched(opened.store, name, configs)
    if wanting := [each for each in found if _to_begin(each.run)]:
        begin(opened.engine, wanting, name)
        found = matched(opened.store, name, configs)
    return found


def _to_begin(run: Run | None) -> bool:
    """Whether a run of a lesson is to be begun by whoever comes."""
    return run is None or (run.status == "lost" and run.attempt < MOST_ATTEMPTS)


def act(verb: str, ids: Iterable[str]) -> None:
    """Carry out a wish that came from a browser: ``verb`` is pause, resume, stop, step-batch or step-epoch.

    A run that is past it, as one that ended while its button was pressed, is left as it is.
    """
    engine = _engine()
    resumable = ("paused", "stopped", "failed", "lost")
    able: dict[str, tuple[Sequence[str], Callable[[str], object]]] = {
        "pause": (ACTIVE, engine.pause),
        "resume": (resumable, engine.resume),
        "stop": (ACTIVE, engine.cancel),
        "step-batch": ((*ACTIVE, *resumable), lambda key: engine.step(key, "batch")),
        "step-epoch": ((*ACTIVE, *resumable), lambda key: engine.step(key, "epoch")),
    }
    if verb not in able:
        raise StoreError(f"A run can be paused, resumed, stepped or stopped, not {verb!r}.")
    statuses, do = able[verb]
    for run in existing(ids):
        if run.status in statuses:
            do(run.id)


def rename(run_id: str, name: str) -> None:
    """Give a run another name."""
    _writer().rename(run_id, name)


def tag(ids: Iterable[str], *, add: Iterable[str] = (), remove: Iterable[str] = ()) -> None:
    """Take tags from runs and give them others, whatever they do now; runs that are gone are passed over."""
    _writer().tag([run.id for run in existing(ids)], add=add, remove=remove)


def adjust(ids: Iterable[str], changes: Mapping[str, Any]) -> None:
    """Change p, lr or knobs of runs at their next step, ``{"p": 0.3, "lr": 1e-3, "knobs": {"clamp": 5.0}}`` or a part.

    ConfigError or StoreError with one sentence where a run cannot take them; runs before it then have them already.
    """
    engine = _engine()
    for run in existing(ids):
        engine.adjust(run.id, changes)


def batch_of(run_id: str) -> Batch | None:
    """What the last step on one batch of a run did, None where none was taken; StoreError where it is damaged."""
    return steps.load(store().folder(run_id))


def delete(ids: Sequence[str]) -> None:
    """Set ended runs aside, for ``UNDO_SECONDS`` and until :func:`undo_delete`; those still active are refused."""
    writer = _writer()
    if any(run.status in ACTIVE for run in existing(ids)):
        raise StoreError("A run that still trains cannot be deleted: stop it first.")
    writer.set_aside(list(ids))


def deleted() -> list[Run]:
    """The runs that were deleted together last and can be brought back."""
    aside = store().aside()
    return [run for run in aside if run.deleted == aside[0].deleted]


def undo_delete(ids: Iterable[str]) -> None:
    """Bring deleted runs back; one that is gone for good by now is passed over."""
    _writer().bring_back(list(ids))


def turns() -> dict[str, Turn]:
    """When the runs that wait begin, as far as that can be told."""
    return _opened(home()).engine.turns()


def existing(ids: Iterable[str]) -> list[Run]:
    """The runs among ``ids`` that the store has, in the order of ``ids``."""
    wanted = list(dict.fromkeys(ids))
    known = {run.id: run for run in store().list(ids=wanted)}
    return [known[key] for key in wanted if key in known]


def confusion(run: Run) -> "Confusion":
    """What a run's network takes for what on its test set; kept beside its weights if the visitor may write."""
    from core.confusion import of_run_on_test

    return of_run_on_test(store(), run, keep=may_change())


def look_after() -> None:
    """Start queued runs whose turn it is, notice those whose process died, have a worker wait for the next.

    What was deleted and not brought back is let go for good. The server calls this, for no visitor.
    """
    opened = _opened(home())
    opened.engine.advance()
    opened.engine.keep_warm()
    opened.store.purge(UNDO_SECONDS)


def expect_start() -> None:
    """Somebody looks at the page that starts runs: let a worker wait for the first, if they may start one."""
    with suppress(HomeError, StoreError):  # said where the runs are read
        _engine().warm.expect()


def tell_of_damage() -> None:
    """Say on every page that a damaged run store was set aside, for as long as it lies there."""
    with suppress(HomeError, StoreError):  # said where the runs are read
        if sentence := store().damage():
            st.warning(plain_text(sentence), icon=":material/warning:")


@contextmanager
def guard() -> Iterator[None]:
    """Show what core says is wrong as one sentence in the page, and draw the rest of it no further."""
    try:
        yield
    except REFUSALS as error:
        st.error(plain_text(error), icon=":material/error:")
        st.stop()
