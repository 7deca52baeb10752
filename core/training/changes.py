"""What may change of a run while it trains: p, the learning rate and the technique's knobs."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn
from torch.nn.utils import skip_init

from core.config import Config, ConfigError
from core.dropout import TECHNIQUES, Dropout, Knob, dropouts, factory

Changes = dict[str, Any]
"""Any of {"p": number or one a position, "lr": number, "knobs": {name: value}}."""

CHANGEABLE = ("p", "lr", "knobs")


def checked(config: Config, changes: Mapping[str, Any], positions: int | None = None) -> Changes:
    """``changes`` to a run that was begun with ``config``, p and lr as floats; ConfigError where they cannot be made.

    Args:
        positions: how many dropout positions the run's network has, None where that is not known yet.
    """
    if unknown := [name for name in changes if name not in CHANGEABLE]:
        raise ConfigError(f"Of a run that trains p, lr and knobs can change, not {', '.join(unknown)}.")
    knobs = dict(changes.get("knobs") or {})
    wanted: Changes = {name: changes[name] for name in ("p", "lr") if changes.get(name) is not None}
    if not wanted and not knobs:
        raise ConfigError("Say what is to change: p, lr or a knob.")
    if config.technique == "none" and ("p" in wanted or knobs):
        raise ConfigError("This run trains without dropout: only its learning rate can change.")
    good = replace(config, **wanted, knobs={**config.knobs, **knobs}).validated()
    _check_count(good, positions if "p" in wanted else None)
    _check_knobs(config, knobs)
    values = {name: getattr(good, name) for name in wanted}
    return values | ({"knobs": knobs} if knobs else {})


def as_changes(mark: Iterable[Mapping[str, Any]]) -> Changes:
    """The changes of a mark, [{"name", "before", "after"}], to be made once more."""
    after = {str(change["name"]): change["after"] for change in mark}
    plain: Changes = {name: after.pop(name) for name in ("p", "lr") if name in after}
    return plain | ({"knobs": after} if after else {})


def changed(config: Config, marks: Iterable[Mapping[str, Any]]) -> Config:
    """What a run that was begun with ``config`` trains with after its ``marks``."""
    for mark in marks:
        plain = as_changes(mark["changes"])
        config = replace(config, **plain | {"knobs": {**config.knobs, **plain.get("knobs", {})}})
    return config


def as_mark(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """[{"name", "before", "after"}] for what differs."""
    return [
        {"name": name, "before": before[name], "after": value} for name, value in after.items() if before[name] != value
    ]


def one_or_each(p: Sequence[float]) -> float | list[float]:
    """p as a person reads it: one number where all positions have the same."""
    return p[0] if len({*p}) == 1 else list(p)


def knobs_of(technique: str) -> dict[str, Knob]:
    """Name → knob of a technique; none without dropout."""
    return {knob.name: knob for knob in TECHNIQUES[technique].knobs} if technique in TECHNIQUES else {}


def set_knob(layer: Dropout, knob: Knob, value: Any) -> None:
    """Change a knob of ``layer``; ConfigError where it is built into the layer, or learned by it."""
    if knob.structural:
        raise ConfigError(
            f"{knob.name} decides which parameters the network has, so it cannot change while a run trains: "
            "start a new run with it."
        )
    if isinstance(getattr(layer, knob.field, None), nn.Parameter):
        raise ConfigError(f"{knob.name} is learned by this run, so it cannot be set.")
    try:
        setattr(layer, knob.field, value)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _check_count(config: Config, positions: int | None) -> None:
    if positions is not None and isinstance(config.p, tuple) and len(config.p) != positions:
        raise ConfigError(
            f"This network has {positions} dropout positions, but p has {len(config.p)} values; give one each."
        )


def _check_knobs(config: Config, knobs: Mapping[str, Any]) -> None:
    """By a small layer of the same kind, so that the layer's own checks decide."""
    if not knobs:
        return
    if "refresh_every" in knobs and config.refresh_epochs is not None:
        raise ConfigError("refresh_every follows this run's refresh_epochs at every epoch, so it cannot be set.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a start that is clipped
        # Without initial weights, which would take random numbers.
        block = factory(config.technique, **config.knobs)(skip_init(nn.Linear, 1, 1), nn.ReLU(), (), 0.5)
    known = knobs_of(config.technique)
    for name, value in knobs.items():
        set_knob(dropouts(block)[0], known[name], value)
