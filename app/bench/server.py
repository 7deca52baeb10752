"""A dashboard, or any Streamlit script, served in a process of its own for as long as it is asked."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import psutil

DASHBOARD = Path(__file__).parents[1] / "streamlit_app.py"
# A machine with much else to do takes its time to start a server.
PATIENCE = 180.0
LOOK = 0.02


@dataclass(frozen=True)
class Server:
    """Where it answers, the home folder of its runs, and its process."""

    port: int
    home: Path
    process: psutil.Process

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def serving(home: Path, script: Path = DASHBOARD) -> Iterator[Server]:
    """Serve ``script``; the server, and the workers that it started, end with the block."""
    port = free_port()
    command = [
        sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port), "--server.headless", "true",
        "--server.address", "127.0.0.1", "--browser.gatherUsageStats", "false", "--logger.level", "warning",
    ]  # fmt: skip
    environment = os.environ | {"DROPSCOPE_HOME": str(home)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=sys.stderr)
    try:
        server = Server(port, home, psutil.Process(process.pid))
        wait_for(lambda: process.poll() is not None or _answers(server), "the server to answer")
        if process.poll() is not None:
            raise RuntimeError("The server ended at once; what it said stands above.")
        yield server
    finally:
        process.terminate()
        process.wait(PATIENCE)
        for worker in workers(home):
            with suppress(psutil.NoSuchProcess):
                worker.kill()
                worker.wait(PATIENCE)


def workers(home: Path) -> list[psutil.Process]:
    """The processes that train the runs of a home folder, or wait to."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "worker" in words and str(home) in words:
            found.append(process)
    return found


def wait_for(what: Callable[[], Any], name: str, patience: float = PATIENCE, look: float = LOOK) -> Any:
    """The first true value of ``what``, looked at every ``look`` seconds; TimeoutError where none comes."""
    end = time.monotonic() + patience
    while not (value := what()):
        if time.monotonic() > end:
            raise TimeoutError(f"Waited {patience:g} s in vain for {name}.")
        time.sleep(look)
    return value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _answers(server: Server) -> bool:
    with suppress(URLError, OSError), urllib.request.urlopen(f"{server.url}/_stcore/health", timeout=5) as reply:
        return bool(reply.status == 200)
    return False
