"""Data sets: what is read is what lies there, the splits are fixed, and every defect is named in a sentence."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from core.data import DATASETS, DataError, load
from core.data import sets as data
from core.data.splits import stratified_test_split, validation_split
from core.home import HomeError, data_folder, home
from tests.data_checks import check_contract, rows, splits

PROJECT = Path(__file__).parents[1]


def test_home_is_made_when_needed_and_the_data_folder_is_not(dropscope_home: Path) -> None:
    assert data_folder() == dropscope_home / "data"
    assert not dropscope_home.exists()
    assert home() == dropscope_home
    assert dropscope_home.is_dir()


def test_home_defaults_to_the_users_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("DROPSCOPE_HOME")
    assert home() == tmp_path / ".dropscope"
    monkeypatch.setenv("DROPSCOPE_DATA", "~/elsewhere")
    assert data_folder() == tmp_path / "elsewhere"


def test_a_home_that_cannot_be_made_says_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DROPSCOPE_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(
        HomeError, match=r"file/home cannot be made \(Not a directory\); set DROPSCOPE_HOME to a folder"
    ):
        home()


def test_the_test_split_takes_a_fifth_of_every_class_and_is_fixed() -> None:
    labels = torch.tensor([0] * 50 + [1] * 7 + [2] * 2 + [3])[torch.randperm(60)]
    train, test = stratified_test_split(labels)
    assert torch.equal(torch.cat([train, test]).sort().values, torch.arange(60))
    assert torch.equal(labels[test].bincount(minlength=4), torch.tensor([10, 1, 1, 0]))
    torch.manual_seed(99)
    np.random.seed(99)
    assert torch.equal(stratified_test_split(labels)[1], test)


def test_the_validation_split_is_five_percent_and_fixed() -> None:
    train, held = validation_split(1000)
    assert len(held) == 50
    assert torch.equal(torch.cat([train, held]).sort().values, torch.arange(1000))
    # Written down, so that no version of a library moves an image from training to validation unseen.
    assert held[:5].tolist() == [10, 26, 38, 39, 61]
    assert [len(part) for part in validation_split(2)] == [1, 1]


def test_digits_are_scikit_learns_in_256_steps() -> None:
    from sklearn.datasets import load_digits

    digits = load("digits")
    check_contract(digits)
    assert (digits.name, digits.title, digits.shape) == ("digits", "Digits", (1, 8, 8))
    assert digits.classes == tuple("0123456789")
    assert [len(split) for split in splits(digits)] == [1366, 72, 359]
    bunch = load_digits()
    ink = np.round(bunch.images * 255 / 16).astype(np.uint8)
    original = sorted((x.tobytes(), int(y)) for x, y in zip(ink, bunch.target, strict=True))
    assert sorted(row for split in splits(digits) for row in rows(split)) == original
    assert torch.equal(digits.test.y.bincount(), torch.tensor([36, 36, 35, 37, 36, 36, 36, 36, 35, 36]))


def test_digits_without_their_file_come_from_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = load("digits")
    monkeypatch.setattr(data, "find_spec", lambda name: None)
    for one, other in zip(splits(usual), splits(load("digits")), strict=True):
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.y, other.y)


def test_reading_digits_imports_no_slow_package() -> None:
    script = (
        "import sys; from core.data import load; load('digits'); print({'sklearn', 'torchvision'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_registered_data_sets_describe_themselves() -> None:
    assert list(DATASETS) == ["digits", "mnist", "cifar10"]
    assert [info.shape for info in DATASETS.values()] == [(1, 8, 8), (1, 28, 28), (3, 32, 32)]
    assert [info.available() for info in DATASETS.values()] == [True, False, False]
    for name, info in DATASETS.items():
        assert (info.name, info.classes) == (name, 10)
        assert info.hint
        assert info.title


@pytest.mark.parametrize("name", ["mnits", "", "no/such/folder", "bad\0name"])
def test_an_unknown_name_lists_the_choices(name: str) -> None:
    with pytest.raises(DataError) as caught:
        load(name)
    assert str(caught.value) == (
        f"There is no data set {name!r} and no folder of that name; choose digits, mnist, cifar10 or the path of a "
        "folder that holds one folder of images a class."
    )


def test_to_moves_every_split() -> None:
    digits = load("digits").to("meta")
    assert {tensor.device.type for split in splits(digits) for tensor in (split.x, split.y)} == {"meta"}
    assert digits.title == "Digits"
