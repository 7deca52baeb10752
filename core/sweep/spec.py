"""An experiment as YAML and back. Errors name the line."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import yaml

from core import marked_yaml
from core.marked_yaml import Place
from core.sweep.experiment import MOST_RUNS, SETTINGS, Experiment, ExperimentError, P

AXES = ("networks", "techniques", "p", "seeds")
KEYS = ("name", "dataset", *AXES, *SETTINGS, "knobs")
_RANGE = re.compile(r"(\d{1,10})-(\d{1,10})")


def from_yaml(text: str) -> Experiment:
    """The experiment that ``text`` describes, checked; :class:`ExperimentError` with the line otherwise."""
    values, lines = _read(text)
    try:
        experiment = of_values(values)
    except ExperimentError as error:
        raise ExperimentError(f"Line {marked_yaml.line_of(lines, error.at)}: {error}", error.at) from None
    return experiment


def of_values(values: Any) -> Experiment:
    """The experiment in what YAML made of a text, checked; :class:`ExperimentError`."""
    experiment = _experiment(values)
    experiment.configs()
    return experiment


def to_yaml(experiment: Experiment) -> str:
    """``experiment`` as text that :func:`from_yaml` reads as the same; what is left to its default is left out."""
    default = Experiment()
    values: dict[str, Any] = {"name": experiment.name} if experiment.name else {}
    values["dataset"] = experiment.dataset
    values["techniques"] = list(experiment.techniques)
    for axis in ("networks", "p"):
        if tuple(getattr(experiment, axis)) != tuple(getattr(default, axis)):
            values[axis] = [list(v) if isinstance(v, tuple) else v for v in getattr(experiment, axis)]
    values["seeds"] = _seeds_in_short(experiment.seeds)
    values |= {name: experiment.settings[name] for name in SETTINGS if name in experiment.settings}
    if knobs := {name: dict(given) for name, given in experiment.knobs.items() if given}:
        values["knobs"] = knobs
    return str(
        yaml.dump(
            values,
            Dumper=marked_yaml.PlainDumper,
            sort_keys=False,
            allow_unicode=True,
            default_flow_style=None,
            width=100,
        )
    )


def probabilities(text: str) -> tuple[P, ...]:
    """Values of p as a person writes them in a line, ``0.2, [0.1, 0.3]``; none, as ``(None,)``, in an empty one."""
    if not text.strip():
        return (None,)
    found: tuple[P, ...] = ()
    with suppress(ExperimentError):
        found = _axis("p", _read(f"[{text}]")[0])
    if not found or not all(map(_is_p, found)):
        raise ExperimentError(
            "p is numbers from 0 to 1 with commas between, as 0.2, 0.5; in brackets, as [0.1, 0.3], one for each layer."
        )
    return found


def _is_p(value: Any) -> bool:
    values = value if isinstance(value, tuple) else (value,)
    return all(isinstance(p, int | float) and not isinstance(p, bool) and 0 <= p <= 1 for p in values)


def _read(text: str) -> tuple[Any, dict[Place, int]]:
    try:
        return marked_yaml.read(text, "an experiment")
    except marked_yaml.MarkedYamlError as error:
        raise ExperimentError(str(error)) from None


def _experiment(values: Any) -> Experiment:
    if not isinstance(values, Mapping):
        raise ExperimentError("An experiment is written as settings, such as `techniques: [none, standard]`.")
    for key in values:
        if key not in KEYS:
            raise ExperimentError(_unknown(key), (str(key),))
    if "techniques" not in values:
        raise ExperimentError("Name what is to be trained, such as `techniques: [none, standard]`.")
    given = {key: values[key] for key in ("name", "dataset") if key in values}
    for key, value in given.items():
        if not isinstance(value, str) or not value.strip():
            raise ExperimentError(f"{key} must be text, got {value!r}.", (key,))
    for axis in AXES:
        if axis in values:
            given[axis] = _seeds(values[axis]) if axis == "seeds" else _axis(axis, values[axis])
    given["settings"] = {key: value for key, value in values.items() if key in SETTINGS}
    return Experiment(**given, knobs=_knobs(values.get("knobs")))


def _axis(axis: str, value: Any) -> tuple[Any, ...]:
    """The values to try: those of a list, or the one that stands there alone."""
    values = value if isinstance(value, list) else [value]
    for index, one in enumerate(values):
        if axis != "p" and not isinstance(one, str):
            raise ExperimentError(f"{axis} are names, got {one!r}.", (axis, index))
    return tuple(tuple(one) if isinstance(one, list) else one for one in values)


def _seeds(value: Any) -> tuple[Any, ...]:
    """``[0, 1, 2]``, or ``0-2`` for the same."""
    if isinstance(value, str) and (match := _RANGE.fullmatch(value.replace(" ", ""))):
        first, last = int(match[1]), int(match[2])
        if not first <= last < first + MOST_RUNS:
            raise ExperimentError(
                f"seeds {value} must go up, and be at most {MOST_RUNS:,}; write them as 0-4.", ("seeds",)
            )
        return tuple(range(first, last + 1))
    return _axis("p", value)


def _seeds_in_short(seeds: Sequence[int]) -> Any:
    if len(seeds) > 2 and list(seeds) == list(range(seeds[0], seeds[0] + len(seeds))):
        return f"{seeds[0]}-{seeds[-1]}"
    return list(seeds)


def _knobs(value: Any) -> dict[str, dict[str, Any]]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ExperimentError("knobs are written by technique, such as `dropcorr: {count: active}`.", ("knobs",))
    for technique, given in value.items():
        if not isinstance(given, dict) or not all(isinstance(knob, str) for knob in given):
            raise ExperimentError(
                f"The options of {technique} are written by name, such as `{{count: active}}`.",
                ("knobs", str(technique)),
            )
    return value


def _unknown(key: Any) -> str:
    close = difflib.get_close_matches(str(key), KEYS, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(KEYS)}."
    return f"There is no setting {key!r}; {hint}"
