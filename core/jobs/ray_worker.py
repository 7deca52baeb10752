"""The work on one run on any machine of a Ray cluster: what comes of it is told to the foreman, which writes it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from core.runs import Run, RunStore, StoreError, SupersededError
from core.runs.weights import STATE

if TYPE_CHECKING:
    from torch import Tensor

# A foreman as a worker sees it: the name of a method and its arguments go in, its answer or exception comes out.
Ask = Callable[..., Any]


def work(foreman: Any, run_id: str) -> None:
    """Train a run that the Ray actor ``foreman`` has in hand until it ends, unless it is no longer to be trained."""
    import ray

    from core.jobs.processes import owner_of
    from core.jobs.worker import carry_out, trainer_of

    def ask(method: str, *arguments: Any) -> Any:
        try:
            return ray.get(getattr(foreman, method).remote(*arguments))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayActorError:
            raise StoreError("The process that writes the runs of this Ray cluster has ended.") from None

    taken = ask("take", run_id, owner_of())
    if taken is None:
        return
    run, state = taken
    node = str(ray.get_runtime_context().get_node_id())
    with tempfile.TemporaryDirectory(prefix="dropscope-") as folder:
        store = cast(RunStore, Reporter(ask, run, Path(folder), state, {"ray_node": node}))
        try:
            # Ray's own signals are meant for the process, whose end is no wish to stop the run.
            carry_out(store, run, lambda: trainer_of(run), heed_signals=False)
        except SupersededError:
            return


class Reporter:
    """Stands in for the :class:`RunStore` of another machine, for one run.

    The files of the run are written to a folder of this machine, and those that have changed are sent before the next
    call; every other call is passed on.

    Args:
        ask: passes a call on to the foreman.
        run: as this process took it.
        folder: where its files may lie.
        state: what it goes on from; None to begin.
        facts: what to add to the run's environment.
    """

    def __init__(self, ask: Ask, run: Run, folder: Path, state: bytes | None, facts: Mapping[str, Any]) -> None:
        self._ask, self._run, self._facts = ask, run, facts
        # Of this one only the files are used, never its database.
        self._files = RunStore(folder)
        self._sent: dict[Path, tuple[int, int]] = {}
        if state is not None:
            path = self.folder(run.id) / STATE
            path.parent.mkdir(parents=True)
            path.write_bytes(state)
            self._sent[path] = _stamp(path)

    def __getattr__(self, name: str) -> Ask:
        if name.startswith("_"):
            raise AttributeError(name)

        def call(*arguments: Any, **options: Any) -> Any:
            self._send()
            return self._ask("call", name, arguments, options)

        return call

    def folder(self, run_id: str) -> Path:
        """Where the run's files lie here."""
        return self._files.folder(run_id)

    def has_state(self, run_id: str) -> bool:
        """Whether there is something to resume from."""
        return self._files.has_state(run_id)

    def load_state(self, run_id: str) -> dict[str, Any] | None:
        """What the run goes on from, as :meth:`RunStore.load_state`."""
        return self._files.load_state(run_id)

    def save_state(self, run_id: str, state: Mapping[str, Any]) -> None:
        """Keep what the run goes on from; it is with the foreman on return."""
        self._files.save_state(run_id, state)
        self._send()

    def drop_state(self, run_id: str) -> None:
        """Remove it here and there."""
        self._files.drop_state(run_id)
        self._ask("call", "drop_state", (run_id,), {})

    def save_weights(self, run_id: str, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
        """Keep the weights; they are with the foreman on return."""
        self._files.save_weights(run_id, state, config)
        self._send()

    def set_environment(self, run_id: str, environment: Mapping[str, Any]) -> None:
        """Say where the run is trained, and on which node."""
        self._ask("call", "set_environment", (run_id, {**environment, **self._facts}), {})

    def finish(self, run_id: str, status: str, reason: str | None = None, *arguments: Any, **options: Any) -> None:
        """End the run; a reason that names a file names it where it will lie."""
        home = self._ask("home")
        said = reason and reason.replace(str(self._files.home), home)
        self.__getattr__("finish")(run_id, status, said, *arguments, **options)

    def _send(self) -> None:
        # The oldest first: what a state counts on is there before the state is.
        found = [path for path in self.folder(self._run.id).rglob("[!.]*") if path.is_file()]
        for path in sorted(found, key=lambda path: path.stat().st_mtime_ns):
            if (stamp := _stamp(path)) != self._sent.get(path):
                name = path.relative_to(self.folder(self._run.id)).as_posix()
                self._ask("put", self._run.id, self._run.attempt, name, path.read_bytes())
                self._sent[path] = stamp


def _stamp(path: Path) -> tuple[int, int]:
    facts: os.stat_result = path.stat()
    return facts.st_mtime_ns, facts.st_size
