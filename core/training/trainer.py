"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from core.config import Config, ConfigError
from core.data import Dataset, Split, load
from core.dropout import DropCorr, dropouts, factory, kl, noise_parameters, set_p
from core.dropout.schedules import p_at, refresh_every
from core.environment import choose_device
from core.randomness import preserved, random_state, seeded_state, set_random_state
from core.references import Architecture, fixed_order, noiseless, reference_activations
from core.training.best import Best
from core.training.changes import Changes, as_changes, as_mark, checked, knobs_of, one_or_each, set_knob
from core.training.evaluation import evaluate
from core.training.observing import Masks, means, observed
from core.training.progress import Progress
from models import build, network_for

if TYPE_CHECKING:
    from core.runs.steps import Batch

# A network that knows nothing has loss ln(classes); twenty times that is confidently wrong, and no way back is known.
DIVERGED = 20.0


class Trainer:
    """Trains one network as ``config`` says.

    The same seed gives the same initial weights and the same order of examples, whatever the technique. The loop
    keeps random numbers of its own: what happens outside between two records does not change a run.

    Args:
        config: the settings; ConfigError if they cannot be used.
        data: the data set, if it is loaded already.
    """

    def __init__(self, config: Config, data: Dataset | None = None) -> None:
        self.config = config.validated()
        self.device = choose_device(config.device)
        self.data = (data or load(config.dataset)).to(self.device)
        network = config.network if config.network != "auto" else network_for(self.data.name, self.data.shape)
        self.config = replace(self.config, network=network)
        self._random = seeded_state(config.seed, self.device)
        with self._own_random_numbers():
            self.model = self._build().to(self.device)
        self._random = seeded_state(config.seed, self.device)  # techniques differ in what they draw while being built
        self.p = tuple(layer.p for layer in dropouts(self.model))
        self.knobs = {name: knob.default for name, knob in knobs_of(config.technique).items()} | config.knobs
        self._planned: dict[int, Changes] = {}
        self.optimizer = self._optimizer()
        self.step = 0
        self.train_seconds = self.eval_seconds = 0.0
        self.status = "running"
        self._best = Best() if config.early_stop is not None else None
        self._tally = torch.zeros(
            2, 3, device=self.device
        )  # (since the record, over the epoch) x (loss, right, images)
        self._masks = Masks()
        self._batches: tuple[int, tuple[Tensor, ...]] = (-1, ())

    def _build(self) -> nn.Module:
        c = self.config
        try:
            return build(
                c.network,
                factory(c.technique, **c.knobs),
                shape=self.data.shape,
                classes=len(self.data.classes),
                width=c.width,
                p=c.p,
            )
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def _optimizer(self) -> torch.optim.Adam:
        noise = list(noise_parameters(self.model))
        taken = {id(q) for q in noise}
        weights = [q for q in self.model.parameters() if id(q) not in taken]
        groups = [{"params": weights, "weight_decay": self.config.weight_decay}]
        if noise:
            groups.append({"params": noise, "weight_decay": 0.0})
        return torch.optim.Adam(groups, lr=self.config.lr, fused=self.device.type in ("cpu", "cuda"))

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
        epoch, lr = self.step / self.steps_per_epoch, self.optimizer.param_groups[0]["lr"]
        return record, capture.batch(examples, self.config.technique, self.data.classes, self.step, epoch, lr)

    def adjust(self, changes: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Change p, lr or knobs from the next step on; [{"name", "before", "after"}] of what differs from before.

        With a schedule p is what the schedule starts from. A noise that is learned starts again from a new p.
        ConfigError, with nothing changed, for what :func:`core.training.changes.checked` refuses.
        """
        return self._change(checked(self.config, changes, len(self.p)))

    def _change(self, wanted: Changes) -> list[dict[str, Any]]:
        before = self._adjustable()
        if "p" in wanted:
            self._turn_to(wanted["p"])
        for group in self.optimizer.param_groups:
            group["lr"] = wanted.get("lr", group["lr"])
        self._set_knobs(wanted.get("knobs", {}))
        return as_mark(before, self._adjustable())

    def plan(self, marks: Iterable[tuple[int, Iterable[Mapping[str, Any]]]]) -> None:
        """Make changes again that came after the present state, each when so many steps are done."""
        self._planned = {step: as_changes(mark) for step, mark in marks if step >= self.step}
        self._make_planned()

    @property
    def planned(self) -> bool:
        """Whether changes are yet to be made again; a new one must come after them."""
        return bool(self._planned)

    def _make_planned(self) -> None:
        if changes := self._planned.pop(self.step, None):
            self._change(changes)

    def _adjustable(self) -> dict[str, Any]:
        p = {"p": one_or_each(self.p)} if self.p else {}
        return {**p, "lr": self.optimizer.param_groups[0]["lr"], **self.knobs}

    def _turn_to(self, p: float | Sequence[float]) -> None:
        layers = dropouts(self.model)
        self.p = tuple(p) if isinstance(p, Sequence) else (p,) * len(layers)
        for layer, value in zip(layers, self.p, strict=True):
            layer.turn_to(value)
        self._follow_schedule(min(self.step // self.steps_per_epoch, self.config.epochs - 1))

    def _follow_schedule(self, epoch: int) -> None:
        set_p(self.model, [p_at(self.config.schedule, p, epoch, self.config.epochs) for p in self.p])

    def _set_knobs(self, knobs: Mapping[str, Any]) -> None:
        known = knobs_of(self.config.technique)
        for name, value in knobs.items():
            for layer in dropouts(self.model):
                set_knob(layer, known[name], value)
            self.knobs[name] = value

    def _advance(self, steps: int | None) -> Progress:
        if self.step >= self.total_steps or self._ends_early():
            return self._finish()
        started = time.perf_counter()
        seen = self.step
        self._masks = Masks()
        due = min(self.config.record_every, self._seconds_left())
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
        loss, accuracy, images = self._read(0)  # waits for the device, so it belongs to the time of training
        seconds = time.perf_counter() - started
        self.train_seconds += seconds
        if problem := self._trouble(loss, seen):
            return self._fail(problem)
        layers = self._masks.read()
        record = self._record("step", loss=loss, accuracy=accuracy, images_per_s=images / seconds, **means(layers))
        return self._end_epoch(replace(record, layers=layers or None)) if at_end else record

    def _seconds_left(self) -> float:
        budget = self.config.time_budget
        return math.inf if budget is None else budget - self.train_seconds

    def _ends_early(self) -> str | None:
        """Why training is over before its last epoch, in a sentence; None where it is not."""
        if self._seconds_left() <= 0:
            return f"Training has taken the {self.config.time_budget:g} s that it was given."
        patience = self.config.early_stop
        if self._best and patience is not None and self._best.waited >= patience:
            epochs = "1 epoch" if patience == 1 else f"{patience} epochs"
            return f"The validation loss has not fallen for {epochs}."
        return None

    def _train_step(self, look: bool = False) -> None:
        self._make_planned()
        epoch, batch = divmod(self.step, self.steps_per_epoch)
        if batch == 0 or self._batches[0] != epoch:
            self._start_epoch(epoch)
        index = self._batches[1][batch]
        x, y = self.data.normalise(self.data.train.x[index]), self.data.train.y[index]
        self.model.train()
        with self._autocast(), observed(self.model, self._masks.see) if look else nullcontext():
            out = self.model(x)
        loss = F.cross_entropy(out.float(), y)
        self.optimizer.zero_grad(set_to_none=True)
        (loss + self.config.kl_weight / len(self.data.train) * kl(self.model).to(self.device)).backward()
        self.optimizer.step()
        self.step += 1
        with torch.no_grad():
            right = (out.argmax(1) == y).sum()
            n = len(index)
            self._tally += torch.stack([loss.detach() * n, right.to(loss.dtype), loss.new_tensor(float(n))])

    def _start_epoch(self, epoch: int) -> None:
        """Order of examples, p, the covariance's interval: functions of seed and epoch, so a resumed run agrees."""
        generator = torch.Generator().manual_seed(self.config.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.data.train), generator=generator).to(self.device)
        self._batches = (epoch, order.split(self.config.batch_size))
        self._follow_schedule(epoch)
        if self.config.refresh_epochs is not None:
            every = refresh_every(self.config.refresh_epochs, self.config.refresh_growth, epoch, self.steps_per_epoch)
            for layer in dropouts(self.model):
                if isinstance(layer, DropCorr):
                    layer.refresh_every = every

    def _end_epoch(self, record: Progress) -> Progress:
        loss, accuracy, _ = self._read(1)
        started = time.perf_counter()
        val_loss, val_accuracy = self._evaluate(self.data.validation)
        train_eval_loss, _ = self._evaluate(self._part_of_training())
        self.eval_seconds += time.perf_counter() - started
        if self._best:
            self._best.see(self.step // self.steps_per_epoch, val_loss, self.model)
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
        reasons = [] if self.step >= self.total_steps else [self._ends_early()]
        if self._best and self._best.restore(self.model, self.step / self.steps_per_epoch):
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

    def _trouble(self, loss: float, since: int) -> str | None:
        advice = "lower the learning rate or p"
        if not math.isfinite(loss):
            return f"The loss became {loss} between steps {since} and {self.step}; {advice}."
        limit = DIVERGED * math.log(max(2, len(self.data.classes)))
        if loss > limit:
            guess = limit / DIVERGED
            return f"The loss diverged: {loss:.3g} by step {self.step}, where guessing gives {guess:.2f}; {advice}."
        return None

    def _record(self, kind: str, **values: Any) -> Progress:
        return Progress(
            kind=kind,
            step=self.step,
            epoch=self.step / self.steps_per_epoch,
            status=self.status,
            train_seconds=self.train_seconds,
            eval_seconds=self.eval_seconds,
            p=tuple(layer.p for layer in dropouts(self.model)),
            lr=self.optimizer.param_groups[0]["lr"],
            **values,
        )

    def _read(self, row: int) -> tuple[float, float, float]:
        """Mean loss, accuracy and number of images of a row of the tally, which starts anew."""
        loss, right, images = self._tally[row].tolist()
        self._tally[row].zero_()
        return loss / images, right / images, images

    def _part_of_training(self) -> Split:
        """As many training examples as there are for validation, always the same ones."""
        train, size = self.data.train, min(len(self.data.train), max(1000, len(self.data.validation)))
        index = fixed_order(len(train))[:size].to(self.device)
        return Split(train.x[index], train.y[index])

    def _evaluate(self, split: Split) -> tuple[float, float]:
        with self._autocast():
            return evaluate(self.model, self.data, split)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16")

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
            "tally": self._tally,
            "random": self._random,
            "adjusted": {"p": self.p, "knobs": self.knobs},
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
        self.optimizer.load_state_dict(state["optimizer"])
        if adjusted := state.get("adjusted"):
            self.p = tuple(adjusted["p"])
            self._set_knobs({name: value for name, value in adjusted["knobs"].items() if value != self.knobs[name]})
        self.step = state["step"]
        self.status = "running" if self.step < self.total_steps else state["status"]
        self.train_seconds, self.eval_seconds = state["seconds"]
        self._tally = state["tally"].to(self.device, copy=True)
        self._random = dict(state["random"])
        self._batches = (-1, ())
        if self._best:
            self._best.load_state(state["best"], self.device)
