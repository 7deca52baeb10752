"""What the server does besides drawing pages: whom it answers, and how it keeps an eye on the runs."""

import asyncio
import logging
import os
import socket

WATCH_SECONDS = 1.0
_log = logging.getLogger("dropscope")


def allowed_hosts() -> list[str]:
    """Names and addresses under which pages, sockets and routes answer: loopback, this machine's, and DROPSCOPE_HOSTS.

    A page elsewhere that makes a name of its own point to this machine is refused. DROPSCOPE_HOSTS is a list
    separated by commas or blanks; ``*`` answers to any name.
    """
    more = os.environ.get("DROPSCOPE_HOSTS", "").replace(",", " ").split()
    own = [socket.gethostname(), socket.getfqdn()]
    return list(dict.fromkeys(["localhost", "127.0.0.1", "[::1]", *own, *more]))


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
