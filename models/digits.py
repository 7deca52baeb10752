"""The paper's MNIST network in small, for scikit-learn's digits of 8×8 pixels: it trains while one watches."""

from typing import ClassVar

from models.mnist import MnistNet
from models.parts import Shape


class DigitsNet(MnistNet):
    """:class:`MnistNet` with hidden layers of 128."""

    title: ClassVar[str] = "Digits net"
    input: ClassVar[Shape] = (1, 8, 8)
    hidden: ClassVar[int] = 128
