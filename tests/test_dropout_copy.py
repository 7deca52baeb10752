"""The folder core/dropout, copied under another name with nothing but torch beside it: the laws still hold."""

from __future__ import annotations

import ast
import importlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

import core.dropout
from tests.test_dropout_laws import (  # noqa: F401  (collected here too, with this module's package)
    test_a_bad_p_is_refused_at_construction_and_assignment,
    test_evaluation_returns_the_input_itself,
    test_exactly_k_units_fall,
    test_gradients_reach_every_parameter_and_the_input,
    test_output_has_the_shape_and_dtype_of_the_clean_one,
    test_state_dict_holds_the_layer_and_the_learned_noise_alone,
)

SOURCE = Path(core.dropout.__file__).parent


def copied(folder: Path) -> Path:
    target = folder / "borrowed_noise"
    shutil.copytree(SOURCE, target, ignore=shutil.ignore_patterns("__pycache__"))
    return target


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    folder = tmp_path_factory.mktemp("elsewhere")
    copied(folder)
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("borrowed_noise")
    finally:
        sys.path.remove(str(folder))
        for name in [n for n in sys.modules if n.partition(".")[0] == "borrowed_noise"]:
            del sys.modules[name]


def test_the_copy_is_a_package_of_its_own(package: ModuleType) -> None:
    assert list(package.TECHNIQUES) == list(core.dropout.TECHNIQUES)
    for name, technique in package.TECHNIQUES.items():
        assert technique.__module__.startswith("borrowed_noise.")
        assert technique is not core.dropout.TECHNIQUES[name]
    model = package.replace_dropout(torch.nn.Sequential(torch.nn.Dropout(0.3)), "dropact")
    assert isinstance(model[0], package.DropAct)


def test_the_folder_imports_torch_and_the_standard_library_alone_and_numpy_where_it_is_used() -> None:
    for file in SOURCE.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = ["torch"] if node.level else [node.module or ""]
            allowed = {"torch", *sys.stdlib_module_names} | ({"numpy"} if node not in tree.body else set())
            for name in names:
                assert name.partition(".")[0] in allowed, f"{file.name} imports {name}"


def test_the_copy_runs_where_the_project_is_not(tmp_path: Path) -> None:
    copied(tmp_path)
    code = """
import sys, torch
import borrowed_noise as d
assert not [n for n in sys.modules if n.partition('.')[0] in ('core', 'app', 'models', 'streamlit', 'numpy.core._')]
x = torch.rand(4, 10) + 1
assert (d.DropAct(0.3)(x) == 0).sum(1).tolist() == [3] * 4
print(*d.TECHNIQUES)
"""
    run = subprocess.run(
        [sys.executable, "-P", "-c", "import sys; sys.path.insert(0, '.')\n" + code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == list(core.dropout.TECHNIQUES)
