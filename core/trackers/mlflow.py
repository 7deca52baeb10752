"""Runs as those of an MLflow server: settings as parameters, measures as metrics, over HTTP."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from core.runs import Run, RunStore
from core.trackers.records import Point, TrackerError, points, settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

Item = TypeVar("Item")

EXPERIMENT = "Dropscope"
RUN_TAG, DIGEST_TAG = "dropscope.run", "dropscope.digest"
STATUSES = {"queued": "SCHEDULED", "done": "FINISHED", "stopped": "KILLED", "failed": "FAILED", "lost": "FAILED"}
# The client's own patience is minutes, and it reports its use to its makers; a person's choice stays.
_MANNERS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
# What a server takes in one request, and in one value.
_METRICS, _PARAMETERS, _LETTERS = 1000, 100, 5000


def export(
    store: RunStore, runs: Iterable[Run], url: str, experiment: str | None = None, steps: bool = False
) -> Iterator[tuple[Run, int]]:
    """Write each of ``runs`` to the server at ``url``, and yield it with the number of records that were sent.

    A run that the server has from before is left as it is where nothing has changed since, with 0 records sent, else
    replaced. Raises :class:`TrackerError` where the client is not installed or the server does not take a run.

    Args:
        experiment: of the server; by default the run's own, or "Dropscope".
        steps: also the records within epochs.
    """
    client, refused = _connected(url)
    known: dict[str, str] = {}
    for run in runs:
        name = experiment or run.experiment or EXPERIMENT
        try:
            if name not in known:
                known[name] = _experiment(client, name)
            sent = _send(client, known[name], run, points(store, run, steps))
        except refused as error:
            first = (str(error).strip().splitlines() or ["no reason given"])[0].rstrip(".")
            why = "it does not answer" if "Max retries exceeded" in first else first
            raise TrackerError(f"The MLflow server {shown(url)} did not take run {run.id}: {why}.") from error
        yield run, sent


def _connected(url: str) -> tuple[MlflowClient, tuple[type[Exception], ...]]:
    """A client for the server, and the errors by which it tells that something did not work."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise TrackerError(f"An MLflow server is named as in http://127.0.0.1:5000, not {url!r}.")
    for name, value in _MANNERS.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from requests import RequestException
    except ImportError:
        raise TrackerError(
            "MLflow's client is not installed: run `pip install mlflow-skinny` where Dropscope is, then export again."
        ) from None
    return MlflowClient(tracking_uri=url), (MlflowException, RequestException)


def _experiment(client: MlflowClient, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        return str(client.create_experiment(name))
    if found.lifecycle_stage != "active":
        raise TrackerError(f"The server's experiment {name!r} was deleted: restore it there, or name another.")
    return str(found.experiment_id)


def _send(client: MlflowClient, experiment: str, run: Run, records: list[Point]) -> int:
    """Send a run unless it is there as it is now; how many records were sent."""
    parameters = {name: str(value)[:_LETTERS] for name, value in settings(run).items()}
    said = {"status": run.status, "reason": run.reason, "tags": ", ".join(run.tags)}
    tags = {f"dropscope.{name}": value[:_LETTERS] for name, value in said.items() if value}
    digest = hashlib.sha256(repr((run.name, parameters, tags, records)).encode()).hexdigest()
    before = client.search_runs([experiment], filter_string=f"tags.`{RUN_TAG}` = '{run.id}'")
    if any(old.data.tags.get(DIGEST_TAG) == digest for old in before):
        return 0
    _create(client, experiment, run, parameters, tags | {DIGEST_TAG: digest}, records)
    # What was there goes once the new one is whole.
    for old in before:
        client.delete_run(old.info.run_id)
    return len(records)


def _create(
    client: MlflowClient,
    experiment: str,
    run: Run,
    parameters: Mapping[str, str],
    tags: Mapping[str, str],
    records: list[Point],
) -> None:
    from mlflow.entities import Metric, Param, RunTag

    created = client.create_run(experiment, _milliseconds(run.created), {RUN_TAG: run.id}, run.name).info.run_id
    for some in _chunks((Param(*each) for each in parameters.items()), _PARAMETERS):
        client.log_batch(created, params=some)
    metrics: Iterator[Any] = (
        Metric(name, value, _milliseconds(point.time), point.step)
        for point in records
        for name, value in point.named().items()
    )
    for chunk in _chunks(metrics, _METRICS):
        client.log_batch(created, metrics=chunk)
    status = STATUSES.get(run.status, "RUNNING")
    if run.ended:
        client.set_terminated(created, status, _milliseconds(records[-1].time if records else run.created))
    else:
        client.update_run(created, status)
    client.log_batch(created, tags=[RunTag(*each) for each in tags.items()])


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    left = iter(items)
    while chunk := list(islice(left, size)):
        yield chunk


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


def shown(url: str) -> str:
    """The address of a server without a password that may be in it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
