"""What the server does besides drawing pages: whom it answers, and how it keeps an eye on the runs."""

import asyncio
import logging
import os
import socket
from urllib.parse import urlsplit

import psutil
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from streamlit import config

WATCH_SECONDS = 1.0
_log = logging.getLogger("dropscope")


def allowed_hosts() -> list[str]:
    """Names and addresses under which pages, sockets and routes answer: loopback, this machine's, and DROPSCOPE_HOSTS.

    A page elsewhere that makes a name of its own point to this machine is refused. DROPSCOPE_HOSTS is a list
    separated by commas or blanks; ``*`` answers to any name.
    """
    more = os.environ.get("DROPSCOPE_HOSTS", "").replace(",", " ").split()
    return list(dict.fromkeys(["localhost", "127.0.0.1", "[::1]", *own_names(), *own_addresses(), *more]))


def own_names() -> list[str]:
    """This machine's names: its own, the one in its domain, and the one in its local network."""
    name = socket.gethostname()
    return [name, socket.getfqdn(), f"{name.partition('.')[0]}.local"]


def own_addresses() -> list[str]:
    """The addresses of this machine's network interfaces, as they stand in a URL."""
    found = [entry for entries in psutil.net_if_addrs().values() for entry in entries]
    four = [entry.address for entry in found if entry.family == socket.AF_INET]
    # An address of the link names its interface ("fe80::1%eth0"), which browsers cannot write.
    six = [f"[{entry.address}]" for entry in found if entry.family == socket.AF_INET6 and "%" not in entry.address]
    return four + six


class SameOrigin:
    """Refuses sockets and whatever may write where the page that asks is of another origin.

    Streamlit lets pages of any port of this machine open a socket, and asks the internet for more addresses that may.
    Origins in Streamlit's ``server.corsAllowedOrigins`` are let through. What no page sent has no origin.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reads = scope["type"] == "http" and scope["method"] in ("GET", "HEAD", "OPTIONS")
        if scope["type"] in ("http", "websocket") and not reads and not _same_origin(Headers(scope=scope)):
            await PlainTextResponse("This page may not ask that of this server.", 403)(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _same_origin(headers: Headers) -> bool:
    origin = headers.get("origin")
    if origin is None or origin in config.get_option("server.corsAllowedOrigins"):
        return True
    return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


async def watch_runs() -> None:
    """Once a second: start queued runs whose turn it is, and notice those whose process died. Never ends by itself."""
    trouble = ""
    while True:
        try:
            await asyncio.to_thread(_look)
            trouble = ""
        except Exception as error:
            # Said once and not every second; the pages tell the person when they meet the same.
            if str(error) != trouble:
                trouble = str(error)
                _log.error("Watching the runs: %s", trouble)
        await asyncio.sleep(WATCH_SECONDS)


def _look() -> None:
    from app import services

    services.look_after()
