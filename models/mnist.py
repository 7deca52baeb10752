"""The paper's network for MNIST: two convolutions, two hidden layers, 7,288,810 parameters at full width."""

from collections.abc import Sequence
from typing import ClassVar, cast

from torch import Tensor, nn

from core.dropout import DropoutFactory
from models.parts import Shape, check_classes, pooled, probabilities, scaled


class MnistNet(nn.Module):
    """Conv 16-ReLU-Conv 32-ReLU-Pool, then two hidden layers with dropout, then one output a class.

    Images (B, C, H, W) float become logits (B, classes). Every layer is made before the first is handed to the
    dropout factory, so equal seeds give equal weights whatever random numbers a technique draws.

    Args:
        dropout: makes a block of a layer, its activation, what follows, and p.
        shape: (C, H, W) of an image, at least 2×2 pixels.
        classes: number of outputs.
        width: scales channels and hidden units.
        p: drop probability; None is ``default_p``, a number holds everywhere, a sequence has one a position.
    """

    title: ClassVar[str] = "MNIST net"
    default_p: ClassVar[tuple[float, ...]] = (0.2, 0.2)
    input: ClassVar[Shape] = (1, 28, 28)
    hidden: ClassVar[int] = 1000

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
        height, breadth = pooled(self.title, shape, halvings=1)
        p_1, p_2 = probabilities(self.title, self.default_p, p)
        first, second, hidden = scaled(16, width), scaled(32, width), scaled(self.hidden, width)
        self.features = nn.Sequential(
            nn.Conv2d(shape[0], first, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(first, second, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        fc_1 = nn.Linear(second * height * breadth, hidden)
        fc_2 = nn.Linear(hidden, hidden)
        output = nn.Linear(hidden, check_classes(classes))
        self.hidden_1 = dropout(fc_1, nn.ReLU(), (), p_1)
        self.hidden_2 = dropout(fc_2, nn.ReLU(), (), p_2)
        self.output = output

    def forward(self, x: Tensor) -> Tensor:
        """Logits (B, classes) of normalised images (B, C, H, W)."""
        return cast(Tensor, self.output(self.hidden_2(self.hidden_1(self.features(x)))))
