"""One image file: what its header says, and its pixels with 8 bits, grey or in colours, in a given size."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

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


def look(path: str) -> Look:
    """What the header of an image says. Raises DataError naming the file."""
    with _opened(path) as opened:
        turned = opened.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
        width, height = opened.size[::-1] if turned else opened.size
        grey = opened.mode in _GREY_MODES or opened.mode.startswith("I")
        return Look(width, height, grey, opened.has_transparency_data)


def pixels(path: str, width: int, height: int, grey: bool) -> np.ndarray:
    """An image as uint8 (height, width, 1 or 3), resized about its centre. Raises DataError naming the file."""
    with _opened(path) as opened:
        # Lets the JPEG decoder skip detail of a photograph that is much larger than needed.
        opened.draft(None, (4 * width, 4 * height))
        eight_bit = _eight_bit(ImageOps.exif_transpose(opened), "L" if grey else "RGB")
        fitted = (
            eight_bit
            if eight_bit.size == (width, height)
            else ImageOps.fit(eight_bit, (width, height), Image.Resampling.BILINEAR)
        )
        return np.asarray(fitted).reshape(height, width, -1)


def _eight_bit(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8)).convert(mode)
    if image.mode == "F":
        raise ValueError("it has floating-point pixels; save it with 8 or 16 bits")
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), with_alpha).convert(mode)
    return image.convert(mode)


@contextmanager
def _opened(path: str) -> Iterator[Image.Image]:
    try:
        with Image.open(path, formats=_FORMATS) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            yield opened
    except MemoryError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(
            f"{path} has more than {MAX_PIXELS // 10**6} million pixels; make it smaller or delete it."
        ) from error
    except UnidentifiedImageError as error:
        raise DataError(f"{path} is not an image, whatever its name says; delete or replace it.") from error
    except Exception as error:
        # Decoders meet broken files with errors of many kinds (OSError, SyntaxError, ValueError, struct.error, …).
        raise DataError(f"{path} cannot be read as an image ({reason_of(error)}); delete or replace it.") from error


@contextmanager
def bombs_as_errors() -> Iterator[None]:
    """Within, Pillow's warning of an image that unpacks to too many pixels is an error, and so a DataError."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield
