"""The Paper page as a script: what it says of given runs, and what it says without any."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core.reproduce import results
from tests.reproduction import made_up, write
from tests.test_app import html, opened


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of the CSV files, empty."""
    monkeypatch.setattr(results, "FOLDER", tmp_path / "paper")
    return tmp_path / "paper"


def paper() -> AppTest:
    test = opened("paper")
    assert not test.exception
    assert not test.error
    return test


def test_without_runs_the_page_says_the_commands(folder: Path) -> None:
    test = paper()
    assert [code.value for code in test.code][:2] == [
        "python -m core reproduce mnist",
        "python -m core reproduce cifar10",
    ]
    assert "not run here yet" in html(test)


def test_with_runs_it_tells_each_claim(folder: Path) -> None:
    write(folder / "mnist.csv", made_up())
    test = paper()
    assert "cannot be told" in html(test)
