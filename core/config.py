"""What a training run is told: one frozen record, with the paper's protocol as defaults. Imports no torch."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from numbers import Real
from typing import Any

PRECISIONS = ("fp32", "bf16")
DEVICES = ("auto", "cpu", "cuda", "mps")
# What random generators make of a seed and an epoch must fit into torch's 64 bits.
LARGEST_SEED = 2**32 - 1
LARGEST_COUNT = 10**9
# The largest network has 64 times the channels, hence some 4,000 times the weights: more than any GPU holds.
LARGEST_WIDTH = 64.0


class ConfigError(ValueError):
    """A setting that cannot be used; the message is one sentence for the person who set it."""


@dataclass(frozen=True)
class Config:
    """Settings of one run; the defaults are the paper's (section 4): Adam, lr 5e-4, L2 1e-3, batches of 100.

    Attributes:
        dataset: "digits", "mnist", "cifar10", or a folder of class folders of images.
        network: a key of ``models.NETWORKS``, or "auto" for the data set's own.
        technique: a key of ``core.dropout.TECHNIQUES``, or "none".
        p: drop probability at every position, or one each; None takes the network's own.
        knobs: options of the technique.
        width: factor on the network's channels and units, at most 64.
        train_size: train on so many of the training images, the same ones for every seed, and validate on all others;
            None takes what the data set has of both.
        epochs, batch_size, lr, weight_decay, seed: as usual; weight decay is Adam's L2, a seed below 2**32.
        device: "auto" takes CUDA, else MPS, else the CPU; "cuda:1" and the like are understood.
        precision: "fp32", or "bf16" for autocast.
        schedule: how p changes over epochs, a key of ``core.dropout.schedules.SCHEDULES``.
        refresh_epochs: DropCorr: epochs between covariance estimates; None leaves it to the knob refresh_every.
        refresh_growth: factor from one such interval to the next.
        kl_weight: factor on the variational divergence.
        record_every: seconds between two step records.
        snapshots: keep the activations of a fixed batch at every epoch.
        early_stop: end after so many epochs without a lower validation loss, and keep the weights of the lowest; None
            trains to the last epoch and keeps its weights.
        time_budget: seconds of training, without those of evaluation, after which the run ends; None has no limit. How
            far it comes then depends on the machine.
    """

    dataset: str = "digits"
    network: str = "auto"
    technique: str = "standard"
    p: float | tuple[float, ...] | None = None
    knobs: dict[str, Any] = field(default_factory=dict)
    width: float = 1.0
    train_size: int | None = None
    epochs: int = 10
    batch_size: int = 100
    lr: float = 5e-4
    weight_decay: float = 1e-3
    seed: int = 0
    device: str = "auto"
    precision: str = "fp32"
    schedule: str = "constant"
    refresh_epochs: float | None = None
    refresh_growth: float = 1.0
    kl_weight: float = 1.0
    record_every: float = 0.25
    snapshots: bool = False
    early_stop: int | None = None
    time_budget: float | None = None

    def validated(self) -> Config:
        """Itself with p as a float or tuple; ConfigError says what is wrong and what is allowed."""
        for name in ("epochs", "batch_size"):
            _whole(name, getattr(self, name), 1, LARGEST_COUNT)
        _whole("seed", self.seed, 0, LARGEST_SEED)
        for name in ("early_stop", "train_size"):
            if getattr(self, name) is not None:
                _whole(name, getattr(self, name), 1, LARGEST_COUNT)
        for name in ("width", "lr", "refresh_epochs", "time_budget"):
            _number(name, getattr(self, name), above=True, optional=name in ("refresh_epochs", "time_budget"))
        for name in ("weight_decay", "kl_weight", "record_every"):
            _number(name, getattr(self, name))
        if self.width > LARGEST_WIDTH:
            raise ConfigError(f"width must be a number of at most {LARGEST_WIDTH:g}, got {self.width!r}.")
        _number("refresh_growth", self.refresh_growth, low=1.0)
        if not isinstance(self.snapshots, bool):
            raise ConfigError(f"snapshots is True or False, got {self.snapshots!r}.")
        _word("precision", self.precision, PRECISIONS)
        _word("device", str(self.device).partition(":")[0], DEVICES)
        if not self.dataset:
            raise ConfigError("Name a data set: digits, mnist, cifar10 or a folder of class folders.")
        self._check_technique()
        return replace(self, p=_probabilities(self.p))

    def _check_technique(self) -> None:
        from core.dropout import check_knobs  # torch takes seconds to import, and a list of runs needs none
        from core.dropout.schedules import ON_OFF, SCHEDULES
        from models import NETWORKS

        try:
            check_knobs(self.technique, self.knobs)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        _word("network", self.network, ("auto", *NETWORKS))
        _word("schedule", self.schedule, tuple(SCHEDULES))
        if self.technique in ("variational", "standout"):
            _word(
                f"schedule of {self.technique}, which learns its noise or draws it from the units,",
                self.schedule,
                ON_OFF,
            )
        if self.refresh_epochs is not None and self.technique != "dropcorr":
            raise ConfigError(
                f"refresh_epochs is about DropCorr's covariance; {self.technique} has none, so leave it out."
            )

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)

    def command(self) -> str:
        """The command line that trains with these settings; what is left to its default is left out."""
        said = ("dataset", "technique", "epochs", "seed")
        words = ["python -m core train"]
        for setting in fields(self):
            value = getattr(self, setting.name)
            if setting.name == "knobs":
                words += [f"--knob {shlex.quote(f'{knob}={_as_word(given)}')}" for knob, given in value.items()]
            elif setting.name in said or value != setting.default:
                option = f"--{setting.name.replace('_', '-')}"
                words.append(option if value is True else f"{option} {shlex.quote(_as_word(value))}")
        return " ".join(words)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Config:
        """The inverse of :meth:`to_dict`; ConfigError for a key that no setting has."""
        unknown = values.keys() - {f.name for f in fields(cls)}
        if unknown:
            raise ConfigError(f"There is no setting {', '.join(sorted(unknown))}.")
        p = values.get("p")
        return cls(**{**values, "p": tuple(p) if isinstance(p, Sequence) else p})


def _as_word(value: Any) -> str:
    """A setting as the command line takes it."""
    if isinstance(value, tuple):
        return ",".join(map(_as_word, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _whole(name: str, value: Any, low: int, high: int | None = None) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ConfigError(f"{name} must be a whole number of at least {low}, got {value!r}.")
    if high is not None and value > high:
        raise ConfigError(f"{name} must be a whole number of at most {high}, got {value!r}.")


def _number(name: str, value: Any, *, low: float = 0.0, above: bool = False, optional: bool = False) -> None:
    if optional and value is None:
        return
    good = not isinstance(value, bool) and isinstance(value, Real) and math.isfinite(value)
    if not good or value < low or (above and value == low):
        raise ConfigError(f"{name} must be a number {'above' if above else 'of at least'} {low:g}, got {value!r}.")


def _word(name: str, value: Any, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(allowed)}, got {value!r}.")


def _probabilities(p: Any) -> float | tuple[float, ...] | None:
    if p is None:
        return None
    values = tuple(p) if isinstance(p, Sequence) and not isinstance(p, str) else (p,)
    for value in values:
        if isinstance(value, bool) or not isinstance(value, Real) or not 0.0 <= float(value) <= 1.0:
            raise ConfigError(f"p is the probability of dropping and must lie between 0 and 1, got {value!r}.")
    numbers = tuple(float(value) for value in values)
    return numbers if isinstance(p, Sequence) else numbers[0]
