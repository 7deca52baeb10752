"""Runs on a Ray cluster, behind the same interface as those of this machine; the store stays on this machine."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from core.config import ConfigError
from core.errors import reason_of
from core.jobs.engine import LocalEngine
from core.jobs.transitions import JobError
from core.runs import Owner, Run, RunStore

NAMESPACE = "dropscope"
# Seconds that the cluster's address is given to answer.
PATIENCE = 5.0


class RayEngine(LocalEngine):
    """Trains runs wherever a Ray cluster that is there already has room, each in a process of its own.

    A foreman on this machine (:class:`core.jobs.ray_foreman.Foreman`) hands them out, starts those again whose worker
    or machine was lost, and writes what they tell; runs go on when the process with this engine ends. This machine
    must be one of the cluster, the others need the same Python packages and the data sets, but not Dropscope.

    Args:
        store: where the runs are.
        address: of the cluster, "host:port"; "auto" is the one that runs on this machine.
        cpus_per_run: CPU cores that a run takes, which is also its number of threads.
        gpus_per_run: share of a GPU that a run takes, as 0.25; by default one where the cluster has any and the run
            does not ask for the CPU.
    """

    def __init__(
        self, store: RunStore, address: str = "auto", cpus_per_run: float = 1.0, gpus_per_run: float | None = None
    ) -> None:
        super().__init__(store)
        _check_needs(cpus_per_run, gpus_per_run)
        self._cpus, self._gpus = cpus_per_run, gpus_per_run
        connect(address)

    @cached_property
    def starter(self) -> Owner | None:
        """The foreman."""
        owner: Owner = self._ask("owner")
        return owner

    def poll(self, run_id: str) -> Run:
        """The run as it stands, in the hands of the foreman where it waits for Ray."""
        self.advance()
        return self.store.get(run_id)

    def advance(self) -> None:
        """Look after all runs, and have the foreman begin those that wait for it."""
        self.settle()
        for run in self.store.list(status=("queued",)):
            if run.owner == self.starter:
                self._ask("begin", run.id, self._needs(run))

    def settle(self) -> None:
        """Have the foreman see to its runs, and notice the others whose process has died."""
        # Before the others are looked at: what it has in hand goes on, although its worker may be gone.
        self._ask("look")
        super().settle()

    def cancel(self, run_id: str, force: bool = False) -> Run:
        """As :meth:`LocalEngine.cancel`; with ``force`` on whatever machine the run is."""
        run = super().cancel(run_id)
        if force and run.live:
            self._ask("end_by_force", run_id)
        return self.store.get(run_id)

    def keep_warm(self) -> None:
        """Nothing: Ray keeps processes ready by itself."""

    def _needs(self, run: Run) -> dict[str, float]:
        gpus = self._gpus
        if gpus is None:
            wanted = str(run.config.get("device", "auto")).partition(":")[0] in ("auto", "cuda")
            gpus = 1.0 if wanted and _has_gpus() else 0.0
        return {"num_cpus": self._cpus, "num_gpus": gpus}

    def _ask(self, method: str, *arguments: Any) -> Any:
        import ray

        try:
            return ray.get(getattr(self._foreman, method).remote(*arguments))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayActorError:
            # One without a run ends after a while; the next one is another process.
            for name in ("_foreman", "starter"):
                self.__dict__.pop(name, None)
        try:
            return ray.get(getattr(self._foreman, method).remote(*arguments))
        except ray.exceptions.RayActorError as error:
            raise JobError(f"The process that writes the runs of the Ray cluster ends: {reason_of(error)}.") from None

    @cached_property
    def _foreman(self) -> Any:
        """The one foreman of this store on this cluster, made where there is none."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from core.jobs.ray_foreman import LISTENERS, Foreman

        home = str(self.store.home.absolute())
        here = ray.get_runtime_context().get_node_id()
        options = {
            "name": f"foreman-{hashlib.sha256(f'{socket.gethostname()}:{home}'.encode()).hexdigest()[:16]}",
            "namespace": NAMESPACE,
            "lifetime": "detached",
            "get_if_exists": True,
            "num_cpus": 0,
            "max_concurrency": LISTENERS,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False),
        }
        return ray.remote(Foreman).options(**options).remote(home)


def _has_gpus() -> bool:
    import ray

    resources: Any = ray
    return bool(resources.cluster_resources().get("GPU"))


def connect(address: str) -> None:
    """Join the cluster at ``address`` with this code for its workers; JobError where that cannot be."""
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it tells its makers otherwise
        import ray
    except ImportError:
        raise JobError(
            "Ray is not installed: run `pip install -r requirements-ray.txt` where Dropscope is, then start again."
        ) from None
    _check_address(address)
    if ray.is_initialized():
        return
    root = Path(__file__).resolve().parents[2]
    # The workers run this very code, whatever their machines have.
    code = {"py_modules": [str(root / "core"), str(root / "models")], "excludes": ["__pycache__"]}
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": False}
    try:
        ray.init(address=address, namespace=NAMESPACE, runtime_env=code, **quiet)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        with suppress(Exception):
            ray.shutdown()
        raise _unreachable(address, reason_of(error)) from None
    _keep_off_stdout()


def _keep_off_stdout() -> None:
    # Ray prints what it thinks of lost workers among the output of this process, whatever log_to_driver says, and has
    # no setting for it. What of it a person needs is in the reasons of the runs.
    from ray._private import worker

    worker._worker_logs_enabled = False


def _check_address(address: str) -> None:
    if "://" in address:
        raise JobError(
            f"Dropscope must run on a machine of the Ray cluster: name it as host:port or auto, not {address}."
        )
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    try:
        # Ray itself would try for a minute.
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _unreachable(address, reason_of(error)) from None


def _check_needs(cpus: float, gpus: float | None) -> None:
    if cpus <= 0:
        raise ConfigError(f"A run needs more than {cpus:g} CPU cores: give it at least a share of one, as 0.5.")
    if gpus is not None and (not 0 <= gpus <= 1):
        raise ConfigError(f"A run trains on one GPU or a share of it: gpus-per-run lies between 0 and 1, got {gpus:g}.")


def _unreachable(address: str, why: str) -> JobError:
    where = "on this machine" if address == "auto" else f"at {address} ({why})"
    return JobError(f"No Ray cluster answers {where}: start one by `ray start --head`, or name its address.")
