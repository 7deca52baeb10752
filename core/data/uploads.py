"""What a person uploads, photographs or draws: read as hostile bytes, and made into a network's input step by step."""

import math
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from threading import Lock
from typing import Literal, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional as F

from core.data import ink
from core.data.containers import kind_of, lean
from core.data.image_files import Wording, bombs_as_errors, eight_bit, on_white, opened, orientation
from core.data.sets import Shape, load
from core.errors import DataError

MAX_BYTES = 10 * 2**20
MAX_PIXELS = 16_000_000

Square = Literal["crop", "pad"]

# More than any network here takes; every step after decoding costs little then.
_WORKING_SIDE = 1024
_SHOWN_SIDE = 192
# Decoding one image at a time bounds the memory that several people's uploads take together; and the filters of
# warnings, which bombs_as_errors changes, are the whole process's.
_one_at_a_time = Lock()


class Upload(NamedTuple):
    """A decoded image: ``image`` has 8 bits a channel (L, LA, RGB, RGBA) and at most 1,024 pixels a side.

    ``orientation`` is EXIF's, 1 to 8, and not yet applied; ``note`` says what the file held.
    """

    image: Image.Image
    orientation: int
    note: str


class Step(NamedTuple):
    """One step on the way to a network's input; ``image`` uint8 (h, w, 1 or 3) shows its outcome."""

    title: str
    note: str
    image: np.ndarray


class Prepared(NamedTuple):
    """A network's input ``x`` uint8 (1, C, H, W), and the steps that led to it, less those that change nothing."""

    x: Tensor
    steps: list[Step]


def read_upload(content: bytes) -> Upload:
    """Decode a file of unknown origin: PNG, JPEG, WebP, BMP or GIF (first frame), up to 10 MB and 16 megapixels.

    Nothing is written to disk. What the file's structure or header gives away is refused before pixels are decoded; a
    PNG whose packed pixels break off shows it only when all before that is unpacked, so refusing it costs a decoding.
    Raises DataError with what is wrong with the file and what to do.
    """
    if not content:
        raise DataError("The file is empty; choose an image.")
    if len(content) > MAX_BYTES:
        size = len(content) / 2**20
        raise DataError(f"The file has {size:.1f} MB, more than the {MAX_BYTES // 2**20} MB allowed; make it smaller.")
    kind = kind_of(content)
    wording = Wording(
        f"The {kind} image",
        too_large="make it smaller",
        unknown="is cut short or damaged; save it anew and choose it again",
        damaged="save it anew and choose it again",
    )
    file = BytesIO(lean(content, kind, MAX_PIXELS))
    with _one_at_a_time, bombs_as_errors(), opened(file, wording, (kind.upper(),), MAX_PIXELS) as image:
        width, height = image.size
        held = f"{kind}, {width:,} × {height:,} pixels{_mode_note(image)}."
        image.draft(None, (_WORKING_SIDE, _WORKING_SIDE))
        image.load()
        decoded = eight_bit(image)
        factor = math.ceil(max(decoded.size) / _WORKING_SIDE)
        # A copy in any case: the decoded image may hold on to the file's bytes.
        return Upload(decoded.reduce(factor) if factor > 1 else decoded.copy(), orientation(image), held)


def _mode_note(image: Image.Image) -> str:
    kinds = {
        "CMYK": "in print colours (CMYK)",
        "P": "with a palette",
        "PA": "with a palette",
        "1": "in black and white",
    }
    words = [kinds[image.mode]] if image.mode in kinds else ["with 16 bits"] if image.mode.startswith("I") else []
    if getattr(image, "is_animated", False):
        words.append("its first frame")
    return "".join(f", {word}" for word in words)


def prepare(
    upload: Upload, shape: Shape, *, square: Square = "crop", centre: bool = False, dark_ground: bool = True
) -> Prepared:
    """Make an upload the input of a network for images of ``shape`` (C, H, W).

    Args:
        square: cut the longer sides off, or lay the image on a square of its border's colour.
        centre: for networks of digits: even out the paper, and make the ink like theirs (see ``core.data.ink``).
        dark_ground: turn grey images with a light border into their negative, since the network knows light on dark.
    """
    channels, height, width = shape
    stages: list[tuple[str, Callable[[Image.Image], tuple[Image.Image, str]]]] = [
        ("Turned upright", lambda image: _upright(image, upload.orientation)),
        ("Laid on white", _without_transparency),
        ("Colours", lambda image: _in_channels(image, channels)),
        ("Shape of the frame", lambda image: _framed(image, 1 if centre else width / height, square)),
    ]
    if channels == 1 and dark_ground:
        stages.append(("Light on dark", _light_on_dark))
    if centre:
        stages.append(("Ground evened out", _on_even_ground))
        stages.append(("Strokes thickened", lambda image: _thickened(image, height, width)))
        stages.append(("Ink placed", lambda image: _placed(image, height, width)))
    stages.append(("Size of the input", lambda image: _resized(image, height, width)))
    image = upload.image
    steps = [Step("As it came", upload.note, _shown(image))]
    for title, stage in stages:
        image, note = stage(image)
        if note:
            steps.append(Step(title, note, _shown(image)))
    return Prepared(torch.from_numpy(_array(image)).permute(2, 0, 1)[None].contiguous(), steps)


def _upright(image: Image.Image, orientation: int) -> tuple[Image.Image, str]:
    how = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    return (image, "") if how is None else (image.transpose(how), "The camera noted how it was held (EXIF).")


def _without_transparency(image: Image.Image) -> tuple[Image.Image, str]:
    seen_through = image.has_transparency_data and image.getchannel("A").getextrema() != (255, 255)
    return on_white(image), "Transparent parts are white now." if seen_through else ""


def _in_channels(image: Image.Image, channels: int) -> tuple[Image.Image, str]:
    mode = "L" if channels == 1 else "RGB"
    note = "The network sees grey." if mode == "L" else "The network sees colours: grey in three channels."
    return (image, "") if image.mode == mode else (image.convert(mode), note)


def _framed(image: Image.Image, aspect: float, square: Square) -> tuple[Image.Image, str]:
    """The image with width = aspect × height."""
    width, height = image.size
    inner = (min(width, max(1, round(height * aspect))), min(height, max(1, round(width / aspect))))
    if inner == image.size:
        return image, ""
    if square == "crop":
        left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
        return image.crop((left, top, left + inner[0], top + inner[1])), "Cropped to its middle."
    outer = (max(width, round(height * aspect)), max(height, round(width / aspect)))
    sheet = Image.new(image.mode, outer, tuple(_border_colour(image)))
    sheet.paste(image, ((outer[0] - width) // 2, (outer[1] - height) // 2))
    return sheet, "Padded with the colour of its border."


def _light_on_dark(image: Image.Image) -> tuple[Image.Image, str]:
    if _border_colour(image)[0] <= 127:
        return image, ""
    return ImageOps.invert(image), "The ground is light, so black and white are exchanged."


def _on_even_ground(image: Image.Image) -> tuple[Image.Image, str]:
    even = ink.on_even_ground(image)
    before = np.asarray(image.resize(even.size), dtype=np.int16)
    changed = np.abs(np.asarray(even) - before).mean() > 1
    return even, "The ground is black now and the strongest ink white." if changed else ""


def _thickened(image: Image.Image, height: int, width: int) -> tuple[Image.Image, str]:
    thick = ink.thickened(image, height, width)
    return thick, "" if thick is image else "Thin strokes are as thick as in the training images now."


def _placed(image: Image.Image, height: int, width: int) -> tuple[Image.Image, str]:
    fitted = ink.placed(image, height, width)
    room = ink.ink_side(height, width)
    manner = (
        "fills the frame" if room == min(height, width) else f"is {room} pixels long, its centre of mass in the middle"
    )
    return fitted, "" if fitted is image else f"The ink {manner}, as in the training images."


def _resized(image: Image.Image, height: int, width: int) -> tuple[Image.Image, str]:
    note = f"{width} × {height} pixels: what the network sees."
    if image.size == (width, height):
        return image, note
    larger = image.width < width or image.height < height
    return image.resize((width, height), Image.Resampling.BICUBIC if larger else Image.Resampling.BOX), note


def _border_colour(image: Image.Image) -> list[int]:
    """Median of the outermost sixteenth, per channel."""
    pixels = _array(image)
    edge = ink.border(*pixels.shape[:2])
    return [int(value) for value in np.median(pixels[edge], axis=0)]


def _array(image: Image.Image) -> np.ndarray:
    """uint8 (h, w, channels)."""
    return np.array(image).reshape(image.height, image.width, -1)


def _shown(image: Image.Image) -> np.ndarray:
    factor = math.ceil(max(image.size) / _SHOWN_SIDE)
    small = image.reduce(factor) if factor > 1 else image
    return _array(on_white(small))


@lru_cache(maxsize=8)
def embedded_digits(shape: Shape) -> Tensor:
    """The embedded digits' test images as uint8 (N, C, H, W), in the order of ``load("digits").test``.

    For other frames than their own 8×8 they are enlarged and placed as MNIST's are: 20 of 28 pixels high, the centre
    of mass in the middle, and no more ink: enlarged strokes are thinned by their fringes below a quarter.
    """
    channels, height, width = shape
    x = load("digits").test.x  # (N, 1, 8, 8)
    if (height, width) != x.shape[2:]:
        room = ink.ink_side(height, width)
        enlarged = F.interpolate(x.float(), (room, room), mode="bicubic", align_corners=False)
        thinned = ((enlarged.clamp(64, 255) - 64) * (255 / 191)).round().to(torch.uint8)
        digits = [ink.in_the_middle(Image.fromarray(digit.numpy()), height, width) for digit in thinned[:, 0]]
        x = torch.from_numpy(np.stack([_array(digit) for digit in digits])).permute(0, 3, 1, 2)
    return x.expand(-1, channels, -1, -1).contiguous()
