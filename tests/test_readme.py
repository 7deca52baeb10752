"""What README shows works: its Python runs, its commands parse."""

import importlib
import re
import shlex
import shutil
import warnings
from pathlib import Path

import click
import pytest
import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)


SNIPPETS = [code for code in blocks("python") if not code.startswith("# core/")]
FILES = [code for code in blocks("python") if code.startswith("# core/")]
COMMANDS = re.findall(r"^python -m core (.+?)\s*(?:#.*)?$", "\n".join(blocks("sh")), flags=re.MULTILINE)


def test_there_is_something_to_run() -> None:
    assert len(SNIPPETS) >= 3
    assert len(FILES) == 1
    assert COMMANDS


@pytest.mark.parametrize("code", SNIPPETS)
def test_a_snippet_runs(code: str) -> None:
    names: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(compile(code, "README.md", "exec"), names)
    assert isinstance(names["model"], nn.Module)
    for name in ("logits", "loss"):
        if name in names:
            assert torch.as_tensor(names[name]).isfinite().all()


def test_the_new_technique_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "dropout_with_another"
    shutil.copytree(ROOT / "core" / "dropout", package, ignore=shutil.ignore_patterns("__pycache__"))
    place = FILES[0].splitlines()[0].removeprefix("# ")
    assert Path(place).parent == Path("core/dropout")
    (package / Path(place).name).write_text(FILES[0], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    dropout = importlib.import_module(package.name)

    name = Path(place).stem
    assert list(dropout.TECHNIQUES)[-1] == name
    block = dropout.factory(name, spread=2.0)(nn.Linear(8, 50), nn.ReLU(), [], 0.25)
    x = torch.randn(40, 8)
    noisy, clean = block.train()(x), block.eval()(x)
    factors = (noisy / clean)[clean > 0]
    assert 0.5 <= factors.min() < 0.55
    assert 1.45 < factors.max() <= 1.5
    with pytest.raises(ValueError, match=r"spread must be a number from 0 to 2, got 3"):
        dropout.factory(name, spread=3.0)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_one_that_the_program_takes(command: str) -> None:
    from core.__main__ import main

    arguments, at = shlex.split(command), main
    while isinstance(at, click.Group) and arguments:
        at = at.commands[arguments.pop(0)]
    at.make_context("core", arguments)
