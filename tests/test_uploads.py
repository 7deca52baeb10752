"""Uploads: whatever bytes come, an image or one sentence; and from the image to a network's input step by step."""

import struct
import zlib
from contextlib import suppress
from io import BytesIO
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from core.checkpoints import load as load_checkpoint
from core.data import DataError, containers, load, uploads
from core.data.uploads import Upload, embedded_digits, prepare, read_upload

# Smooth: a JPEG keeps colours at half the resolution.
RGB = np.stack(np.broadcast_arrays(np.arange(24)[:, None] * 10, np.arange(16) * 15, 90), 2).astype(np.uint8)
GREY = (1, 28, 28)
COLOUR = (3, 32, 32)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def refusal(content: bytes) -> str:
    with pytest.raises(DataError) as caught:
        read_upload(content)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert "\n" not in sentence
    assert "0x" not in sentence
    return sentence


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *more: bytes, bits: int = 8, colour: int = 2, pixels: bytes = b"") -> bytes:
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = (chunk(b"IHDR", head), *more, chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_the_five_formats_are_read_and_others_are_not(kind: str) -> None:
    options = {"quality": 100} if kind in ("JPEG", "WEBP") else {}
    upload = read_upload(encoded(Image.fromarray(RGB), kind, **options))
    assert upload.image.size == (16, 24)
    assert "16 × 24 pixels" in upload.note
    assert np.abs(np.asarray(upload.image.convert("RGB"), float) - RGB).mean() < 6
    sentence = refusal(encoded(Image.fromarray(RGB), "TIFF"))
    assert sentence == (
        "The file is a TIFF image, whatever its name says; save it as PNG, JPEG, WebP, BMP or GIF and choose that."
    )


@pytest.mark.parametrize(
    ("content", "beginning"),
    [
        (b"", "The file is empty; choose an image."),
        (b"x", "The file is no PNG, JPEG, WebP, BMP or GIF image, whatever its name says"),
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "The file is an SVG drawing, whatever its name says"),
        (b'\n<?xml version="1.0"?><svg/>', "The file is an XML or SVG file"),
        (b"%PDF-1.7\n", "The file is a PDF document"),
        (b"SIMPLE  =                    T", "The file is a FITS file"),
        (b"PK\x03\x04", "The file is a ZIP archive"),
        (b"\x89PNG\r\n\x1a\n", "The PNG image is cut short or damaged; save it anew and choose it again."),
        (b"BM", "The BMP image "),
        (b"GIF89a", "The GIF image "),
        (b"\xff\xd8\xff", "The JPEG image "),
        (b"RIFF\xff\0\0\0WEBPVP8 ", "The WebP image is cut short"),
        (b"RIFF\4\0\0\0WEBP", "The WebP image "),
        (b"BM" + bytes(10 * 2**20), "The file has 10.0 MB, more than the 10 MB allowed"),
    ],
)
def test_what_is_no_image_is_said_in_one_sentence(content: bytes, beginning: str) -> None:
    assert refusal(content).startswith(beginning)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_an_image_cut_short_anywhere_is_refused_or_read(kind: str) -> None:
    whole = encoded(Image.fromarray(RGB), kind)
    for length in range(1, len(whole) - 16, 7):
        with pytest.raises(DataError):
            read_upload(whole[:length])


@given(data=st.data())
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "GIF"])
def test_damaged_bytes_are_an_image_or_a_sentence_and_nothing_else(kind: str, data: st.DataObject) -> None:
    content = bytearray(encoded(Image.fromarray(RGB), kind))
    for _ in range(3):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    with suppress(DataError):
        assert prepare(read_upload(bytes(content)), COLOUR).x.shape == (1, *COLOUR)


def webp_canvas(width: int, height: int) -> bytes:
    inner = encoded(Image.new("RGBA", (4, 4)), "WEBP", lossless=True)[12:]
    sizes = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBP" + b"VP8X" + struct.pack("<I", 10) + b"\x10\0\0\0" + sizes + inner
    return b"RIFF" + struct.pack("<I", len(body)) + body


BOMBS = {
    "PNG": png(50_000, 50_000),
    "PNG of a million rows": png(100, 1_000_000),
    "BMP": b"BM" + struct.pack("<IIIIiiHHII", 54, 0, 54, 40, 30_000, 30_000, 1, 24, 0, 0) + bytes(64),
    "GIF": b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0) + b"," + struct.pack("<HHHHB", 0, 0, 9, 9, 0),
    "GIF frame": b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0) + b"," + struct.pack("<HHHHB", 0, 0, 9999, 9999, 0),
    "JPEG": b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 11, 8, 65_000, 65_000, 1) + b"\x01\x11\x00"
    + b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 0, 63, 0) + b"\xff\xd9",
    "WebP": webp_canvas(16_000, 16_000),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_an_image_that_declares_too_many_pixels_is_never_decoded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    kind = name.split()[0]
    assert refusal(BOMBS[name] + bytes(64)) == f"The {kind} image has more than 16 million pixels; make it smaller."


def test_sixteen_megapixels_are_the_last_that_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_PIXELS", 600)
    assert read_upload(encoded(Image.new("L", (20, 30)))).image.size == (20, 30)
    assert "million pixels" in refusal(encoded(Image.new("L", (1, 601))))


MANY = 30_000
IMAGES = {kind: encoded(Image.new("RGB", (8, 8), "red"), kind, quality=95) for kind in ("PNG", "JPEG", "GIF")}


def crowded(kind: str, part: bytes, times: int) -> bytes:
    """An image with ``part`` repeated where its format has room for extras."""
    image = IMAGES[kind]
    at = {"PNG": 33, "JPEG": 2, "GIF": image.find(b",")}[kind]
    return image[:at] + part * times + image[at:]


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("PNG", chunk(b"prVt", b"")),
        ("PNG", chunk(b"IDAT", b"")),
        ("JPEG", b"\xff\xfe\0\2"),
        ("JPEG", b"\xff"),
        ("GIF", b"!\xfe\0"),
    ],
)
def test_an_image_of_very_many_parts_is_not_walked_to_its_end(kind: str, part: bytes) -> None:
    assert read_upload(crowded(kind, part, 3)).image.convert("RGB").getpixel((4, 4))[0] > 240
    assert refusal(crowded(kind, part, MANY)).startswith(f"The {kind} image ")


def test_a_gif_with_a_comment_of_very_many_pieces_is_refused() -> None:
    assert "more parts" in refusal(crowded("GIF", b"!\xfe" + b"\1a" * MANY + b"\0", 1))


def segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        ("PNG", chunk(b"zTXt", b"note\0\0" + zlib.compress(bytes(2 * 2**20)))),
        ("PNG", chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(2 * 2**20)))),
        ("PNG", chunk(b"eXIf", bytes(100_000))),
        (
            "JPEG",
            segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0") + segment(0xED, b"Photoshop") + segment(0xE2, b"ICC"),
        ),
        ("GIF", b"!\xfe\5hello\0!\xff\x0bNETSCAPE2.0\3\1\0\0\0"),
    ],
)
def test_no_decoder_sees_what_no_pixel_needs(kind: str, part: bytes) -> None:
    assert containers.lean(crowded(kind, part, 1), kind, 100) == IMAGES[kind]
    assert read_upload(crowded(kind, part, 1)).image.size == (8, 8)


def test_a_jpeg_of_very_many_scans_is_refused() -> None:
    content = encoded(Image.fromarray(RGB), "JPEG", progressive=True)
    assert read_upload(content).image.size == (16, 24)
    start = content.rindex(b"\xff\xda")
    scan = content[start:-2]
    assert refusal(content[:start] + scan * 60 + content[-2:]).endswith(
        "scans where about ten are usual; save it anew as PNG."
    )


def test_a_run_length_compressed_bmp_is_refused() -> None:
    head = struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 4, 4, 1, 8, 1, 0, 0, 0, 0, 0)
    assert "run-length compressed" in refusal(b"BM" + head + bytes(64))


def test_nothing_is_written_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(Image.fromarray(RGB), "GIF")
    read_upload(content)
    monkeypatch.setattr("builtins.open", lambda *args, **rest: pytest.fail(f"opened {args}"))
    prepare(read_upload(content), GREY, centre=True)
    with pytest.raises(DataError):
        read_upload(content[:40])


def alpha(mode: str, ink: tuple[int, ...], clear: tuple[int, ...]) -> Image.Image:
    image = Image.new(mode, (8, 8), clear)
    image.paste(ink, (2, 2, 6, 6))
    return image


def palette(transparent: bool) -> bytes:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.paste(0, (2, 2, 6, 6))
    return encoded(image, "PNG", **({"transparency": 1} if transparent else {}))


@pytest.mark.parametrize(
    ("content", "middle", "corner"),
    [
        (encoded(alpha("RGBA", (255, 0, 0, 255), (0, 0, 255, 0))), (255, 0, 0), (255, 255, 255)),
        (encoded(alpha("RGBA", (255, 0, 0, 128), (0, 0, 255, 255))), (255, 127, 127), (0, 0, 255)),
        (encoded(alpha("LA", (9, 255), (0, 0))), (9, 9, 9), (255, 255, 255)),
        (palette(transparent=False), (255, 0, 0), (0, 0, 255)),
        (palette(transparent=True), (255, 0, 0), (255, 255, 255)),
        (encoded(alpha("CMYK", (0, 255, 255, 0), (255, 255, 0, 0)), "JPEG", quality=100), (255, 0, 0), (0, 0, 255)),
        (encoded(alpha("1", (1,), (0,))), (255, 255, 255), (0, 0, 0)),
        (encoded(Image.fromarray(np.full((8, 8), 257 * 77, np.uint16))), (77, 77, 77), (77, 77, 77)),
        (encoded(alpha("L", (7,), (200,)), transparency=200), (7, 7, 7), (255, 255, 255)),
        (encoded(alpha("RGBA", (255, 0, 0, 255), (0, 0, 0, 0)), "WEBP", lossless=True), (255, 0, 0), (255, 255, 255)),
    ],
    ids=["RGBA", "half", "LA", "palette", "palette-transparent", "CMYK", "bilevel", "16-bit", "grey-key", "WebP"],
)
def test_every_kind_of_pixel_arrives(content: bytes, middle: tuple[int, ...], corner: tuple[int, ...]) -> None:
    x = prepare(read_upload(content), (3, 8, 8)).x[0]
    expected = {(4, 4): middle, (0, 0): corner}
    for (row, column), colour in expected.items():
        np.testing.assert_allclose(x[:, row, column], colour, atol=6)


def test_of_a_moving_image_only_the_first_frame_is_read() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    for kind in ("GIF", "WEBP", "PNG"):
        upload = read_upload(encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True))
        assert upload.image.convert("RGB").getpixel((4, 4)) == (255, 0, 0)
        # An animated PNG is a still one with more parts, which are not passed on.
        assert upload.note.endswith("its first frame.") == (kind != "PNG")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_as_their_camera_says(orientation: int) -> None:
    # EXIF's figure: where the picture's left upper corner lies in the file, for each way to hold the camera.
    corners = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}
    stored = np.full((16, 32, 3), 255, np.uint8)
    row, column = corners[orientation]
    stored[row * 15 :: -1 if row else 1][:4, column * 31 :: -1 if column else 1][:, :4] = 0
    exif = Image.Exif()
    exif[0x0112] = orientation
    prepared = prepare(read_upload(encoded(Image.fromarray(stored), exif=exif)), (3, 16, 16), square="pad")
    upright = prepared.steps[-2].image
    assert upright.shape[:2] == (32, 32)
    shown = prepared.x[0, 0]
    dark = (shown < 128).nonzero()
    assert dark[:, 0].max() < 8
    assert dark[:, 1].max() < 8
    assert ("Turned upright" in titles(prepared)) == (orientation != 1)


def titles(prepared: uploads.Prepared) -> list[str]:
    return [step.title for step in prepared.steps]


@pytest.mark.parametrize("size", [(1, 1), (1, 100_000), (100_000, 1), (3, 1), (4000, 4000)])
@pytest.mark.parametrize("square", ["crop", "pad"])
@pytest.mark.parametrize("centre", [True, False])
def test_any_size_becomes_the_networks(size: tuple[int, int], square: uploads.Square, centre: bool) -> None:
    upload = read_upload(encoded(Image.new("L", size, 200)))
    assert max(upload.image.size) <= 1024
    for shape in ((1, 8, 8), GREY, COLOUR, (1, 20, 40)):
        prepared = prepare(upload, shape, square=square, centre=centre and shape[0] == 1)
        assert prepared.x.shape == (1, *shape)
        assert prepared.x.dtype == torch.uint8
        for step in prepared.steps:
            assert step.note
            assert step.image.dtype == np.uint8
            assert step.image.shape[2] in (1, 3)
            assert max(step.image.shape) <= 192


def of(array: np.ndarray) -> Upload:
    return read_upload(encoded(Image.fromarray(array)))


def test_steps_that_change_nothing_are_left_out() -> None:
    x = np.zeros((28, 28), np.uint8)
    x[4:24, 9:19] = 255
    prepared = prepare(of(x), GREY)
    assert titles(prepared) == ["As it came", "Size of the input"]
    np.testing.assert_array_equal(prepared.x[0, 0], x)


def test_an_opaque_image_with_an_alpha_channel_has_nothing_to_lay_on_white() -> None:
    for clear in (255, 254):
        prepared = prepare(read_upload(encoded(Image.new("RGBA", (8, 8), (9, 9, 9, clear)))), (3, 8, 8))
        assert ("Laid on white" in titles(prepared)) == (clear < 255)


def test_wide_images_are_cropped_or_padded_with_their_border() -> None:
    wide = np.full((20, 60, 3), (10, 200, 30), np.uint8)
    wide[:, 25:35] = 255
    cropped = prepare(of(wide), (3, 20, 20)).x[0]
    np.testing.assert_array_equal(cropped, np.moveaxis(wide[:, 20:40], 2, 0))
    padded = prepare(of(wide), (3, 60, 60), square="pad").x[0]
    np.testing.assert_array_equal(padded[:, 20:40], np.moveaxis(wide, 2, 0))
    assert (padded[:, :20] == torch.tensor([10, 200, 30]).view(3, 1, 1)).all()


def test_dark_ink_becomes_light_and_light_ink_stays() -> None:
    dark = np.full((28, 28), 250, np.uint8)
    dark[10:18, 10:18] = 5
    for square in (dark, 255 - dark):
        assert prepare(of(square), GREY).x[0, 0, 14, 14] == 250
        assert prepare(of(square), GREY).x[0, 0, 0, 0] == 5
    assert prepare(of(dark), GREY, dark_ground=False).x[0, 0, 14, 14] == 5
    colours = prepare(of(np.stack([dark] * 3, 2)), (3, 28, 28))
    assert colours.x[0, 0, 14, 14] == 5


def test_a_drawn_digit_is_placed_as_mnists_are() -> None:
    paper = np.full((300, 300), 255, np.uint8)
    paper[30:230, 40:60] = 0
    paper[210:230, 40:140] = 0
    x = prepare(of(paper), GREY, centre=True).x[0, 0].double()
    inked = (x > 32).nonzero()
    height = inked[:, 0].max() - inked[:, 0].min() + 1
    assert abs(height - 20) <= 1
    for mass in (x.sum(0), x.sum(1)):
        centre = (mass * (torch.arange(28) + 0.5)).sum() / mass.sum()
        assert abs(centre - 14) <= 0.5


def test_a_shaded_photograph_of_paper_has_a_black_ground() -> None:
    shade = np.linspace(90, 220, 200)[None, :] + np.linspace(-20, 20, 200)[:, None]
    photo = shade + np.random.RandomState(0).normal(0, 3, (200, 200))
    photo[60:140, 90:110] *= 0.3
    x = prepare(of(photo.clip(0, 255).astype(np.uint8)), GREY, centre=True).x[0, 0]
    assert x[:3].max() == 0
    assert x[:, :6].max() == 0
    assert x[14, 14] > 150


def test_a_thin_pen_writes_as_thick_as_the_training_images() -> None:
    paper = np.full((280, 280), 255, np.uint8)
    paper[40:240, 138:142] = 0
    prepared = prepare(of(paper), GREY, centre=True)
    assert "Strokes thickened" in titles(prepared)
    widths = (prepared.x[0, 0, 8:20].double() / 255).sum(1)
    # MNIST's strokes are 0.12 of the ink's length of 20 pixels.
    assert ((widths - 2.4).abs() < 0.5).all()
    paper[40:240, 120:160] = 0
    assert "Strokes thickened" not in titles(prepare(of(paper), GREY, centre=True))


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_empty_sheet_stays_empty(value: int) -> None:
    x = prepare(of(np.full((40, 40), value, np.uint8)), GREY, centre=True).x
    assert x.unique().numel() == 1


def on_paper(x: torch.Tensor, side: int) -> Upload:
    """An image (H, W) as a sheet of paper shows it: large, and dark on light."""
    return of(255 - np.asarray(Image.fromarray(x.numpy()).resize((side, side), Image.Resampling.BICUBIC)))


def accuracy(checkpoint: Any, x: torch.Tensor, y: torch.Tensor) -> float:
    with torch.no_grad():
        return float((checkpoint.model()(checkpoint.normalise(x)).argmax(1) == y).double().mean())


def test_digits_on_paper_are_read_about_as_well_as_their_originals() -> None:
    checkpoint, test = load_checkpoint("digits-none"), load("digits").test
    x = torch.cat([prepare(on_paper(image[0], 200), (1, 8, 8), centre=True).x for image in test.x])
    original = accuracy(checkpoint, test.x, test.y)
    assert original > 0.95
    # Enlarging 8×8 pixels loses some of them; without the ground or the placing it would be below 0.7.
    assert accuracy(checkpoint, x, test.y) > original - 0.1


def test_the_embedded_digits_fit_any_network() -> None:
    digits = load("digits").test.x
    assert torch.equal(embedded_digits((1, 8, 8)), digits)
    for shape in (GREY, COLOUR, (3, 8, 8), (1, 20, 30)):
        x = embedded_digits(shape)
        assert x.shape == (len(digits), *shape)
        assert x.dtype == torch.uint8
        assert (x[:, :1] == x).all()
    mass = embedded_digits(GREY).double().squeeze(1)  # (N, 28, 28)
    for line in (mass.sum(1), mass.sum(2)):
        centres = (line * (torch.arange(28) + 0.5)).sum(1) / line.sum(1)
        assert (centres - 14).abs().max() <= 0.5
