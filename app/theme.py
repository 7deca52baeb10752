"""How a technique looks everywhere: one colour for each ground, one marker, one dash."""

import colorsys
import zlib
from dataclasses import asdict, dataclass, replace
from functools import cache

LIGHT_GROUND = "#FFFFFF"
DARK_GROUND = "#0E1117"


@dataclass(frozen=True)
class Style:
    """The look of one technique; ``marker`` and ``dash`` are Plotly's names."""

    light: str
    dark: str
    marker: str
    dash: str

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


# The paper's three are cool, the established ones warm, no dropout grey. Any two differ clearly, also with red- or
# green-blindness, at 3:1 or more on white and 4.5:1 or more on the dark ground.
_STYLES: dict[str, Style] = {
    "none": Style("#606060", "#BCBCBC", "circle-open", "dot"),
    "standard": Style("#712F39", "#F85A76", "circle", "solid"),
    "dropconnect": Style("#9E5820", "#BD6A28", "square", "dash"),
    "gaussian": Style("#BA8238", "#FAA724", "diamond", "dashdot"),
    "variational": Style("#D65DC7", "#C682BB", "cross", "longdash"),
    "standout": Style("#5D004B", "#C351A5", "x", "longdashdot"),
    "dropact": Style("#2A45B9", "#7E9DF2", "triangle-up", "solid"),
    "dropinv": Style("#116391", "#79C7FD", "triangle-down", "dash"),
    "dropcorr": Style("#378981", "#25FBEB", "star", "solid"),
}
_SPARE_MARKERS = ("pentagon", "hexagon", "hourglass", "bowtie", "diamond-open", "square-open", "star-open")
_SPARE_DASHES = ("solid", "dash", "dashdot", "longdash", "longdashdot")


def style(technique: str) -> Style:
    """The style of a technique by its lower-case name; one that has no row above gets a lasting one of its own."""
    return _STYLES.get(technique) or _spare(technique)


def style_of_variant(technique: str, variant: int) -> Style:
    """The style of the n-th setting of a technique, from 0: its colour stays, dash and marker change.

    Both at once, as a curve without markers has its dash alone.
    """
    look = style(technique)
    marker = look.marker.removesuffix("-open") if look.marker.endswith("-open") else f"{look.marker}-open"
    dashes = ["solid", "dot", "dash", "longdashdot", "longdash", "dashdot"]
    turn, rounds = dashes.index(look.dash) + variant, variant // len(dashes)
    return replace(look, marker=marker if (variant + rounds) % 2 else look.marker, dash=dashes[turn % len(dashes)])


def contrast(one: str, other: str) -> float:
    """The WCAG contrast ratio of two ``#RRGGBB`` colours, 1 to 21."""
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@cache
def _spare(technique: str) -> Style:
    seed = zlib.crc32(technique.encode())
    hue = seed % 360 / 360
    return Style(
        _readable(hue, LIGHT_GROUND, darker=True),
        _readable(hue, DARK_GROUND, darker=False),
        _SPARE_MARKERS[seed // 360 % len(_SPARE_MARKERS)],
        _SPARE_DASHES[seed // 7919 % len(_SPARE_DASHES)],
    )


def _readable(hue: float, ground: str, *, darker: bool) -> str:
    steps = range(55, 0, -1) if darker else range(45, 100)
    shades = (_hex(colorsys.hls_to_rgb(hue, step / 100, 0.55)) for step in steps)
    return next(shade for shade in shades if contrast(shade, ground) >= 4.5)


def _hex(rgb: tuple[float, float, float]) -> str:
    return "#" + "".join(f"{round(255 * channel):02X}" for channel in rgb)


def _luminance(colour: str) -> float:
    channels = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
