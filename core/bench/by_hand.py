"""The training loop that a user would write: torchvision's way to a batch, ``nn.Dropout``, Adam, fp32."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import VisionDataset

from core.config import Config
from core.data import Dataset, Split
from models import build


class Pictures(VisionDataset):  # type: ignore[misc]
    """Images as torchvision's own data sets hand them out: a PIL image of each, through ``transform``."""

    def __init__(self, split: Split, transform: Any) -> None:
        super().__init__(root=".", transform=transform)
        self.images = split.x.permute(0, 2, 3, 1).squeeze(-1).numpy()  # (N, H, W) or (N, H, W, 3)
        self.classes = split.y.tolist()

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), self.classes[index]

    def __len__(self) -> int:
        return len(self.classes)


def network(data: Dataset, config: Config, seed: int) -> nn.Module:
    """The network of ``config`` with ``nn.Dropout``, its weights those that our own loop begins with."""

    def block(layer: nn.Module, activation: nn.Module, after: Sequence[nn.Module], p: float) -> nn.Module:
        return nn.Sequential(layer, activation, *after, nn.Dropout(p))

    torch.manual_seed(seed)
    return build(config.network, block, shape=data.shape, classes=len(data.classes), p=config.p)


def train(data: Dataset, config: Config, order: Sequence[int], device: torch.device) -> Iterator[float]:
    """The loss of each step over the training images in this order, without an end."""
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize(data.mean, data.std)])
    loader: DataLoader[Any] = DataLoader(Pictures(data.train, transform), batch_size=config.batch_size, sampler=order)
    model = network(data, config, config.seed).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, weight_decay=config.weight_decay)
    model.train()
    while True:
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            yield loss.item()
