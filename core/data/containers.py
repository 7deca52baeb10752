"""What an image file is made of, without decoding it: its kind, and the file without what no pixel needs.

Decoders trust a file's structure: a million empty chunks, or a gigabyte of packed text, cost them seconds or much
memory before the first pixel. Here a file is walked part by part, and only parts that make the picture are passed on.
"""

from core.errors import DataError

KINDS = "PNG, JPEG, WebP, BMP or GIF"

# A 10 MB file in chunks of 1 KB has half as many.
_MAX_PARTS = 20_000
# Progressive JPEGs have about ten scans; every one costs a pass over the whole image.
_MAX_SCANS = 40
_MAX_EXIF = 65_536
_PNG_PARTS = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
_JPEG_SCAN, _JPEG_EXIF, _JPEG_ADOBE = 0xDA, 0xE1, 0xEE
_JPEG_BARE = frozenset((0x01, *range(0xD0, 0xD9)))
_JPEG_EXTRAS = frozenset((*range(0xE1, 0xF0), 0xFE)) - {_JPEG_ADOBE}
_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"BM", "BMP"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
)
_STRANGERS = (
    (b"%PDF", "a PDF document"),
    (b"SIMPLE  =", "a FITS file"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML or SVG file"),
    (b"PK\x03\x04", "a ZIP archive"),
)


def kind_of(content: bytes) -> str:
    """PNG, JPEG, WebP, BMP or GIF, by a file's first bytes. Raises DataError for anything else."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "WebP"
    for start, kind in _STARTS:
        if content.startswith(start):
            return kind
    text = content[:256].lstrip(b"\xef\xbb\xbf \t\r\n")
    found = next((what for start, what in _STRANGERS if text.startswith(start)), f"no {KINDS} image")
    raise DataError(f"The file is {found}, whatever its name says; save it as {KINDS} and choose that.")


def lean(content: bytes, kind: str, most_pixels: int) -> bytes:
    """The file with its pixels, palette, transparency and orientation alone. Raises DataError."""
    walkers = {"PNG": _png, "JPEG": _jpeg, "GIF": _gif, "BMP": _bmp}
    try:
        return walkers[kind](content) if kind in walkers else _webp(content, most_pixels)
    except IndexError:
        raise _cut_short(kind) from None


def _png(content: bytes) -> bytes:
    kept, at = [content[:8]], 8
    for _ in range(_MAX_PARTS):
        length, name = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        end = at + 12 + length
        if end > len(content):
            raise _cut_short("PNG")
        if name in _PNG_PARTS or (name == b"eXIf" and length < _MAX_EXIF):
            kept.append(content[at:end])
        if name == b"IEND":
            return b"".join(kept)
        at = end
    raise _too_many_parts("PNG")


def _jpeg(content: bytes) -> bytes:
    kept, at, exif = [content[:2]], 2, b""
    for _ in range(_MAX_PARTS):
        marker = content[at + 1]
        if marker == _JPEG_SCAN:
            return b"".join([*kept, exif, _jpeg_pixels(content[at:])])
        if marker == 0xFF:
            at += 1
            continue
        if marker in _JPEG_BARE:
            at += 2
            continue
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        if content[at] != 0xFF or end < at + 4 or end > len(content):
            raise _cut_short("JPEG")
        if marker not in _JPEG_EXTRAS:
            kept.append(content[at:end])
        elif marker == _JPEG_EXIF and content[at + 4 : at + 8] == b"Exif":
            exif = content[at:end]
        at = end
    raise _too_many_parts("JPEG")


def _jpeg_pixels(content: bytes) -> bytes:
    """All from the first scan on; in pixel data 0xFF never stands before the bytes looked for."""
    if content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):
        raise _cut_short("JPEG")
    scans = content.count(b"\xff\xda")
    if scans > _MAX_SCANS:
        raise DataError(f"The JPEG image has {scans:,} scans where about ten are usual; save it anew as PNG.")
    return content


def _gif(content: bytes) -> bytes:
    palette = 3 << ((content[10] & 7) + 1) if content[10] & 0x80 else 0
    start = at = 13 + palette
    control, parts = b"", 0
    while content[at] != ord(","):
        if content[at] != ord("!") or parts > _MAX_PARTS:
            raise DataError("The GIF image is damaged; save it anew and choose it again.")
        block, label = at, content[at + 1]
        at += 2
        while content[at]:
            at += content[at] + 1
            parts += 1
            if parts > _MAX_PARTS:
                raise _too_many_parts("GIF")
        at += 1
        parts += 1
        if label == 0xF9:
            control = content[block:at]
    return content[:start] + control + content[at:]


def _bmp(content: bytes) -> bytes:
    if content[14] >= 40 and content[30] in (1, 2):
        # Pillow unpacks these in Python: seconds for a large one.
        raise DataError("The BMP image is run-length compressed, which is not read here; save it as PNG.")
    return content


def _webp(content: bytes, most_pixels: int) -> bytes:
    if int.from_bytes(content[4:8], "little") + 8 > len(content):
        raise _cut_short("WebP")
    # The decoder makes room for the whole canvas when it opens a file.
    width, height = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (24, 27))
    if content[12:16] == b"VP8X" and width * height > most_pixels:
        raise DataError(f"The WebP image has more than {most_pixels // 10**6} million pixels; make it smaller.")
    return content


def _cut_short(kind: str) -> DataError:
    return DataError(f"The {kind} image is cut short or damaged; save it anew and choose it again.")


def _too_many_parts(kind: str) -> DataError:
    return DataError(f"The {kind} image consists of more parts than images have; save it anew and choose it again.")
