"""Runs as event files for TensorBoard: a folder a run, the measures as scalars, the settings in the HParams tab."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.runs import Run, RunStore
from core.runs.weights import write_whole
from core.trackers.records import Point, TrackerError, points, settings

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event

# What an earlier export left is known by the end of its name, and nothing else is ever removed.
ENDING = ".dropscope"
_LONGEST_NAME = 80


def export(store: RunStore, runs: Iterable[Run], folder: Path, steps: bool = False) -> Iterator[tuple[Run, int]]:
    """Write each of ``runs`` to a folder of its own in ``folder``, and yield it with the number of its records.

    A run that was written there before is written anew in place of the old. Raises :class:`TrackerError` where
    TensorBoard is not installed, :class:`StoreError` where the folder cannot be written.

    Args:
        steps: also the records within epochs.
    """
    if folder.exists() and not folder.is_dir():
        raise TrackerError(f"{folder} is a file: name a folder for TensorBoard.")
    for run in runs:
        records = points(store, run, steps)
        _write(run, records, folder)
        yield run, len(records)


def _write(run: Run, records: list[Point], folder: Path) -> None:
    try:
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ImportError:
        raise TrackerError(
            "TensorBoard is not installed: run `pip install tensorboard` where Dropscope is, then export again."
        ) from None
    own = folder / f"{_plain(run.name)}-{run.id}"
    older = sorted(folder.glob(f"*-{run.id}/*{ENDING}"), key=lambda file: file.name)
    content = BytesIO()
    writer = RecordWriter(content)
    for event in _events(run, records):
        writer.write(event.SerializeToString())
    # TensorBoard reads the files of a folder in the order of their names.
    write_whole(own / f"events.out.tfevents.{time.time_ns():020d}{ENDING}", content.getvalue())
    # A TensorBoard that has the last one open finds the new one only while that is there.
    for file in [file for file in older if file.parent != own or file != older[-1]]:
        with suppress(OSError):  # a folder of the run's former name goes, unless somebody keeps something in it
            file.unlink()
            file.parent.rmdir()


def _events(run: Run, records: list[Point]) -> Iterator[Event]:
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog
    from tensorboard.compat.proto.summary_pb2 import Summary

    def event(moment: float, step: int, values: list[Any]) -> Event:
        return Event(wall_time=moment, step=step, summary=Summary(value=values))

    yield Event(wall_time=run.created, file_version="brain.Event:2")
    # A TensorBoard that has read an earlier export forgets it here.
    yield Event(wall_time=run.created, step=0, session_log=SessionLog(status=SessionLog.START))
    yield event(run.created, 0, [_settings(run)])
    for point in records:
        yield event(point.time, point.step, [Summary.Value(tag=k, simple_value=v) for k, v in point.named().items()])
    if run.ended:
        last = records[-1] if records else Point("end", 0, run.created, {})
        yield event(last.time, last.step, [_ending(run, last.time)])


def _settings(run: Run) -> Any:
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    info = SessionStartInfo(start_time_secs=run.created, group_name=f"{run.name} ({run.id})")
    for name, value in settings(run).items():
        if isinstance(value, bool):
            info.hparams[name].bool_value = value
        elif isinstance(value, str):
            info.hparams[name].string_value = value
        else:
            info.hparams[name].number_value = value
    return _hparams(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=info))


def _ending(run: Run, moment: float) -> Any:
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.api_pb2 import Status
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    status = Status.STATUS_SUCCESS if run.status == "done" else Status.STATUS_FAILURE
    info = SessionEndInfo(status=status, end_time_secs=moment)
    return _hparams(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=info))


def _hparams(tag: str, data: Any) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata

    data.version = 0
    plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=data.SerializeToString())
    return Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin))


def _plain(name: str) -> str:
    """A run's name as part of a folder's, on any system."""
    return re.sub(r"\W+", "-", name).strip("-")[:_LONGEST_NAME] or "run"
