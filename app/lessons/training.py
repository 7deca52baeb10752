"""What a lesson trains: once for all who take it, whoever comes first, and with no access code.

A file says it at its top level, as an experiment without a name (`core.sweep.spec`), for a few small runs on digits:

    training: {techniques: [none, standard], p: 0.5, seeds: 0-4, epochs: 20}

Every run costs its process some seconds of start beside its training, one after the other on two cores.

A picture that shows some of these runs gets the training in its ``read(given, training)``, asks :meth:`Training.look`
for them, and returns that look's wait from ``waits()``: until there is none, the page shows the picture and holds back
the explanation, and looks again while waiting helps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from app import services
from app.lessons.settings import SettingError, Settings
from core.config import Config
from core.runs import Run
from core.sweep import Experiment, ExperimentError, spec
from core.sweep.running import Planned

# All who take the lesson wait for them.
MOST_RUNS = 12
# What an experiment of a lesson is called begins so.
EXPERIMENT = "Lesson: "
# Whoever comes first, with or without the code, may not be the cause of a download.
DATASET = "digits"


@dataclass(frozen=True)
class Wait:
    """Why something is not there yet, as a ``sentence``; ``active``: waiting helps."""

    sentence: str
    active: bool


@dataclass(frozen=True)
class Look:
    """A training at one moment.

    ``planned`` are its configs, in their order, each with its run where there is one; ``wait`` says why not all are
    done, and is None once they are.
    """

    planned: tuple[Planned, ...]
    wait: Wait | None

    @property
    def runs(self) -> list[Run]:
        """The runs that there are."""
        return [each.run for each in self.planned if each.run]


@dataclass(frozen=True, eq=False)
class Training:
    """The runs that the lesson called ``lesson`` needs, as ordinary runs of an experiment.

    A run whose settings are those of the file serves, so nothing is trained twice, and of a file that was changed only
    what is new.
    """

    lesson: str
    experiment: Experiment

    @cached_property
    def configs(self) -> list[Config]:
        """One a run, all of the first seed first."""
        return self.experiment.configs()

    def look(self, configs: Sequence[Config] | None = None) -> Look:
        """How it stands, with what nobody has begun yet begun. What hinders that is told as its wait, and not raised.

        ``configs``: look only at these of :attr:`configs`.
        """
        try:
            found = services.train_lesson(self.lesson)
            planned = tuple(each for each in found if configs is None or each.config in configs)
            number = len(planned if configs is None else configs)
            return Look(planned, _standing([each.run for each in planned if each.run], number))
        except services.REFUSALS as error:
            planned = tuple(Planned(config, None) for config in configs or self.configs)
            return Look(planned, Wait(f"Nothing is trained: {error}", active=False))


def read(given: Settings, lesson: str) -> Training | None:
    """What a lesson's file says under ``training``; None where it says nothing. SettingError."""
    values = given.raw("training")
    if values is None:
        return None
    if isinstance(values, dict) and "name" in values:
        raise SettingError("The training of a lesson has no name: leave it out.", (*given.place("training"), "name"))
    try:
        experiment = replace(spec.of_values(values), name=EXPERIMENT + lesson)
    except ExperimentError as error:
        raise SettingError(str(error), (*given.place("training"), *error.at)) from None
    if experiment.dataset != DATASET:
        raise given.wrong("training", f"A lesson trains on {DATASET} alone, which are always there.")
    training = Training(lesson, experiment)
    if len(training.configs) > MOST_RUNS:
        raise given.wrong("training", f"These are {len(training.configs)} runs; a lesson has at most {MOST_RUNS}.")
    return training


def of_a_lesson(run: Run) -> bool:
    """Whether a lesson had ``run`` trained, and no person."""
    return (run.experiment or "").startswith(EXPERIMENT)


def _standing(runs: Sequence[Run], number: int) -> Wait | None:
    """What keeps ``runs``, of ``number``, from all being done."""
    if failed := next((run for run in runs if run.ended and run.status != "done"), None):
        sentence = f"The training of this lesson ended before its time: {failed.reason or failed.status}"
        return Wait(sentence, active=False)
    done = sum(run.status == "done" for run in runs)
    if done == number:
        return None
    return Wait(_awaited(runs, number, done), active=True)


def _awaited(runs: Sequence[Run], number: int, done: int) -> str:
    if any(run.status == "paused" for run in runs):
        return "Somebody has paused the training of this lesson on Train; you can go on without it."
    if not any(run.status == "running" for run in runs) and _others_train(runs):
        wait = _wait_of(runs)
        return f"Other runs are training on this machine, so this lesson's wait{wait}. You can go on meanwhile."
    count = f"{done} of {number} networks are done" if number > 1 else "the network of this step is learning"
    return f"Training now: {count}. The explanation follows."


def _wait_of(runs: Sequence[Run]) -> str:
    """How long the first of ``runs`` that waits will do so, in words; "" where that cannot be told."""
    turns = services.turns()
    seconds = [turns[run.id].starts_in for run in runs if run.id in turns]
    known = [value for value in seconds if value is not None]
    return f", about {max(1, round(min(known) / 60))} min" if known else ""


def _others_train(runs: Sequence[Run]) -> bool:
    """Whether something else than this lesson has the machine's places."""
    experiments = {run.experiment for run in runs}
    return any(run.experiment not in experiments for run in services.store().list(status=("running",)))
