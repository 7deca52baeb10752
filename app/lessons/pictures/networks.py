"""The network and the image that a lesson's picture is about: shipped ones, so that every lesson works offline."""

from collections.abc import Iterable

from torch import Tensor

from app import networks, pictures
from app.lessons.settings import Settings
from core import checkpoints
from core.checkpoints import Checkpoint
from core.dropout import TECHNIQUES
from core.inspection import Position

NET = "digits-none"


def nets(techniques: Iterable[str]) -> list[str]:
    """The shipped networks that were trained with one of these techniques."""
    able = {*techniques}
    return [info.name for info in checkpoints.shipped() if info.technique in able]


def net_of(given: Settings) -> str:
    return given.word("net", nets(["none", *TECHNIQUES]), NET)


def layer_of(given: Settings, net: str) -> Position:
    """The layer, counted from 1 in the file."""
    places = places_of(net)
    return places[given.whole("layer", 1, len(places), 1) - 1]


def places_of(net: str) -> list[Position]:
    from app import looks

    return list(looks.layers(net, 0))


def image_of(given: Settings, net: str) -> int:
    return given.whole("image", 0, len(gallery(net).x) - 1, 0)


def gallery(net: str) -> pictures.Gallery:
    return pictures.gallery_of(checkpoint(net))


def checkpoint(net: str) -> Checkpoint:
    return networks.network(net, 0)


def pixels(net: str, image: int) -> Tensor:
    """uint8 (1, C, H, W)."""
    return gallery(net).x[image : image + 1]
