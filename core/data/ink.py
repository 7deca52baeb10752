"""Ink on paper made like the digits that networks know: on an even ground, in strokes as thick, as large, in one place.

Images are grey (L), the ink light on dark. MNIST's manner is that of its makers (LeCun, Cortes and Burges): the ink's
longer side 20/28 of the frame, its centre of mass in the middle. Frames below 16 pixels are filled, as those of the
embedded digits are.
"""

import numpy as np
from PIL import Image, ImageFilter, ImageOps

_SHARE = 20 / 28
_SMALL_FRAME = 16
# Pixels a side in which ink is looked at: eight for each of MNIST's.
_SIDE = 224
# Medians of _stroke_width, as shares of the ink's longer side: of MNIST, and of the embedded digits.
_STROKE = 0.12
_SMALL_STROKE = 0.19

Box = tuple[int, int, int, int]


def on_even_ground(image: Image.Image) -> Image.Image:
    """A square image with its ground black, the light's gradient taken off, and its strongest ink white.

    The gradient is a plane through the border, fitted to what of it is ground.
    """
    shrink = Image.Resampling.BOX if image.width > _SIDE else Image.Resampling.BILINEAR
    values = np.asarray(image.resize((_SIDE, _SIDE), shrink), dtype=np.float64)
    rows, columns = np.mgrid[-1 : 1 : _SIDE * 1j, -1 : 1 : _SIDE * 1j]
    terms = np.stack([np.ones_like(rows), rows, columns])  # (3, side, side)
    ground = border(_SIDE, _SIDE)
    for _ in range(4):
        plane, *_ = np.linalg.lstsq(terms[:, ground].T, values[ground], rcond=None)
        ink = values - np.tensordot(plane, terms, 1)
        noise = max(4.0, 3 * _deviation(ink[ground]))
        # Ink that reaches the border is no ground.
        ground &= ink <= np.median(ink[ground]) + noise
    peak = np.percentile(ink, 99.5)
    if peak <= max(noise, 8):
        return image
    return Image.fromarray(((ink - noise) / (peak - noise) * 255).clip(0, 255).round().astype(np.uint8))


def thickened(image: Image.Image, height: int, width: int) -> Image.Image:
    """Strokes much thinner than those that a network for (height, width) knows, made as thick.

    Else the few pixels of a network's input would average them away.
    """
    box = ink_box(image)
    if box is None:
        return image
    share = _STROKE if min(height, width) >= _SMALL_FRAME else _SMALL_STROKE
    wanted = share * max(box[2] - box[0], box[3] - box[1])
    grow = round((wanted - _stroke_width(image)) / 2)
    return image if grow < max(1, 0.1 * wanted) else image.filter(ImageFilter.MaxFilter(2 * grow + 1))


def placed(image: Image.Image, height: int, width: int) -> Image.Image:
    """The ink as large as, and where, a network's training images have it; without ink the image itself."""
    box = ink_box(image)
    if box is None:
        return image
    tall, wide = box[3] - box[1], box[2] - box[0]
    if min(height, width) < _SMALL_FRAME:
        # The embedded digits are as high as their frame, and three quarters as wide at most.
        size = (max(1, round(min(width * 0.75, wide * height / tall))), height)
        fitted = ImageOps.autocontrast(image.resize(size, Image.Resampling.BOX, box))
        return _on_frame(fitted, (size[0] / 2, size[1] / 2), height, width)
    scale = ink_side(height, width) / max(tall, wide)
    size = (max(1, round(wide * scale)), max(1, round(tall * scale)))
    return in_the_middle(image.resize(size, Image.Resampling.BOX, box), height, width)


def in_the_middle(image: Image.Image, height: int, width: int) -> Image.Image:
    """Ink on a black frame of (height, width), its centre of mass in the middle."""
    mass = np.asarray(image, dtype=np.float64)
    rows, columns = np.indices(mass.shape) + 0.5
    centre = float((columns * mass).sum() / mass.sum()), float((rows * mass).sum() / mass.sum())
    return _on_frame(image, centre, height, width)


def ink_side(height: int, width: int) -> int:
    """The longer side of the ink in a frame of (height, width), in pixels."""
    side = min(height, width)
    return side if side < _SMALL_FRAME else round(side * _SHARE)


def ink_box(image: Image.Image) -> Box | None:
    """(left, top, right, bottom) of what is clearly lighter than black; None for an even sheet."""
    values = np.asarray(image)
    ink = values > max(32, values.max() / 4)
    if not ink.any() or ink.all():
        return None
    (left, right), (top, bottom) = _extent(ink.any(axis=0)), _extent(ink.any(axis=1))
    return left, top, right, bottom


def border(height: int, width: int) -> np.ndarray:
    """bool (height, width): the outermost sixteenth on each side, at least one pixel."""
    edge = np.ones((height, width), dtype=bool)
    rows, columns = max(1, height // 16), max(1, width // 16)
    edge[rows:-rows, columns:-columns] = False
    return edge


def _on_frame(image: Image.Image, middle: tuple[float, float], height: int, width: int) -> Image.Image:
    """``image`` on a black frame, its point ``middle`` (x, y) in the frame's middle."""
    frame = Image.new("L", (width, height))
    frame.paste(image, (round(width / 2 - middle[0]), round(height / 2 - middle[1])))
    return frame


def _stroke_width(image: Image.Image) -> float:
    """Mean width of strokes in pixels: that of a long line is twice its area over its outline."""
    ink = np.asarray(image) > 127
    around = np.pad(ink, 1)
    inner = ink & around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return 2 * float(ink.sum()) / max(1, int((ink & ~inner).sum()))


def _deviation(values: np.ndarray) -> float:
    """Standard deviation of values of which a few are something else (median absolute deviation)."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _extent(some: np.ndarray) -> tuple[int, int]:
    """First index and one past the last index where ``some`` (N,) holds."""
    where = np.flatnonzero(some)
    return int(where[0]), int(where[-1]) + 1
