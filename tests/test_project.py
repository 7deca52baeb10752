"""The house: what may stand where, what may import what, and that the words about it are true."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
FOLDERS = {"app", "core", "models", "checkpoints", "tests"}
FILES = {
    "CHANGELOG.md",
    "Dockerfile",
    "LICENSE",
    "Makefile",
    "README.md",
    "pyproject.toml",
    "requirements-dev.txt",
    "requirements-ray.txt",
    "requirements.txt",
}


@pytest.fixture(scope="module")
def kept_files() -> list[Path]:
    """Every file that git keeps, or would keep if it were added."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout, so there is no list of kept files")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


def modules(folder: str) -> list[Path]:
    found = sorted((ROOT / folder).rglob("*.py"))
    assert found, f"{folder} holds no Python file"
    return found


def imports(source: str) -> Iterator[tuple[int, str]]:
    """(level, dotted name) of every import, wherever it stands; level counts the dots of a relative one."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield from ((node.level, f"{module}.{alias.name}".strip(".")) for alias in node.names)


def imported(folder: str) -> Iterator[tuple[str, int, str]]:
    for path in modules(folder):
        for level, name in imports(path.read_text(encoding="utf-8")):
            yield str(path.relative_to(ROOT)), level, name


def within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def standard(name: str) -> bool:
    return name.split(".")[0] in sys.stdlib_module_names


def test_imports_are_found_wherever_they_stand() -> None:
    source = "import a.b\ndef f():\n    from c import d\n    from . import e\n    from ..g.h import i\n"
    assert set(imports(source)) == {(0, "a.b"), (0, "c.d"), (1, "e"), (2, "g.h.i")}


def test_core_knows_no_screen() -> None:
    screens = {"streamlit", "plotly", "app"}
    assert [entry for entry in imported("core") if entry[1] == 0 and within(entry[2], screens)] == []


def test_the_dropout_folder_can_be_copied_anywhere() -> None:
    def allowed(path: str, level: int, name: str) -> bool:
        depth = len(Path(path).relative_to("core/dropout").parts)
        # NumPy only where it is used: tests/test_dropout_copy.py.
        return level <= depth if level else within(name, {"torch", "numpy"}) or standard(name)

    assert [entry for entry in imported("core/dropout") if not allowed(*entry)] == []


def test_models_know_only_torch_and_the_dropout_package() -> None:
    def allowed(_path: str, level: int, name: str) -> bool:
        return level == 1 or within(name, {"torch", "core.dropout", "models"}) or standard(name)

    assert [entry for entry in imported("models") if not allowed(*entry)] == []


def test_nothing_in_the_app_hides_a_package() -> None:
    hiding = {"core.py", "models.py", "core", "models", "app", "app.py"}
    assert [path for path in (ROOT / "app").iterdir() if path.name in hiding] == []


def test_the_top_holds_what_the_design_names(kept_files: list[Path]) -> None:
    tops = {path.relative_to(ROOT).parts for path in kept_files}
    folders = {parts[0] for parts in tops if len(parts) > 1 and not parts[0].startswith(".")}
    files = {parts[0] for parts in tops if len(parts) == 1 and not parts[0].startswith(".")}
    assert folders == FOLDERS
    assert files == FILES


def test_no_file_names_a_place_on_somebodys_machine(kept_files: list[Path]) -> None:
    places = re.compile(rb"(?<![\w.~])(?:/(?:work|root)/|/(?:home|Users)/\w|[A-Z]:\\Users\\)")
    hits = [
        f"{path.relative_to(ROOT)}: {found.group().decode()}"
        for path in kept_files
        for found in places.finditer(path.read_bytes())
        if b"\0" not in path.read_bytes()[:1024]
    ]
    assert hits == []


def test_requirements_say_what_the_package_says() -> None:
    package = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = (ROOT / "requirements.txt").read_text(encoding="utf-8").split()
    assert requirements == [*package["dependencies"], "-e", "."]
    extras = package["optional-dependencies"]
    ray = (ROOT / "requirements-ray.txt").read_text(encoding="utf-8").splitlines()
    assert ray == ["-r requirements.txt", *extras["ray"]]
    development = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()
    assert development[:2] == ["-r requirements.txt", "-r requirements-ray.txt"]
    assert {*extras["tensorboard"], *extras["mlflow"]} <= {*development}


def test_readme_and_makefile_name_the_same_commands() -> None:
    told = set(re.findall(r"\bmake ([a-z-]+)", README))
    made = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert told == made - {"help"}


def test_readme_tells_of_every_command() -> None:
    from core.__main__ import main

    def walk(command: click.Command, words: str) -> Iterator[str]:
        if command.hidden:
            return
        if isinstance(command, click.Group):
            for name, inner in command.commands.items():
                yield from walk(inner, f"{words} {name}")
        else:
            yield words

    commands = list(walk(main, "python -m core"))
    assert commands
    assert [words for words in commands if words not in README] == []
    groups = {name for name, command in main.commands.items() if not command.hidden}
    told = set(re.findall(r"python -m core ([a-z]+)", README))
    assert told <= groups


def test_readme_names_every_technique() -> None:
    from core.dropout import TECHNIQUES

    assert [name for name in TECHNIQUES if f"| `{name}` |" not in README] == []
    assert [cls.url for cls in TECHNIQUES.values() if cls.url not in README] == []


def test_readme_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_image_copies_what_exists() -> None:
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert {"core", "models", "checkpoints", "app", "requirements.txt", "pyproject.toml"} <= set(sources)
    assert [source for source in sources if not (ROOT / source).exists()] == []
    let_through = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert [source for source in sources if f"!{source}" not in let_through] == []
