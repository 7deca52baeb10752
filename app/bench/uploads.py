"""How many images that people bring are made into a network's input in a second."""

import time
from collections.abc import Iterator
from io import BytesIO

import numpy as np
from PIL import Image

from core.bench import Finding
from core.bench.results import amount
from core.data.uploads import prepare, read_upload

# What a phone takes, and what a drawing is kept as: (width, height), format.
PICTURES = {"photo, 12 megapixels": ((4000, 3000), "JPEG"), "drawing, 280 × 280": ((280, 280), "PNG")}


def measure(rounds: int) -> Iterator[Finding]:
    """Uploads a second, one after the other as the server reads them: decoded, and all steps to 1 × 28 × 28."""
    for name, (size, kind) in PICTURES.items():
        content = picture(size, kind)
        prepare(read_upload(content), (1, 28, 28), centre=True)
        values = []
        for _ in range(rounds):
            began = time.perf_counter()
            prepare(read_upload(content), (1, 28, 28), centre=True)
            values.append(1 / (time.perf_counter() - began))
        yield amount("app", f"uploads: {name}", "a second", {"size": f"{len(content) / 1e6:.2g} MB"}, values)


def picture(size: tuple[int, int], kind: str) -> bytes:
    """A file with a dark stroke on paper that is not quite even."""
    width, height = size
    y, x = np.mgrid[:height, :width] / height
    paper = 200 + 20 * x + np.random.default_rng(0).normal(0, 4, (height, width))
    stroke = np.abs(np.hypot(x - width / height / 2, y - 0.5) - 0.25) < 0.03
    grey = np.where(stroke, 40, paper).clip(0, 255).astype(np.uint8)
    file = BytesIO()
    Image.fromarray(np.dstack([grey] * 3)).save(file, kind)
    return file.getvalue()
