"""A real server and a real browser for tests: fixtures to import where they are used."""

import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from urllib.error import URLError

import psutil
import pytest

APP = Path(__file__).parent.parent / "app" / "streamlit_app.py"
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
# Without these a browser started by root does not start, and one without a network keeps trying to reach it.
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
]  # fmt: skip
PATIENCE = 60.0

Browser = Any
Page = Any


@dataclass
class Server:
    """A running dashboard: its address, its home folder, and the process that serves."""

    url: str
    port: int
    home: Path
    process: subprocess.Popen[bytes]
    log: Path


def wait_until(what: Callable[[], Any], why: str | Callable[[], str], patience: float = PATIENCE) -> Any:
    """The first true value of ``what``; fails with ``why``, asked for then if it can be called, when none comes.

    A page that is being drawn anew moves: what lies where is awaited, not looked at once.
    """
    end = monotonic() + patience
    while True:
        value = what()
        if value:
            return value
        if monotonic() > end:
            pytest.fail(f"waited {patience:g} s in vain: {why() if callable(why) else why}")
        sleep(0.05)


def place(part: Page) -> dict[str, float]:
    """Where an element lies in the window, in CSS pixels: left, top, right, bottom, width, height."""
    return dict(part.evaluate("(part) => part.getBoundingClientRect().toJSON()"))


def overflow(page: Page) -> int:
    """By how many pixels anything is wider than the screen."""
    return int(
        page.evaluate(
            "Math.max(0, ...[document.documentElement, document.querySelector('[data-testid=stMain]')]"
            ".map((part) => part.scrollWidth - part.clientWidth))"
        )
    )


def too_small(parts: Page) -> list[str]:
    """Those of ``parts`` that a finger misses: lower than 44 pixels."""
    script = "(parts) => parts.filter((p) => p.getBoundingClientRect().height < 44).map((p) => p.outerHTML)"
    return list(parts.evaluate_all(script))


def fits_a_phone(page: Page, controls: str) -> None:
    """Fails where the page stays wider than the screen, or one of ``controls`` in sight too small for a finger."""
    wait_until(lambda: overflow(page) == 0, "something is wider than the screen")
    wait_until(lambda: not too_small(page.locator(f"{controls}:visible")), f"a finger misses one of {controls}")


@contextmanager
def serving(home: Path, folder: Path, port: int | None = None, options: Sequence[str] = ()) -> Iterator[Server]:
    """The dashboard on a free port, started from ``folder``; it and the processes it started end with the block.

    ``options``: more of ``streamlit run``, as words of the command line.
    """
    port = port or free_port()
    log = home.parent / f"server-{port}.log"
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(APP),
        "--server.port",
        str(port),
        "--server.headless",
        "true",
        *options,
    ]
    environment = {**os.environ, "DROPSCOPE_HOME": str(home), "OMP_NUM_THREADS": "1"}
    with log.open("ab") as output:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
    server = Server(f"http://127.0.0.1:{port}", port, home, process, log)
    try:
        wait_until(lambda: process.poll() is not None or healthy(server), "the server does not come up")
        if process.poll() is not None:
            pytest.fail(f"the server ended at once:\n{log.read_text()}")
        yield server
    finally:
        stop(process)
        end_workers(home)


def healthy(server: Server) -> bool:
    with suppress(URLError, OSError), urllib.request.urlopen(f"{server.url}/_stcore/health", timeout=5) as reply:
        return bool(reply.status == 200)
    return False


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def end_workers(home: Path) -> None:
    """Workers outlive their server by design, so a test ends those of its own home."""
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "worker" in line and str(home) in line:
            with suppress(psutil.NoSuchProcess):
                process.kill()
                process.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless, for one module: Playwright keeps an event loop running, which others must not meet.

    A skip where there is none, a failure with CI=true.
    """
    if CHROMIUM is None:
        reason = "Chromium is not installed: install it, or name its program in CHROMIUM"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for a module, started from a folder that is not the project's."""
    folder = tmp_path_factory.mktemp("elsewhere")
    with serving(tmp_path_factory.mktemp("server") / "home", folder) as running:
        yield running


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A tab of 1280 × 800; a JavaScript error in it fails the test."""
    with tab(browser) as opened:
        yield opened


@contextmanager
def tab(browser: Browser, width: int = 1280, height: int = 800, dark: bool = False) -> Iterator[Page]:
    """A tab with storage of its own."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", has_touch=width < 600
    )
    context.set_default_timeout(PATIENCE * 1000)
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    try:
        yield opened
    finally:
        context.close()
    assert errors == []
