"""One image file: what its header says, and its pixels with 8 bits, grey or in colours, in a given size."""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from core.errors import DataError, reason_of

MAX_PIXELS = 50_000_000

_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
_GREY_MODES = frozenset(("1", "L", "LA", "La"))
_ORIENTATION = 0x0112


class Look(NamedTuple):
    """What an image's header says: its size as shown, and whether it is grey or has transparent parts."""

    width: int
    height: int
    grey: bool
    transparent: bool


class Wording(NamedTuple):
    """How a DataError speaks of an image: its name, and what mends one too large, one of no known format, any other."""

    name: str
    too_large: str
    unknown: str
    damaged: str


def look(path: str) -> Look:
    """What the header of an image says. Raises DataError naming the file."""
    with _opened(path) as image:
        turned = orientation(image) in (5, 6, 7, 8)
        width, height = image.size[::-1] if turned else image.size
        grey = image.mode in _GREY_MODES or image.mode.startswith("I")
        return Look(width, height, grey, image.has_transparency_data)


def pixels(path: str, width: int, height: int, grey: bool) -> np.ndarray:
    """An image as uint8 (height, width, 1 or 3), resized about its centre. Raises DataError naming the file."""
    with _opened(path) as image:
        # Lets the JPEG decoder skip detail of a photograph that is much larger than needed.
        image.draft(None, (4 * width, 4 * height))
        upright = on_white(eight_bit(ImageOps.exif_transpose(image))).convert("L" if grey else "RGB")
        fitted = (
            upright
            if upright.size == (width, height)
            else ImageOps.fit(upright, (width, height), Image.Resampling.BILINEAR)
        )
        return np.asarray(fitted).reshape(height, width, -1)


def orientation(image: Image.Image) -> int:
    """How the camera was held, as EXIF counts it: 1 (upright) to 8."""
    found = image.getexif().get(_ORIENTATION, 1)
    return found if isinstance(found, int) and 1 <= found <= 8 else 1


def eight_bit(image: Image.Image) -> Image.Image:
    """The image with 8 bits a channel: grey (L), in colours (RGB), or either with transparency (LA, RGBA)."""
    if image.mode in ("L", "RGB", "LA", "RGBA") and "transparency" not in image.info:
        return image
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int32).clip(0, 65535)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        raise ValueError("it has floating-point pixels; save it with 8 or 16 bits")
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image.convert("L" if image.mode in _GREY_MODES else "RGB")


def on_white(image: Image.Image) -> Image.Image:
    """An image of :func:`eight_bit` without transparency, laid on a white sheet where it had some."""
    if not image.has_transparency_data:
        return image
    laid = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return laid.convert("L" if image.mode == "LA" else "RGB")


@contextmanager
def opened(
    source: str | BinaryIO, wording: Wording, formats: tuple[str, ...], most_pixels: int
) -> Iterator[Image.Image]:
    """The image with its header read; whatever goes wrong within, also in decoding, becomes a DataError."""
    try:
        with Image.open(source, formats=formats) as image:
            if image.width * image.height > most_pixels:
                raise Image.DecompressionBombError
            yield image
    except MemoryError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"{wording.name} has more than {most_pixels // 10**6} million pixels; {wording.too_large}."
        ) from error
    except UnidentifiedImageError as error:
        raise DataError(f"{wording.name} {wording.unknown}.") from error
    except Exception as error:
        # Decoders meet broken files with errors of many kinds (OSError, SyntaxError, ValueError, struct.error, …).
        raise DataError(
            f"{wording.name} cannot be read as an image ({reason_of(error)}); {wording.damaged}."
        ) from error


def _opened(path: str) -> AbstractContextManager[Image.Image]:
    wording = Wording(
        path,
        too_large="make it smaller or delete it",
        unknown="is not an image, whatever its name says; delete or replace it",
        damaged="delete or replace it",
    )
    return opened(path, wording, _FORMATS, MAX_PIXELS)


@contextmanager
def bombs_as_errors() -> Iterator[None]:
    """Within, Pillow's warning of an image that unpacks to too many pixels is an error, and so a DataError."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield
