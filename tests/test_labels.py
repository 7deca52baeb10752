"""Names and tags that people write on runs."""

import csv
import unicodedata
from pathlib import Path

import pytest

from core.__main__ import run as command
from core.runs import RunStore, StoreError, UnknownRunError
from core.runs.labels import LONGEST_NAME, LONGEST_TAG, MOST_TAGS

EVIL = "<img src=x onerror=alert(1)>"


def runs(number: int = 2) -> tuple[RunStore, list[str]]:
    store = RunStore()
    return store, [store.create({"technique": "none", "seed": seed}) for seed in range(number)]


def test_a_name_is_kept_as_text_on_one_line_that_runs_one_way() -> None:
    store, (run, other) = runs()
    store.rename(run, f"  {EVIL}\n\u202egnp.exe\x1b[31m שלום ")
    name = store.get(run).name
    assert name.startswith(EVIL)
    assert name.endswith("gnp.exe שלום")
    assert all(unicodedata.category(letter) not in ("Cc", "Zl", "Zp") for letter in name)
    assert "\u202e" not in name
    assert store.get(other).name == "digits · none · seed 1"


@pytest.mark.parametrize("name", ["", " \n\u202e ", "x" * (LONGEST_NAME + 1)])
def test_a_name_that_cannot_be_shown_changes_nothing(name: str) -> None:
    store, (run, _) = runs()
    with pytest.raises(StoreError, match="name"):
        store.rename(run, name)
    assert store.get(run).name == "digits · none · seed 0"
    store.rename(run, "x" * LONGEST_NAME)
    assert len(store.get(run).name) == LONGEST_NAME


def test_tags_come_and_go_on_all_runs_at_once_in_the_order_they_came() -> None:
    store, ids = runs()
    store.tag(ids, add=["lecture 3", " lecture 3 ,, ", "", EVIL])
    store.tag(ids[:1], add=["best"], remove=["lecture 3", "never there"])
    assert [store.get(run).tags for run in ids] == [(EVIL, "best"), ("lecture 3", EVIL)]


def test_a_tag_too_long_one_too_many_or_an_unknown_run_changes_no_run() -> None:
    store, ids = runs()
    store.tag(ids, add=["kept"])
    with pytest.raises(StoreError, match=f"at most {LONGEST_TAG} characters, and this one has 300"):
        store.tag(ids, add=["fine", "x" * 300])
    with pytest.raises(StoreError, match=f"at most {MOST_TAGS} tags"):
        store.tag(ids, add=[str(number) for number in range(MOST_TAGS)])
    with pytest.raises(UnknownRunError):
        store.tag([*ids, "gone"], add=["fine"])
    assert [store.get(run).tags for run in ids] == [("kept",), ("kept",)]


def test_a_name_that_is_a_formula_is_text_in_what_the_command_line_exports(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store, (run, _) = runs()
    store.rename(run, '=HYPERLINK("http://evil.example";"x")')
    store.record(run, [{"kind": "epoch", "step": 1, "epoch": 1.0, "loss": -0.5}])
    target = tmp_path / "runs.csv"
    assert command(["runs", "export", "--csv", str(target)]) == 0
    assert command(["runs", "export"]) == 0
    for text in (target.read_text(), capsys.readouterr().out):
        (row,) = csv.DictReader(text.splitlines())
        assert row["name"] == '\'=HYPERLINK("http://evil.example";"x")'
        assert float(row["loss"]) == -0.5
