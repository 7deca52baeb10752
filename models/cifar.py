"""The paper's network for CIFAR-10: three stages of two convolutions, two hidden layers, 880,810 parameters."""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar, cast

from torch import Tensor, nn

from core.dropout import DropoutFactory
from models.parts import Shape, check_classes, pooled, probabilities, scaled


class CifarNet(nn.Module):
    """Three stages [Conv-ReLU-BN]×2-Pool with dropout, then two hidden layers with dropout, then one output a class.

    Images (B, C, H, W) float become logits (B, classes). Every layer is made before the first is handed to the
    dropout factory, so equal seeds give equal weights whatever random numbers a technique draws.

    Args:
        dropout: makes a block of a layer, its activation, what follows, and p.
        shape: (C, H, W) of an image, at least 8×8 pixels.
        classes: number of outputs.
        width: scales channels and hidden units.
        p: drop probability; None is ``default_p``, a number holds everywhere, a sequence has one a position.
    """

    title: ClassVar[str] = "CIFAR-10 net"
    default_p: ClassVar[tuple[float, ...]] = (0.2, 0.3, 0.4, 0.5, 0.5)
    input: ClassVar[Shape] = (3, 32, 32)

    def __init__(
        self,
        dropout: DropoutFactory,
        *,
        shape: Shape | None = None,
        classes: int = 10,
        width: float = 1.0,
        p: float | Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        shape = shape or self.input
        height, breadth = pooled(self.title, shape, halvings=3)
        p_1, p_2, p_3, p_4, p_5 = probabilities(self.title, self.default_p, p)
        channels = (shape[0], *(scaled(units, width) for units in (32, 64, 128)))
        hidden = scaled(256, width)
        layers_1, layers_2, layers_3 = (_stage_layers(*pair) for pair in pairwise(channels))
        fc_1 = nn.Linear(channels[-1] * height * breadth, hidden)
        fc_2 = nn.Linear(hidden, hidden)
        output = nn.Linear(hidden, check_classes(classes))
        self.stage_1 = _stage(dropout, layers_1, p_1)
        self.stage_2 = _stage(dropout, layers_2, p_2)
        self.stage_3 = _stage(dropout, layers_3, p_3)
        self.flatten = nn.Flatten()
        self.hidden_1 = dropout(fc_1, nn.ReLU(), (), p_4)
        self.hidden_2 = dropout(fc_2, nn.ReLU(), (), p_5)
        self.output = output

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, classes) of normalised images (B, C, H, W)."""
        maps = self.flatten(self.stage_3(self.stage_2(self.stage_1(x))))
        return cast(Tensor, self.output(self.hidden_2(self.hidden_1(maps))))


def _stage_layers(before: int, after: int) -> tuple[nn.Conv2d, nn.Conv2d]:
    return nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, padding=1)


def _stage(dropout: DropoutFactory, layers: tuple[nn.Conv2d, nn.Conv2d], p: float) -> nn.Sequential:
    """[Conv-ReLU-BN]×2-Pool, whose last convolution, with all that follows it, is the dropout's block."""
    first, last = layers
    channels = last.out_channels
    return nn.Sequential(
        OrderedDict(
            conv=first,
            activation=nn.ReLU(),
            norm=nn.BatchNorm2d(channels),
            block=dropout(last, nn.ReLU(), (nn.BatchNorm2d(channels), nn.MaxPool2d(2)), p),
        )
    )
