"""Steps of training: every technique against none, and our loop against the one that a user would write."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from core.bench import by_hand
from core.bench.budgets import RANKED
from core.bench.results import Agreement, Growth, Result, results
from core.bench.timing import Times, Work, interleaved
from core.config import Config
from core.data import Dataset, Split, load
from core.dropout import TECHNIQUES
from core.environment import computes_bf16
from core.training import Trainer
from models import NETWORKS

BY_HAND = "loop by hand"
# Steps in a sample: about as many as a run takes between two records, each of which looks at one step's masks.
STEPS = {"digits": 50, "mnist": 10, "cifar10": 4}
# A GPU is so much faster that a sample takes more of them.
ON_GPU = 20
BATCHES = 1000
COMPARED_STEPS = 12
# What else is measured against what, besides every technique against none.
PAIRS = (
    *((name, "standard") for name in RANKED),
    *((f"{name}, bf16", "standard, bf16") for name in RANKED),
    (BY_HAND, "standard"), (BY_HAND, "standard, bf16"),
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """What to measure: these networks, each for ``seconds``."""

    device: torch.device
    networks: tuple[str, ...] = tuple(NETWORKS)
    seconds: float = 60.0


def measure(plan: Plan) -> Iterator[Result | Growth | Agreement]:
    """Results as they come; first, that both loops compute the same."""
    yield agreement(plan.device)
    for network in plan.networks:
        times = timed(network, plan)
        where = {"network": network, "steps": steps_of(network, plan.device), "device": plan.device.type}
        where |= {"threads": torch.get_num_threads()}
        plain = {case: times[case] for case in ("none", *TECHNIQUES)}
        yield from results("training", plain, "none", where)
        for case, against in [pair for pair in PAIRS if times.keys() >= {*pair}]:
            yield from results("training", {case: times[case], against: times[against]}, against, where)


def steps_of(network: str, device: torch.device) -> int:
    """How many make a sample."""
    return STEPS[network] * (ON_GPU if device.type == "cuda" else 1)


def timed(network: str, plan: Plan) -> Times:
    """Seconds of :func:`steps_of` batches of 100, each technique by our loop, and ``nn.Dropout`` by hand."""
    data, steps = images_for(network), steps_of(network, plan.device)
    config = Config(dataset=data.name, network=network, epochs=10**6, record_every=1e9, device=str(plan.device))
    works: dict[str, Work] = {}
    for name in ("none", *TECHNIQUES):
        works[name] = _steps(Trainer(replace(config, technique=name), data), steps)
    for name in ("standard", *RANKED) if computes_bf16(plan.device) else ():
        works[f"{name}, bf16"] = _steps(Trainer(replace(config, technique=name, precision="bf16"), data), steps)
    order = range(len(data.train))
    losses = by_hand.train(data, replace(config, p=None), order, plan.device)
    works[BY_HAND] = lambda: [next(losses) for _ in range(steps)]
    return interleaved(works, seconds=plan.seconds, device=plan.device)


def agreement(device: torch.device) -> Agreement:
    """The largest difference of the losses of both loops: the same batches and initial weights, fp32, no dropout."""
    data = load("digits")
    config = Config(technique="none", network="digits", p=0.0, record_every=0.0, device=str(device))
    trainer = Trainer(config, data)
    ours = [record.loss for record, _ in zip(trainer.run(), range(COMPARED_STEPS), strict=False)]
    theirs = by_hand.train(data, config, order_of(config, data), device)
    pairs = [(a, next(theirs)) for a in ours if a is not None]
    largest = max(abs(a - b) / b for a, b in pairs)
    where = {"network": "digits", "steps": len(pairs), "device": device.type}
    return Agreement("training", "loss of our loop", BY_HAND, where, largest)


def order_of(config: Config, data: Dataset) -> list[int]:
    """The order of examples in the first epoch of our loop."""
    generator = torch.Generator().manual_seed(config.seed * 1_000_003)
    return torch.randperm(len(data.train), generator=generator).tolist()


def images_for(network: str) -> Dataset:
    """Noise in the shape of a network's images, :data:`BATCHES` batches of it: a step's time depends on no pixel."""
    shape = NETWORKS[network].input
    generator = torch.Generator().manual_seed(0)

    def split(number: int) -> Split:
        x = torch.randint(256, (number, *shape), generator=generator, dtype=torch.uint8)
        return Split(x, torch.randint(10, (number,), generator=generator))

    few = split(100)
    train = split(100).take(torch.arange(100 * BATCHES) % 100)
    channels = (0.5,) * shape[0]
    return Dataset(network, "noise", tuple("0123456789"), train, few, few, channels, channels)


def _steps(trainer: Trainer, number: int) -> Work:
    return lambda: trainer.advance(steps=number)
