"""The network and the optimiser that a config asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from core.config import Config, ConfigError
from core.data import Dataset, Split
from core.dropout import factory, noise_parameters
from core.references import fixed_order
from models import build


def data_for(config: Config, data: Dataset) -> Dataset:
    """``data`` with as many training images as ``config`` asks for, and the others among those of validation.

    They are normalised as all were: what looks at the network later has the whole data set. ConfigError where there
    are fewer.
    """
    size, train, validation = config.train_size, data.train, data.validation
    if size is None:
        return data
    if size > len(train):
        raise ConfigError(f"train_size must be at most {len(train):,}, what {data.title} has, got {size:,}.")
    order = fixed_order(len(train))
    others = train.take(order[size:].sort().values)
    joined = Split(torch.cat([validation.x, others.x]), torch.cat([validation.y, others.y]))
    return replace(data, train=train.take(order[:size].sort().values), validation=joined)


def network_of(config: Config, data: Dataset) -> nn.Module:
    """The network for ``data``, its weights drawn from torch's generator; ConfigError where it does not fit."""
    try:
        return build(
            config.network,
            factory(config.technique, **config.knobs),
            shape=data.shape,
            classes=len(data.classes),
            width=config.width,
            p=config.p,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from None


def adam(config: Config, model: nn.Module, device: torch.device) -> torch.optim.Adam:
    """Adam with L2 on all parameters but those of the noise."""
    noise = list(noise_parameters(model))
    taken = {id(q) for q in noise}
    weights = [q for q in model.parameters() if id(q) not in taken]
    groups = [{"params": weights, "weight_decay": config.weight_decay}]
    if noise:
        groups.append({"params": noise, "weight_decay": 0.0})
    return torch.optim.Adam(
        groups, lr=config.lr, fused=device.type in ("cpu", "cuda"), capturable=device.type == "cuda"
    )


def load_adam(optimizer: torch.optim.Adam, state: dict[str, Any]) -> None:
    """Give ``optimizer`` a saved ``state``, but its own way to compute, which depends on the device."""
    ways = [{way: group[way] for way in ("fused", "capturable")} for group in optimizer.param_groups]
    groups = [group | way for group, way in zip(state["param_groups"], ways, strict=True)]
    optimizer.load_state_dict({**state, "param_groups": groups})
