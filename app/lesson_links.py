"""The link to a lesson's step, and its QR code."""

import io
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

import segno


def link(page_url: str | None, state: Mapping[str, str]) -> str:
    """The address of the page with ``state`` in it."""
    parts = urlsplit(page_url or "")
    return f"{parts.scheme}://{parts.netloc}{parts.path}?{urlencode(state)}" if parts.netloc else f"?{urlencode(state)}"


def only_here(address: str) -> bool:
    """Whether the address means the computer on which it is opened."""
    host = urlsplit(address).hostname or "localhost"
    return host in ("localhost", "::1") or host.endswith(".localhost") or host.startswith("127.")


def qr(address: str) -> str:
    """The QR code of an address as SVG, dark on white with its quiet zone, on every ground."""
    out = io.BytesIO()
    code = segno.make(address, error="m", micro=False)
    code.save(out, kind="svg", xmldecl=False, svgns=True, light="#fff", scale=4, title=f"QR code of {address}")
    return out.getvalue().decode()
