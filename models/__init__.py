"""Networks that receive a dropout factory, so that none of them knows a technique by name."""

from collections.abc import Sequence

from core.dropout import DropoutFactory
from models.cifar import CifarNet
from models.digits import DigitsNet
from models.mnist import MnistNet
from models.parts import Shape

__all__ = ["NETWORKS", "CifarNet", "DigitsNet", "MnistNet", "build", "network_for"]

Network = DigitsNet | MnistNet | CifarNet

NETWORKS: dict[str, type[Network]] = {"digits": DigitsNet, "mnist": MnistNet, "cifar10": CifarNet}

_SMALLEST_CIFAR = 8
_LARGEST_DIGITS = 16
_LARGEST_MNIST = 40


def build(
    name: str,
    dropout: DropoutFactory,
    *,
    shape: Shape | None = None,
    classes: int = 10,
    width: float = 1.0,
    p: float | Sequence[float] | None = None,
) -> Network:
    """The network called ``name`` for images of ``shape`` (C, H, W), None being those of its data set.

    ``p`` None keeps the network's own probabilities, a number holds at every dropout position, a sequence has one a
    position. Raises ValueError for an unknown name, a p or width out of range, or images too small for it.
    """
    if name not in NETWORKS:
        raise ValueError(f"There is no network {name!r}; choose {', '.join(NETWORKS)}.")
    return NETWORKS[name](dropout, shape=shape, classes=classes, width=width, p=p)


def network_for(dataset_name: str, shape: Shape) -> str:
    """The network that suits a data set: its own, else by the images' size and number of channels.

    The MNIST network's first hidden layer grows with the image's area, so larger images get the CIFAR-10 network.
    """
    if dataset_name in NETWORKS:
        return dataset_name
    channels, height, width = shape
    if min(height, width) < _SMALLEST_CIFAR or (channels == 1 and max(height, width) <= _LARGEST_DIGITS):
        return "digits"
    return "mnist" if channels == 1 and max(height, width) <= _LARGEST_MNIST else "cifar10"
