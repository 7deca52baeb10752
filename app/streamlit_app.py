"""What ``streamlit run`` serves: the pages of the router with the routes for live data beside them.

``streamlit run app/streamlit_app.py`` works from any folder.
"""

import asyncio
import gc
import logging
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import streamlit as st
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from app import access, entrance, routes
from app.server import SameOrigin, allowed_hosts, watch_runs

_log = logging.getLogger("dropscope")


@asynccontextmanager
async def lifespan(_app: Any) -> AsyncIterator[None]:
    """While the server runs: load torch before the first visitor needs it, and keep an eye on the runs."""
    if access.exposed():
        access.ACCESS.announce()
    threading.Thread(target=_load_ahead, daemon=True).start()
    watcher = asyncio.create_task(watch_runs())
    try:
        yield
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher


def _load_ahead() -> None:
    """What the first visitor would wait for: modules that are slow to load, and the network and images of Explore."""
    import scipy.special  # type: ignore[import-untyped]  # noqa: F401

    from app import monte_carlo_charts, networks, pictures, services  # noqa: F401

    with suppress(*services.REFUSALS):  # said where a page needs them
        pictures.gallery_of(networks.network(networks.FIRST))
    # Streamlit looks for garbage after every run of a page: what is loaded stays for good and is left out from now on.
    gc.freeze()


def report(error: Exception) -> bool:
    """A mistake in a page: its traceback goes to the server's log, a sentence to the person."""
    _log.error("A page failed", exc_info=error)
    st.error("This page could not be drawn. Nothing is lost; the server's log says why.", icon=":material/error:")
    return True


app = st.App(
    Path(__file__).with_name("router.py"),
    routes=[*routes.ROUTES, *entrance.ROUTES],
    middleware=[
        Middleware(TrustedHostMiddleware, allowed_hosts=allowed_hosts(), www_redirect=False),
        Middleware(SameOrigin),
    ],
    lifespan=lifespan,
    on_script_error=report,
)
