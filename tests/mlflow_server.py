"""A real MLflow server on loopback, in an environment of its own: it needs other versions than Dropscope does."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import urllib.request
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import wait_for

PACKAGE = "mlflow>=3,<4"


def environment() -> Path:
    """The Python that has MLflow: made once, kept in the person's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dropscope-tests"
    cache.mkdir(parents=True, exist_ok=True)
    name = f"mlflow-3-python{sys.version_info.major}.{sys.version_info.minor}"
    made = cache / f"{name}.made"
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            venv.create(cache / name, clear=True, with_pip=True)
            command = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", PACKAGE]
            subprocess.run([cache / name / "bin" / "python", *command], check=True)
            made.touch()
    return cache / name / "bin" / "python"


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """The address of a server whose data lie in ``folder``, gone at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}", "--artifacts-destination", folder / "files"]
    outside = ("PYTHONPATH", "VIRTUAL_ENV")
    settings = {name: value for name, value in os.environ.items() if name not in outside}
    with (folder / "server.log").open("wb") as log:
        server = subprocess.Popen(
            [environment(), *command, *stores],
            cwd=folder,
            env=settings | {"MLFLOW_DISABLE_TELEMETRY": "true"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def answers() -> bool:
        assert server.poll() is None, (folder / "server.log").read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        wait_for(answers, 240.0)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
