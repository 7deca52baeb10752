"""p, the learning rate and the knobs of a network in training, by its schedules and by a person's hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from core.config import Config
from core.dropout import DropCorr, dropouts, noise_parameters, set_p
from core.dropout.schedules import p_at, refresh_every
from core.training.changes import Changes, as_changes, as_mark, checked, knobs_of, one_or_each, set_knob

Mark = list[dict[str, Any]]

LEARNED = "learned"
"""What stands in a mark for p before, where the noise was learned from there on."""


class Dials:
    """Turns p, lr and knobs of ``model`` between two steps.

    Attributes:
        p: what the schedule starts from at each dropout position.
        knobs: the technique's, by name, as they are now.
    """

    def __init__(self, config: Config, model: nn.Module, optimizer: Optimizer, steps_per_epoch: int) -> None:
        self._config, self._model, self._optimizer = config, model, optimizer
        self._steps_per_epoch = steps_per_epoch
        self._layers = dropouts(model)
        self.p = tuple(layer.p for layer in self._layers)
        self.knobs = {name: knob.default for name, knob in knobs_of(config.technique).items()} | config.knobs
        self._planned: dict[int, Changes] = {}

    @property
    def lr(self) -> float:
        """The learning rate."""
        return float(self._optimizer.param_groups[0]["lr"])

    @property
    def planned(self) -> bool:
        """Whether changes are yet to be made again; a new one must come after them."""
        return bool(self._planned)

    def settings(self) -> tuple[Any, ...]:
        """All numbers and words that a training step reads: the learning rate, p and options of each layer."""
        knobs = [(layer, knob) for layer in self._layers for knob in (*layer.knobs, *layer.private_knobs)]
        options = [getattr(layer, knob.field, None) for layer, knob in knobs]
        # What is learned is a tensor, which a step reads anew.
        plain = (None if isinstance(value, Tensor) else value for value in options)
        return (self.lr, *(layer.p for layer in self._layers), *plain)

    def start_epoch(self, epoch: int) -> None:
        """p and the covariance's interval in ``epoch``, from 0."""
        c = self._config
        set_p(self._model, [p_at(c.schedule, p, epoch, c.epochs) for p in self.p])
        if c.refresh_epochs is not None:
            every = refresh_every(c.refresh_epochs, c.refresh_growth, epoch, self._steps_per_epoch)
            for layer in self._layers:
                if isinstance(layer, DropCorr):
                    layer.refresh_every = every

    def turn(self, changes: Mapping[str, Any], step: int) -> Mark:
        """Make ``changes`` before the step that follows ``step``; what differs from before. ConfigError if refused."""
        return self._make(checked(self._config, changes, len(self.p)), step)

    def plan(self, marks: Iterable[tuple[int, Iterable[Mapping[str, Any]]]], step: int, at_once: bool) -> None:
        """Make the changes of marks (step, …) again as the run comes by, ``at_once`` those of the present ``step``."""
        self._planned = {place: as_changes(mark) for place, mark in marks if place >= step}
        if at_once:
            self.make_planned(step)

    def make_planned(self, step: int) -> None:
        """Make those changes that belong before the step that follows ``step``."""
        if changes := self._planned.pop(step, None):
            self._make(changes, step)

    def state(self) -> dict[str, Any]:
        """For ``torch.save``; the learning rate is in the optimiser's."""
        return {"p": self.p, "knobs": self.knobs}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from ``state``."""
        self.p = tuple(state["p"])
        self._set_knobs({name: value for name, value in state["knobs"].items() if value != self.knobs[name]})

    def _make(self, wanted: Changes, step: int) -> Mark:
        before = self._values()
        if "p" in wanted:
            if any(True for _ in noise_parameters(self._model)):
                before["p"] = LEARNED  # and begins anew, even from the same p
            self._turn_p(wanted["p"], min(step // self._steps_per_epoch, self._config.epochs - 1))
        for group in self._optimizer.param_groups:
            group["lr"] = wanted.get("lr", group["lr"])
        self._set_knobs(wanted.get("knobs", {}))
        return as_mark(before, self._values())

    def _values(self) -> dict[str, Any]:
        p = {"p": one_or_each(self.p)} if self.p else {}
        return {**p, "lr": self.lr, **self.knobs}

    def _turn_p(self, p: float | Sequence[float], epoch: int) -> None:
        self.p = tuple(p) if isinstance(p, Sequence) else (p,) * len(self._layers)
        for layer, value in zip(self._layers, self.p, strict=True):
            layer.turn_to(value)
        self.start_epoch(epoch)

    def _set_knobs(self, knobs: Mapping[str, Any]) -> None:
        known = knobs_of(self._config.technique)
        for name, value in knobs.items():
            for layer in self._layers:
                set_knob(layer, known[name], value)
            self.knobs[name] = value
