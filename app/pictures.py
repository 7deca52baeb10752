"""Where the image that a network is shown comes from: its data set, an upload, the camera, or a drawing."""

import hashlib
import ipaddress
from collections.abc import Callable
from functools import lru_cache
from random import randrange
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from torch import Tensor

from app.components.sketch import sketch
from app.controls import Number, Segments, address, misfits, plain_text, warn
from core.checkpoints import CheckpointInfo
from core.data import DataError, load
from core.data.containers import KINDS
from core.data.uploads import MAX_BYTES, MAX_PIXELS, Prepared, Step, embedded_digits, prepare, read_upload

DIGITS = tuple("0123456789")
SOURCES = {"data": "Data set", "upload": "Upload", "camera": "Camera", "draw": "Draw"}
SQUARES = {"crop": "Crop", "pad": "Pad"}
SUFFIXES = ["png", "jpg", "jpeg", "webp", "bmp", "gif"]
LIMITS = f"{KINDS} (first frame), up to {MAX_BYTES // 2**20} MB and {MAX_PIXELS // 10**6} megapixels."

SIGHT_WIDTH = 168
# Of the embedded digits, one on which the techniques lead the shipped networks to different answers.
FIRST_IMAGE = 93
_SHOWN_SIDE = 448
_STEP_WIDTH = 72


class Picture(NamedTuple):
    """The image that a network is shown.

    ``x`` uint8 (1, C, H, W), never to be changed in place; ``label`` is the class where it is known; ``source`` is one
    of ``SOURCES``; ``key`` tells one image from another.
    """

    x: Tensor
    label: str | None
    source: str
    caption: str
    key: str


class Gallery(NamedTuple):
    """Images uint8 (N, C, H, W) to leaf through, and the class of each; ``title`` names one of them."""

    x: Tensor
    labels: list[str]
    title: str


def choose(checkpoint: CheckpointInfo, sight: DeltaGenerator) -> Picture | None:
    """The part of a page where a person chooses an image for a network; ``sight`` shows it as the network sees it.

    Its place in the address: ``from`` (the source), ``image`` (the index) and ``square``. None as long as nothing was
    uploaded, photographed or drawn, or what was cannot be read, which the page has then said.
    """
    gallery = gallery_of(checkpoint)
    source = Segments("from", "Image from", SOURCES, "data")
    last = len(gallery.x) - 1
    index = Number("image", "Test image", min(FIRST_IMAGE, last), 0, last, 1, integer=True)
    square = Segments("square", "Longer side", SQUARES, "crop")
    warn(misfits(address(), [source, index, square]))
    chosen = source.draw()
    if chosen == "data":
        return from_data(gallery, index, checkpoint, sight)
    content = {"upload": uploaded, "camera": photographed, "draw": drawn}[chosen]
    return from_bytes(chosen, content, square, checkpoint, sight)


def from_data(gallery: Gallery, index: Number, checkpoint: CheckpointInfo, sight: DeltaGenerator) -> Picture:
    last = len(gallery.x) - 1
    number = int(index.draw() or 0)
    with st.container(horizontal=True, gap="xsmall", key="picture-leaf"):
        leaf("Previous", index.key, lambda: (number - 1) % (last + 1))
        leaf("Next", index.key, lambda: (number + 1) % (last + 1))
        leaf("Random", index.key, lambda: randrange(last + 1))
    name = gallery.labels[number]
    caption = f"{gallery.title} {number:,}: {name}"
    x = gallery.x[number : number + 1]
    with sight:
        show(x, caption)
    return Picture(x, name if name in checkpoint.classes else None, "data", caption, digest(x))


def leaf(label: str, key: str, to: Callable[[], int]) -> None:
    """A button that turns to another image, whose number ``to`` gives."""

    def turn() -> None:
        st.session_state[key] = to()

    st.button(label, key=f"image-{label.lower()}", on_click=turn, width="stretch")


def from_bytes(
    source: str,
    ask: Callable[[], tuple[str, bytes] | None],
    square: Segments,
    checkpoint: CheckpointInfo,
    sight: DeltaGenerator,
) -> Picture | None:
    """What a person brought: asked for, read, prepared and shown; None where there is nothing yet or it is no image."""
    try:
        found = ask()
        if found is None:
            return None
        sides = "crop" if source == "draw" else square.draw()
        prepared = remembered(found[0], found[1], sides, checkpoint)
    except DataError as error:
        st.error(plain_text(error), icon=":material/error:")
        return None
    caption = {"upload": "Your image", "camera": "Your photograph", "draw": "Your drawing"}[source]
    with sight:
        show(prepared.x, caption)
    show_steps(prepared.steps)
    return Picture(prepared.x, None, source, caption, digest(prepared.x))


def uploaded() -> tuple[str, bytes] | None:
    file = st.file_uploader(
        f"Image file: {LIMITS}", SUFFIXES, key="picture-file", max_upload_size=MAX_BYTES // 2**20,
        help="Read in memory only: it is not kept.",
    )  # fmt: skip
    return None if file is None else (file.file_id, file.getvalue())


def photographed() -> tuple[str, bytes] | None:
    if not camera_allowed(st.context.url):
        st.info(
            "Browsers lend their camera only to pages opened over HTTPS or on this computer itself: take the "
            "photograph with another program and upload it.",
            icon=":material/no_photography:",
        )  # fmt: skip
        return None
    photo = st.camera_input("Photograph", key="picture-camera", help="Read in memory only: it is not kept.")
    return None if photo is None else (photo.file_id, photo.getvalue())


def drawn() -> tuple[str, bytes] | None:
    content = sketch(key="picture-sketch")
    if content is None:
        st.caption("Draw a digit: the network answers when you lift the pen.")
        return None
    return hashlib.sha256(content).hexdigest(), content


def camera_allowed(url: str | None) -> bool:
    """Whether browsers count this address as a secure context."""
    parts = urlsplit(url or "")
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def remembered(identity: str, content: bytes, square: Any, checkpoint: CheckpointInfo) -> Prepared:
    """The prepared image, kept for this session's next rerun: decoding takes longer than most of what a page does."""
    light = checkpoint.mean[0] > 0.5
    centre = is_for_digits(checkpoint)
    key = (identity, square, checkpoint.shape, centre, light)
    kept = st.session_state.get("picture-kept")
    if kept is None or kept[0] != key:
        upload = read_upload(content)
        made = prepare(upload, checkpoint.shape, square=square, centre=centre, dark_ground=not light)
        kept = st.session_state["picture-kept"] = (key, made)
    return kept[1]


def is_for_digits(checkpoint: CheckpointInfo) -> bool:
    return checkpoint.classes == DIGITS and checkpoint.shape[0] == 1


def gallery_of(checkpoint: CheckpointInfo) -> Gallery:
    """The test images of the network's data set where that is on disk, else the embedded digits, fitted to it."""
    try:
        gallery = _test_images(checkpoint.dataset)
    except DataError:
        return _embedded(checkpoint.shape)
    return gallery if gallery.x.shape[1:] == checkpoint.shape else _embedded(checkpoint.shape)


# A data set that is missing raises and so is looked for again: it may have been downloaded meanwhile.
@lru_cache(maxsize=3)
def _test_images(dataset: str) -> Gallery:
    found = load(dataset, download=False)
    return Gallery(found.test.x, [found.classes[y] for y in found.test.y.tolist()], f"{found.title}, test image")


@lru_cache(maxsize=3)
def _embedded(shape: tuple[int, int, int]) -> Gallery:
    labels = _test_images("digits").labels
    return Gallery(embedded_digits(shape), labels, "Embedded digit")


def show(x: Tensor, caption: str) -> None:
    """The network's input, every pixel a square."""
    pixels = x[0].permute(1, 2, 0).numpy()
    factor = max(1, _SHOWN_SIDE // max(pixels.shape[:2]))
    height, width = pixels.shape[:2]
    alt = f"{caption}, as the network sees it: {width} × {height} pixels"
    st.image(large(pixels, factor), plain_text(caption), width=SIGHT_WIDTH, alt=alt)


def show_steps(steps: list[Step]) -> None:
    with st.expander("How it got there", key="picture-steps"):
        for number, (title, note, image) in enumerate(steps, 1):
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                factor = max(1, 2 * _STEP_WIDTH // max(image.shape[:2]))
                st.image(large(image, factor), width=_STEP_WIDTH, alt=f"Step {number}: {title}")
                st.markdown(f"**{title}**  \n{plain_text(note)}")


def large(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Every pixel of (h, w, channels) as a square of factor × factor; grey without its axis of one channel."""
    grown = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    return grown[..., 0] if grown.shape[-1] == 1 else grown


def digest(x: Tensor) -> str:
    return hashlib.sha256(repr(tuple(x.shape)).encode() + x.numpy().tobytes()).hexdigest()[:20]
