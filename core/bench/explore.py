"""Explore's masks, all draws and values of p of a technique at once, against a forward of the network for each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from core.bench.results import Result, results
from core.bench.timing import Work, interleaved
from core.checkpoints import load
from core.data import load as load_data
from core.dropout import TECHNIQUES
from core.inspection import field
from core.inspection.fields import FINE, alone
from core.inspection.models import layer_at, untouched

NETWORK = "digits-none"
LOOP = "a forward for each"


@dataclass(frozen=True)
class Plan:
    """What to measure: the network's first dropout layer under so many draws, ``seconds`` a technique."""

    device: torch.device
    draws: int = 32
    seconds: float = 2.0


def measure(plan: Plan) -> Iterator[Result]:
    """A result for each technique."""
    checkpoint = load(NETWORK)
    x = checkpoint.normalise(load_data("digits").test.x[:1]).to(plan.device)
    where = {"draws": plan.draws, "values of p": len(FINE), "device": plan.device.type}
    where |= {"threads": torch.get_num_threads()}
    for name in TECHNIQUES:
        model = checkpoint.model(name).to(plan.device)
        works: dict[str, Work] = {name: at_once(model, x, plan.draws), LOOP: one_by_one(model, x, plan.draws)}
        yield from results("explore", interleaved(works, seconds=plan.seconds, device=plan.device), LOOP, where)


def at_once(model: nn.Module, x: Tensor, draws: int) -> Work:
    """What Explore computes: masks, factors, scores and answers (draws, P, classes)."""
    return lambda: field(model, x, 0, draws=draws).answers


def one_by_one(model: nn.Module, x: Tensor, draws: int) -> Work:
    """The answers alone, in that shape: at every p, a forward from each draw's own seed."""

    def work() -> Tensor:
        layer = layer_at(model, 0)
        with untouched(model), alone(model, layer):
            model.eval()
            layer.train()
            found = []
            for p in FINE:
                layer.turn_to(p)
                for draw in range(draws):
                    torch.manual_seed(draw)
                    found.append(model(x).softmax(1))
        answers: Tensor = torch.cat(found).unflatten(0, (len(FINE), draws)).transpose(0, 1)
        return answers

    return work
