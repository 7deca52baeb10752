"""The Makefile's environment: made once, made again when it must be, and never believed after a failed install."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")

# Stands in for Python: logs what it is asked, copies itself into the environment it is to make, and fails on demand.
FAKE_PYTHON = """#!/bin/sh
echo "$@" >> "$LOG"
case "$*" in
    "-c "*version_info*) [ "$OLD_PYTHON" != "${0##*/}" ] ;;
    "-c "*ensurepip*) [ -z "$NO_VENV" ] ;;
    "-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    "-m pip install"*) [ -z "$OFFLINE" ] ;;
    *) true ;;
esac
"""


class Checkout:
    """A folder with the real Makefile and requirements, and a Python that only pretends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        folder.mkdir(parents=True)
        for name in ("Makefile", "requirements.txt", "requirements-ray.txt", "requirements-dev.txt"):
            shutil.copy(ROOT / name, folder)
        python = folder / "fake"
        python.write_text(FAKE_PYTHON)
        python.chmod(0o755)

    def make(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        return subprocess.run(
            ["make", "PYTHON=./fake", *arguments],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "LOG": str(self.log)} | environment,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def asked(self, start: str) -> list[str]:
        return [line for line in self.log.read_text().splitlines() if line.startswith(start)]

    def installs(self) -> list[str]:
        return [line.split()[-1] for line in self.asked("-m pip install")]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path / "a folder" / "checkout")


def test_run_makes_the_environment_once_and_installs_only_what_running_needs(checkout: Checkout) -> None:
    result = checkout.make("run", "PORT=9999")
    assert result.returncode == 0, result.stderr
    assert checkout.asked("-m venv") == ["-m venv --clear .venv"]
    assert checkout.installs() == ["requirements.txt"]
    assert checkout.asked("-m streamlit") == ["-m streamlit run app/streamlit_app.py --server.port 9999"]

    checkout.make("run")
    assert checkout.asked("-m venv") == []
    assert checkout.installs() == []
    assert checkout.asked("-m streamlit") == ["-m streamlit run app/streamlit_app.py --server.port 8501"]


def test_run_listens_beyond_loopback_only_when_it_is_told_so_on_the_command_line(checkout: Checkout) -> None:
    start = "-m streamlit run app/streamlit_app.py --server.port 8501"
    checkout.make("run", HOST="0.0.0.0")  # as tcsh or conda leave one in the environment
    assert checkout.asked("-m streamlit") == [start]
    checkout.make("run", "HOST=192.168.1.5")
    assert [line.strip() for line in checkout.asked("-m streamlit")] == [f"{start} --server.address 192.168.1.5"]
    checkout.make("run", "HOST=0.0.0.0")
    assert checkout.asked("-m streamlit") == [
        f"{start} --server.address 0.0.0.0 --browser.serverAddress {platform.node()}"
    ]


def test_test_installs_everything_and_run_then_needs_nothing_more(checkout: Checkout) -> None:
    assert checkout.make("test").returncode == 0
    assert checkout.installs() == ["requirements-dev.txt"]
    assert checkout.asked("-m pytest") == ["-m pytest -n logical --maxprocesses 2 --dist loadfile -m not slow"]
    for command in ("run", "test-all", "lint"):
        assert checkout.make(command).returncode == 0
        assert checkout.installs() == []


def test_changed_requirements_are_installed_and_touched_ones_are_not(checkout: Checkout) -> None:
    checkout.make("test")
    requirements = checkout.folder / "requirements.txt"
    requirements.touch()
    checkout.make("test")
    assert checkout.installs() == []

    requirements.write_text(requirements.read_text() + "another\n")
    checkout.make("run")
    assert checkout.installs() == ["requirements.txt"]
    checkout.make("test")
    assert checkout.installs() == ["requirements-dev.txt"]


def test_a_moved_checkout_installs_again(checkout: Checkout) -> None:
    checkout.make("run")
    checkout.folder = checkout.folder.rename(checkout.folder.with_name("moved"))
    checkout.log = checkout.folder / "log"
    checkout.make("run")
    assert checkout.installs() == ["requirements.txt"]


@pytest.mark.parametrize("command", ["run", "test"])
def test_a_failed_install_starts_nothing_and_is_tried_again(checkout: Checkout, command: str) -> None:
    checkout.make("test")
    (checkout.folder / "requirements.txt").write_text("another\n")
    assert checkout.make(command, OFFLINE="1").returncode != 0
    assert checkout.asked("-m streamlit") == checkout.asked("-m pytest") == []
    assert [path.name for path in (checkout.folder / ".venv").glob(".*-*")] == []
    assert checkout.make(command).returncode == 0
    assert len(checkout.installs()) == 1


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        (
            {"OLD_PYTHON": "fake"},
            "Dropscope needs Python 3.11 or newer, and none was found: "
            "install one, or name it with PYTHON=/path/to/python3.",
        ),
        (
            {"OLD_PYTHON": "python"},
            "Dropscope needs Python 3.11 or newer, and .venv was made with an older one: "
            "remove .venv and run make again.",
        ),
        (
            {"NO_VENV": "1"},
            "This Python has no venv module: "
            "install it (on Debian and Ubuntu: apt install python3-venv) and run make again.",
        ),
    ],
)
def test_an_unfit_python_is_refused_in_one_sentence(
    checkout: Checkout, environment: dict[str, str], sentence: str
) -> None:
    result = checkout.make("run", **environment)
    assert result.returncode != 0
    lines = [line for line in result.stderr.splitlines() if not line.startswith("make")]
    assert lines == [sentence]
    assert checkout.installs() == []


def test_plain_make_lists_every_command() -> None:
    clean = {"PATH": os.environ["PATH"]}  # under `make test`, MAKELEVEL would make it announce its folder
    listed = subprocess.run(["make"], cwd=ROOT, env=clean, capture_output=True, text=True, timeout=60, check=True)
    commands = {line.split()[1] for line in listed.stdout.splitlines()}
    assert commands == {"help", "run", "test", "test-all", "lint", "bench", "clean"}
