"""Many seeds of one configuration: in turn, as one computation on stacked weights, and on a GPU on a stream each."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import count, islice

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from core.bench.results import Result, results
from core.bench.timing import Times, Work, interleaved
from core.bench.training import images_for, order_of
from core.config import Config
from core.data import Dataset
from core.training import Trainer
from core.training.products import by_onednn
from core.training.replay import Replay, graphs_of

IN_TURN, AT_ONCE, STREAMS = "seeds in turn", "seeds at once", "seeds on a stream each"
STEPS = {"cpu": 10, "cuda": 100}
TECHNIQUES = ("standard", "dropcorr")


@dataclass(frozen=True)
class Plan:
    """What to measure: so many ``seeds`` of these networks, each for ``seconds`` a technique."""

    device: torch.device
    networks: tuple[str, ...]
    seeds: int = 16
    seconds: float = 20.0


def plan_for(device: torch.device) -> Plan:
    """On a CPU the small network alone, as sixteen of the paper's take minutes a sample."""
    return Plan(device, ("digits", "mnist") if device.type == "cuda" else ("digits",))


def measure(plan: Plan) -> Iterator[Result]:
    """Steps of all seeds at once, and on streams, against the same steps of one seed after the other."""
    steps = STEPS.get(plan.device.type, STEPS["cpu"])
    for network in plan.networks:
        for technique in TECHNIQUES:
            where = {"network": network, "technique": technique, "seeds": plan.seeds, "steps": steps}
            where |= {"device": plan.device.type, "threads": torch.get_num_threads()}
            yield from results("seeds", _timed(network, technique, steps, plan), IN_TURN, where)


def _timed(network: str, technique: str, steps: int, plan: Plan) -> Times:
    data = images_for(network)
    config = Config(dataset=data.name, network=network, technique=technique, epochs=10**6, record_every=1e9)
    config = replace(config, device=str(plan.device))
    trainers, together = _trainers(config, data, plan.seeds), Together(config, data, plan.seeds)
    works: dict[str, Work] = {
        IN_TURN: lambda: [trainer.advance(steps=steps) for trainer in trainers],
        AT_ONCE: lambda: together.take(steps),
    }
    if plan.device.type == "cuda":
        works[STREAMS] = _on_streams(_trainers(config, data, plan.seeds), steps, plan.device)
    return interleaved(works, seconds=plan.seconds, device=plan.device)


class Together:
    """The networks of ``config`` from seeds 0, 1, …, trained by one computation; each sees its own order of examples.

    The steps are those of :class:`core.training.Trainer` but for the divergence of Variational, which is left out.
    """

    def __init__(self, config: Config, data: Dataset, seeds: int) -> None:
        trainers = _trainers(config, data, seeds)
        self._data, self._model = trainers[0].data, deepcopy(trainers[0].model).train()
        device = trainers[0].device
        weights, self._buffers = stack_module_state([trainer.model for trainer in trainers])  # (seeds, *weight.shape)
        self.weights = {name: value.detach().requires_grad_() for name, value in weights.items()}
        self._optimizer = torch.optim.Adam(
            self.weights.values(),
            lr=config.lr,
            weight_decay=config.weight_decay,
            fused=True,
            capturable=device.type == "cuda",
        )
        orders = [order_of(replace(config, seed=seed), data) for seed in range(seeds)]
        batches = torch.tensor(orders, device=device).split(config.batch_size, 1)  # each (seeds, B)
        self._batches = [batch for batch in batches if batch.shape[1] == config.batch_size]
        self._places = count()
        self._replay = Replay(self._step, seeds, lambda: None, graphs_of(device))

    def take(self, steps: int) -> None:
        """So many steps of every network."""
        with by_onednn(self._data.train.x.device):
            for place in islice(self._places, steps):
                self._replay(self._batches[place % len(self._batches)])

    def _step(self, index: Tensor) -> None:
        train = self._data.train
        x = self._data.normalise(train.x[index.flatten()]).unflatten(0, index.shape)  # (seeds, B, C, H, W)
        losses = vmap(self._loss, randomness="different")(self.weights, self._buffers, x, train.y[index])
        self._optimizer.zero_grad(set_to_none=True)
        losses.sum().backward()
        self._optimizer.step()

    def _loss(self, weights: dict[str, Tensor], buffers: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(self._model, (weights, buffers), (x,)), y)


def _trainers(config: Config, data: Dataset, seeds: int) -> list[Trainer]:
    return [Trainer(replace(config, seed=seed), data) for seed in range(seeds)]


def _on_streams(trainers: list[Trainer], steps: int, device: torch.device) -> Work:
    streams = [torch.cuda.Stream(device) for _ in trainers]

    def work() -> None:
        for _ in range(steps):
            for trainer, stream in zip(trainers, streams, strict=True):
                with torch.cuda.stream(stream):
                    trainer._train_step()

    return work
