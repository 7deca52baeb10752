"""An experiment → runs of an engine: what it has is kept, what ended early goes on, the rest is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.config import Config
from core.jobs.engine import Engine, rooted
from core.runs import Run, RunStore
from core.runs.schema import to_json
from core.sweep.experiment import Experiment

EARLY = ("stopped", "failed", "lost")


@dataclass(frozen=True)
class Planned:
    """A config of an experiment, and the run that the experiment has of it already, if any."""

    config: Config
    run: Run | None

    @property
    def action(self) -> str:
        """What is to happen: "start", "resume", or "keep" for one that is done or under way."""
        if self.run is None:
            return "start"
        return "resume" if self.run.status in EARLY else "keep"


def plan(store: RunStore, experiment: Experiment) -> list[Planned]:
    """What each run of ``experiment`` needs: :func:`matched`."""
    return matched(store, experiment.name, experiment.configs())


def matched(store: RunStore, name: str, configs: Sequence[Config]) -> list[Planned]:
    """What each of ``configs`` needs as experiment ``name``; one without a name has no run yet.

    Raises ConfigError or DataError where it cannot be trained.
    """
    known: dict[str, Run] = {}
    # Oldest first: of several alike the newest counts, unless another is done.
    for run in reversed(store.list(experiment=name) if name else []):
        same = known.setdefault(_key(run.config), run)
        if same.status != "done":
            known[_key(run.config)] = run
    return [Planned(config, known.get(_key(config.to_dict()))) for config in map(rooted, configs)]


def begin(engine: Engine, planned: Sequence[Planned], experiment: str = "") -> list[str]:
    """Start and resume what is planned; the ids of all runs in the order of the plan."""
    return [_begun(engine, each, experiment or None) for each in planned]


def _begun(engine: Engine, planned: Planned, experiment: str | None) -> str:
    if planned.run is None:
        return engine.submit(planned.config, experiment)
    return engine.resume(planned.run.id).id if planned.action == "resume" else planned.run.id


def _key(config: dict[str, Any]) -> str:
    """Configs that train the same have the same key, also one kept before a setting was added."""
    return to_json({**Config().to_dict(), **config})
