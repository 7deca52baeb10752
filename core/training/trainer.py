"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from core.config import Config, ConfigError
from core.data import Dataset, Split, load
from core.dropout import dropouts
from core.environment import choose_device, computes_bf16
from core.randomness import preserved, random_state, seeded_state, set_random_state
from core.references import Architecture, fixed_order, noiseless, reference_activations
from core.training.best import Best
from core.training.construction import adam, data_for, load_adam, network_of
from core.training.dials import Dials
from core.training.endings import early_end, seconds_left, trouble
from core.training.evaluation import evaluate
from core.training.observing import Masks, means
from core.training.progress import Progress
from core.training.replay import graphs_of
from core.training.stepping import Stepper, autocast
from core.training.tally import Tally
from models import network_for

if TYPE_CHECKING:
    from core.runs.steps import Batch

SLOW_BF16 = "This processor has no instructions for bf16 and imitates it at many times the cost: fp32 is faster here."


class Trainer:
    """Trains one network as ``config`` says.

    The same seed gives the same initial weights and the same order of examples, whatever the technique. The loop
    keeps random numbers of its own: what happens outside between two records does not change a run.

    Args:
        config: the settings; ConfigError if they cannot be used.
        data: the data set, if it is loaded already.

    :attr:`between` is called between two batches of an evaluation. What it raises leaves the trainer as it was before
    that: its state can be saved, and it or another one goes on with the evaluation from the beginning.
    """

    def __init__(self, config: Config, data: Dataset | None = None) -> None:
        self.config = config.validated()
        self.device = choose_device(config.device)
        self.data = data_for(self.config, data or load(config.dataset)).to(self.device)
        network = config.network if config.network != "auto" else network_for(self.data.name, self.data.shape)
        self.config = replace(self.config, network=network)
        self._random = seeded_state(config.seed, self.device)
        with self._own_random_numbers():
            model = network_of(self.config, self.data)
        # Convolutions are faster so, on CPUs and GPUs; nothing else in the network minds.
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # the stubs lack it
        self._random = seeded_state(config.seed, self.device)  # techniques differ in what they draw while being built
        self.optimizer = adam(self.config, self.model, self.device)
        self._dials = Dials(self.config, self.model, self.optimizer, self.steps_per_epoch)
        self.step = 0
        self.train_seconds = self.eval_seconds = 0.0
        self.status = "running"
        self._best = Best() if config.early_stop is not None else None
        self._tally = Tally(self.device)
        settings, graphs = self._dials.settings, graphs_of(self.device)
        self._stepper = Stepper(self.config, self.data, self.model, self.optimizer, self._tally, settings, graphs)
        self._masks = Masks()
        self._batches: tuple[int, tuple[Tensor, ...]] = (-1, ())
        # The last record of an epoch that is yet to be evaluated.
        self._closing: Progress | None = None
        self.between: Callable[[], None] = lambda: None

    @property
    def problem(self) -> str | None:
        """Why steps take longer than they could on this device, in a sentence."""
        if self.config.precision == "bf16" and not computes_bf16(self.device):
            return SLOW_BF16
        return self._stepper.problem

    @property
    def steps_per_epoch(self) -> int:
        """Optimiser steps an epoch takes."""
        images, batch = len(self.data.train), self.config.batch_size
        # Batch normalisation cannot train on a single example, so a last batch of one is left out.
        return max(1, images // batch + (images % batch > 1))

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.steps_per_epoch * self.config.epochs

    def run(self) -> Iterator[Progress]:
        """Train to the end, a record at a time; may be left after any record and called again to go on."""
        while self.status == "running":
            yield self.advance()

    def advance(self, steps: int | None = None) -> Progress:
        """Train up to the next record, which comes after so many ``steps`` at the latest."""
        with self._own_random_numbers():
            return self._advance(steps)

    def single(self) -> tuple[Progress, Batch | None]:
        """Take one optimiser step, and tell what it did; None where the run ends without another."""
        from core.training.capture import Capture

        before = self.step
        with Capture(self.model) as capture:
            record = self.advance(steps=1)
        if self.step == before:
            return record, None
        examples = self.data.train.take(self._batches[1][before % self.steps_per_epoch])
        return record, capture.batch(examples, self.data.classes, self.config.technique, record)

    def adjust(self, changes: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Change p, lr or knobs from the next step on; [{"name", "before", "after"}] of what differs from before.

        With a schedule p is what the schedule starts from. A noise that is learned starts again from a new p.
        ConfigError, with nothing changed, for what :func:`core.training.changes.checked` refuses.
        """
        return self._dials.turn(changes, self.step)

    def plan(self, marks: Iterable[tuple[int, Iterable[Mapping[str, Any]]]]) -> None:
        """Make changes again that came after the present state, each when so many steps are done."""
        self._dials.plan(marks, self.step, at_once=self.trains_next)

    @property
    def planned(self) -> bool:
        """Whether changes are yet to be made again; a new one must come after them."""
        return self._dials.planned

    @property
    def trains_next(self) -> bool:
        """Whether a step comes next, and not an evaluation or the test, which are of the network as it was trained."""
        return not (self._closing or self._over)

    @property
    def epoch(self) -> float:
        """Epochs done, a fraction."""
        return self.step / self.steps_per_epoch

    @property
    def _over(self) -> bool:
        return self.step >= self.total_steps or bool(early_end(self.config, self.train_seconds, self._best))

    def _advance(self, steps: int | None) -> Progress:
        if self._closing:
            return self._end_epoch(self._closing)
        if self._over:
            return self._finish()
        started = time.perf_counter()
        seen = self.step
        self._masks = Masks()
        due = min(self.config.record_every, seconds_left(self.config, self.train_seconds))
        while True:
            # The same step in every epoch, so that a resumed run measures what one never disturbed does.
            last = (self.step + 1) % self.steps_per_epoch == 0
            # Not twice in an epoch that takes one record: looking costs about a tenth of a small network's step.
            first = self.step == seen and (steps is not None or seen % self.steps_per_epoch > 0)
            self._train_step(look=first or last)
            at_end = self.step % self.steps_per_epoch == 0
            enough = steps is not None and self.step - seen >= steps
            if at_end or enough or time.perf_counter() - started >= due:
                break
        loss, accuracy, images = (
            self._tally.since_record()
        )  # waits for the device, so it belongs to the time of training
        seconds = time.perf_counter() - started
        self.train_seconds += seconds
        if problem := trouble(loss, seen, self.step, len(self.data.classes)):
            return self._fail(problem)
        layers = self._masks.read()
        record = self._record("step", loss=loss, accuracy=accuracy, images_per_s=images / seconds, **means(layers))
        if not at_end:
            return record
        self._closing = replace(record, layers=layers or None)
        self._random = random_state(self.device)
        return self._end_epoch(self._closing)

    def _train_step(self, look: bool = False) -> None:
        self._dials.make_planned(self.step)
        epoch, batch = divmod(self.step, self.steps_per_epoch)
        if batch == 0 or self._batches[0] != epoch:
            self._start_epoch(epoch)
        self._stepper.take(self._batches[1][batch], self._masks.see if look else None)
        self.step += 1

    def _start_epoch(self, epoch: int) -> None:
        """Order of examples, p, the covariance's interval: functions of seed and epoch, so a resumed run agrees."""
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.data.train), generator=generator).to(self.device)
        self._batches = (epoch, order.split(self.config.batch_size))
        self._dials.start_epoch(epoch)

    def _end_epoch(self, record: Progress) -> Progress:
        started = time.perf_counter()
        val_loss, val_accuracy = self._evaluate(self.data.validation)
        train_eval_loss, _ = self._evaluate(self._part_of_training())
        self.eval_seconds += time.perf_counter() - started
        if self._best:
            self._best.see(self.step // self.steps_per_epoch, val_loss, self.model)
        loss, accuracy, _ = self._tally.of_epoch()
        self._closing = None
        return replace(
            record,
            kind="epoch",
            loss=loss,
            accuracy=accuracy,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            train_eval_loss=train_eval_loss,
            eval_seconds=self.eval_seconds,
        )

    def _finish(self) -> Progress:
        whole = self.step >= self.total_steps
        reasons = [] if whole else [early_end(self.config, self.train_seconds, self._best)]
        if self._best and self._best.restore(self.model, self.epoch):
            reasons.append(
                f"The weights are those after epoch {self._best.epoch}, where the validation loss was lowest."
            )
        started = time.perf_counter()
        test_loss, test_accuracy = self._evaluate(self.data.test)
        self.eval_seconds += time.perf_counter() - started
        self.status = "done"
        reason = " ".join(filter(None, reasons)) or None
        return self._record("end", test_loss=test_loss, test_accuracy=test_accuracy, reason=reason)

    def _fail(self, reason: str) -> Progress:
        self.status = "failed"
        return self._record("end", reason=reason)

    def _record(self, kind: str, **values: Any) -> Progress:
        return Progress(
            kind=kind,
            step=self.step,
            epoch=self.epoch,
            status=self.status,
            train_seconds=self.train_seconds,
            eval_seconds=self.eval_seconds,
            p=tuple(layer.p for layer in dropouts(self.model)),
            lr=self._dials.lr,
            **values,
        )

    def _part_of_training(self) -> Split:
        """As many training examples as there are for validation, always the same ones."""
        train, size = self.data.train, min(len(self.data.train), max(1000, len(self.data.validation)))
        index = fixed_order(len(train))[:size].to(self.device)
        return Split(train.x[index], train.y[index])

    def _evaluate(self, split: Split) -> tuple[float, float]:
        with autocast(self.device, self.config.precision):
            return evaluate(self.model, self.data, split, self.between)

    @contextmanager
    def _own_random_numbers(self) -> Iterator[None]:
        with preserved(self.device):
            set_random_state(self._random, self.device)
            yield
            self._random = random_state(self.device)

    def reference_activations(self) -> tuple[Tensor, ...]:
        """What enters each dropout position for the reference images now, without noise: (R, *units), on the CPU."""
        data, c = self.data, self.config
        architecture = Architecture(c.network, data.shape, len(data.classes), c.width)
        return reference_activations(noiseless(architecture, self.model.state_dict()), data)

    def state(self) -> dict[str, Any]:
        """All that the rest of the run depends on, for ``torch.save``; loads with ``weights_only=True``."""
        saved = self.model.state_dict()
        return {
            "config": self.config.to_dict(),
            "model": saved,
            "buffers": {k: v for k, v in self.model.named_buffers() if k not in saved},
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "status": self.status,
            "seconds": (self.train_seconds, self.eval_seconds),
            "tally": self._tally.state(),
            "random": self._random,
            "dials": self._dials.state(),
            "closing": self._closing and self._closing.to_dict(),
        } | ({"best": self._best.state()} if self._best else {})

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from ``state``; more epochs may be asked for, anything else that differs is a ConfigError."""
        mine, theirs = self.config.to_dict(), dict(state["config"])
        free = ("epochs", "device", "record_every", "snapshots")
        changed = [k for k in mine if k not in free and mine[k] != theirs.get(k)]
        if changed:
            raise ConfigError(f"The saved state belongs to another run: {', '.join(changed)} differ.")
        self.model.load_state_dict(state["model"])
        for name, value in state["buffers"].items():
            owner, _, leaf = name.rpartition(".")
            setattr(self.model.get_submodule(owner), leaf, value.to(self.device, copy=True))
        load_adam(self.optimizer, state["optimizer"])
        if "dials" in state:  # those saved by earlier versions are as the settings say
            self._dials.load_state(state["dials"])
        self.step = state["step"]
        self.status = "running" if self.step < self.total_steps else state["status"]
        self.train_seconds, self.eval_seconds = state["seconds"]
        self._tally.load_state(state["tally"])
        self._stepper.forget()
        self._random = dict(state["random"])
        self._batches = (-1, ())
        # Where no step follows, the test is still of the epoch before: some techniques compute with p in evaluation.
        self._dials.start_epoch(max(0, self.step - 1) // self.steps_per_epoch)
        closing = state.get("closing")  # missing where an earlier version saved it
        self._closing = Progress(**closing) if closing else None
        if self._best:
            self._best.load_state(state["best"], self.device)
