"""Folders of images: read as they lie there, in one size and colours; what cannot be used is named in a sentence."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core.data import DataError, image_cache, image_files, image_folders, load, standard_sets
from core.home import home
from tests.data_checks import check_contract, rows, splits


def save(path: Path, colour: int | tuple[int, ...], size: tuple[int, int] = (8, 8), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Ten images a class; an image's red tells its class, its green its number."""
    folder = tmp_path / "fruit"
    for label, name in enumerate(("apple", "banana", "cherry")):
        for i in range(10):
            save(folder / name / f"{i}.png", (50 * label, i, 7), (8, 6))
    return folder


def test_class_folders_become_a_data_set_with_a_fixed_test_split(flat: Path) -> None:
    fruit = load(str(flat))
    check_contract(fruit)
    assert (fruit.name, fruit.title, fruit.shape) == (str(flat), "fruit", (3, 6, 8))
    assert fruit.classes == ("apple", "banana", "cherry")
    assert [len(split) for split in splits(fruit)] == [23, 1, 6]
    assert fruit.test.y.bincount().tolist() == [2, 2, 2]
    for split in splits(fruit):
        assert torch.equal(split.x[:, 0, 0, 0], (50 * split.y).to(torch.uint8))
    # All thirty images are there once: by class and number.
    seen = {(int(y), int(x[1, 0, 0])) for split in splits(fruit) for x, y in zip(split.x, split.y, strict=True)}
    assert seen == {(label, i) for label in range(3) for i in range(10)}
    assert fruit.note == "There is no test folder, so a fixed 20 % of every class are the test images."
    assert rows(load(fruit.name).test) == rows(fruit.test)


def test_train_and_test_folders_are_kept(tmp_path: Path) -> None:
    for part, count in (("train", 5), ("test", 2)):
        for label, name in enumerate(("a", "b")):
            for i in range(count):
                save(tmp_path / part / name / f"{i}.png", 100 * label + i, mode="L")
    found = load(tmp_path)
    check_contract(found)
    assert found.shape == (1, 8, 8)
    assert [len(split) for split in splits(found)] == [9, 1, 4]
    assert found.test.x[:, 0, 0, 0].tolist() == [0, 1, 100, 101]
    assert found.test.y.tolist() == [0, 0, 1, 1]
    assert found.note == ""


@pytest.mark.parametrize(("suffix", "title"), [("jpg", "CIFAR-10 (JPEG)"), ("png", "pictures")])
def test_jpegs_of_cifar10s_classes_are_labelled_as_such(tmp_path: Path, suffix: str, title: str) -> None:
    for name in standard_sets.CIFAR10_CLASSES:
        for i in range(2):
            save(tmp_path / "pictures" / name / f"{i}.{suffix}", (i, 0, 0))
    assert load(tmp_path / "pictures").title == title


def test_images_of_different_sizes_become_squares_of_the_most_common(flat: Path) -> None:
    # Wide: black at both ends, which the central square leaves out.
    wide = Image.new("RGB", (40, 12), "black")
    wide.paste((200, 9, 9), (12, 0, 28, 12))
    wide.save(flat / "apple" / "0.png")
    fruit = load(flat)
    assert fruit.shape == (3, 6, 6)
    assert fruit.note.startswith(
        "The images had 2 different sizes; each was cropped to its central square and resized to 6×6. "
    )
    everything = torch.cat([split.x for split in splits(fruit)])
    assert everything[everything[:, 0, 0, 0] == 200].float().mean((0, 2, 3)).tolist() == [200, 9, 9]


def test_large_images_are_reduced(tmp_path: Path) -> None:
    for name in "ab":
        for i in range(2):
            save(tmp_path / name / f"{i}.png", (9, 9, 9), (300, 200))
    found = load(tmp_path)
    assert found.shape == (3, 128, 128)
    assert found.note.startswith("The images had a large size; each was cropped to its central square and resized to")


def test_large_jpegs_read_by_threads_keep_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_folders, "_BYTES_WORTH_THREADS", 0)
    for label, name in enumerate("ab"):
        for i in range(20):
            save(tmp_path / "train" / name / f"{i:02}.jpg", (120 * label + 5 * i,) * 3, (600, 600))
        save(tmp_path / "test" / name / "0.jpg", (0, 0, 0), (600, 600))
    found = load(tmp_path)
    for split in (found.train, found.validation):
        grey = split.x[:, 0].float().mean((1, 2)) / 5
        assert torch.equal((grey >= 24).long(), split.y)
    together = torch.cat([found.train.x, found.validation.x])[:, 0].float().mean((1, 2))
    assert (together / 5).round().sort().values.tolist() == [*range(20), *range(24, 44)]


def pixel(tmp_path: Path, image: Image.Image, grey: bool) -> list[int]:
    image.save(tmp_path / "one.png")
    assert image_files.look(str(tmp_path / "one.png")).grey == grey
    return image_files.pixels(str(tmp_path / "one.png"), 1, 1, grey)[0, 0].tolist()


def test_every_kind_of_image_becomes_8_bits(tmp_path: Path) -> None:
    sixteen = Image.fromarray(np.full((1, 1), 0xABCD, np.uint16))
    assert sixteen.mode == "I;16"
    assert pixel(tmp_path, sixteen, grey=True) == [round(0xABCD / 257)]
    assert pixel(tmp_path, Image.new("1", (1, 1), 1), grey=True) == [255]
    assert pixel(tmp_path, Image.new("LA", (1, 1), (0, 51)), grey=True) == [204]
    assert pixel(tmp_path, Image.new("RGBA", (1, 1), (0, 255, 100, 0)), grey=False) == [255, 255, 255]
    assert pixel(tmp_path, Image.new("RGBA", (1, 1), (0, 255, 100, 255)), grey=False) == [0, 255, 100]
    palette = Image.new("P", (1, 1), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert pixel(tmp_path, palette, grey=False) == [10, 20, 30]
    palette.info["transparency"] = 1
    assert pixel(tmp_path, palette, grey=False) == [255, 255, 255]


def test_grey_and_coloured_images_together_are_coloured(flat: Path) -> None:
    save(flat / "apple" / "grey.png", 77, (8, 6), "L")
    everything = torch.cat([split.x for split in splits(load(flat))])
    assert any(x[:, 0, 0].tolist() == [77, 77, 77] for x in everything)


def test_transparent_images_are_put_on_white_and_noted(flat: Path) -> None:
    save(flat / "apple" / "clear.png", (1, 2, 3, 0), (8, 6), "RGBA")
    fruit = load(flat)
    assert fruit.note.startswith("1 transparent image put on white.")
    assert any(x.min() == 255 for split in splits(fruit) for x in split.x)


def test_photographs_are_turned_as_their_camera_says(tmp_path: Path) -> None:
    image = Image.new("L", (4, 2), 0)
    image.paste(255, (0, 0, 2, 2))
    exif = Image.Exif()
    exif[0x0112] = 6  # the top is at the right
    path = str(tmp_path / "turned.png")
    image.save(path, exif=exif)
    assert image_files.look(path)[:2] == (2, 4)
    assert image_files.pixels(path, 2, 4, True)[:, :, 0].tolist() == [[255, 255]] * 2 + [[0, 0]] * 2


def test_other_files_and_hidden_folders_are_left_out(flat: Path) -> None:
    (flat / "apple" / "notes.txt").write_text("ripe")
    (flat / "apple" / ".hidden.png").write_text("")
    (flat / ".cache").mkdir()
    (flat / "__MACOSX").mkdir()
    (flat / "README.md").write_text("")
    fruit = load(flat)
    assert fruit.classes == ("apple", "banana", "cherry")
    assert fruit.note.endswith("1 file in the class folders left out for not being images.")


def failure(folder: Path) -> str:
    with pytest.raises(DataError) as caught:
        load(folder)
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_an_empty_folder_says_what_belongs_in_it(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert failure(tmp_path / "empty") == (
        f"{tmp_path / 'empty'} holds no class folders where at least two are needed; a data folder holds one folder of "
        "images a class, or such folders inside `train` and `test`."
    )


def test_one_class_is_not_enough(flat: Path, tmp_path: Path) -> None:
    save(tmp_path / "single" / "cat" / "0.png", (0, 0, 0))
    assert failure(tmp_path / "single").startswith(
        f"{tmp_path / 'single'} holds only one class folder, cat, where at least two are needed; a data folder holds"
    )
    outer = tmp_path / "outer"
    outer.mkdir()
    flat.rename(outer / "fruit")
    assert f"where at least two are needed (did you mean {outer / 'fruit'}?);" in failure(outer)


def test_a_class_without_enough_images_is_named(flat: Path) -> None:
    (flat / "date").mkdir()
    assert failure(flat).startswith(f"{flat / 'date'} holds 0 images where at least 2 are needed; add some or remove")
    save(flat / "date" / "0.png", (0, 0, 0))
    assert failure(flat).startswith(f"{flat / 'date'} holds 1 image where at least 2 are needed; add some or remove")


def test_train_and_test_must_hold_the_same_classes(tmp_path: Path) -> None:
    for place in ("train/a", "train/b", "train/c", "test/a", "test/b", "test/d"):
        save(tmp_path / place / "0.png", (0, 0, 0))
    assert failure(tmp_path) == (
        f"{tmp_path}/train and {tmp_path}/test do not hold the same class folders (c, d only in one of them); give "
        "both the same."
    )


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "webp", "tif", "bmp"])
def test_a_truncated_image_is_named(flat: Path, suffix: str) -> None:
    file = flat / "banana" / f"cut.{suffix}"
    noise = np.random.RandomState(0).randint(0, 256, (6, 8, 3)).astype(np.uint8)
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    sentence = failure(flat)
    assert sentence.startswith(f"{file} ")
    assert sentence.endswith("; delete or replace it.")


def test_a_text_file_named_png_is_named(flat: Path) -> None:
    file = flat / "banana" / "5.png"
    file.write_text("not a picture")
    assert failure(flat) == f"{file} is not an image, whatever its name says; delete or replace it."


def test_an_image_of_floating_point_pixels_is_named(flat: Path) -> None:
    file = flat / "banana" / "heights.tif"
    Image.new("F", (8, 6), 0.5).save(file)
    assert failure(flat) == (
        f"{file} cannot be read as an image (it has floating-point pixels; save it with 8 or 16 bits); delete or "
        "replace it."
    )


def test_an_image_of_too_many_pixels_is_named(flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = flat / "cherry" / "bomb.png"
    save(file, 0, (8000, 8000), "1")
    expected = f"{file} has more than 50 million pixels; make it smaller or delete it."
    assert failure(flat) == expected
    # Pillow's own limit, below ours: its warning counts as an error too.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40_000_000)
    monkeypatch.setattr(image_files, "MAX_PIXELS", 10**9)
    assert failure(flat).startswith(f"{file} has more than ")


def test_a_folder_larger_than_memory_is_refused_before_it_is_read(flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_folders, "MAX_BYTES", 30 * 3 * 8 * 6 - 1)
    assert "(30 images of 8×6 pixels), more than the" in failure(flat)
    monkeypatch.setattr(image_folders, "MAX_BYTES", 30 * 3 * 8 * 6)
    assert len(load(flat).test) == 6


@contextmanager
def without_permission(path: Path) -> Iterator[None]:
    """``path`` closed to this process; root passes every closed door, so it becomes somebody else meanwhile."""
    path.chmod(0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        path.chmod(0o755)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="closed folders are made with POSIX permissions")
def test_a_folder_without_permission_is_named(flat: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    for place in (flat / "banana", flat):
        parents = [parent for parent in place.parents if parent.stat().st_mode & 0o777 == 0o700]
        for parent in parents:
            parent.chmod(0o755)
        with without_permission(place):
            sentence = failure(flat)
        assert sentence == (
            f"The folder {place} cannot be read (Permission denied); make it readable or choose another."
        )


def test_a_file_is_not_a_folder(tmp_path: Path) -> None:
    (tmp_path / "data.zip").write_text("")
    assert failure(tmp_path / "data.zip").startswith(f"{tmp_path / 'data.zip'} is a file, not a folder; give the path")


@pytest.fixture
def kept(flat: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of as few images as are kept."""
    monkeypatch.setattr(image_cache, "LEAST_IMAGES", 30)
    return flat


def cache_files() -> list[Path]:
    return sorted((home() / "data" / "cache").glob("*"))


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every path that is decoded from now on."""
    seen: list[str] = []
    original = image_files.pixels

    def counted(path: str, *args: object) -> np.ndarray:
        seen.append(path)
        return original(path, *args)

    monkeypatch.setattr(image_folders, "pixels", counted)
    return seen


def test_a_folder_read_before_is_not_decoded_again(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(kept / "apple" / "0.png", (1, 1, 1), (9, 9))
    decoded = reads(monkeypatch)
    first = load(kept)
    assert len(decoded) == 30
    again = load(kept)
    assert len(decoded) == 30
    assert len(cache_files()) == 1
    assert again.note == first.note
    for one, other in zip(splits(first), splits(again), strict=True):
        assert rows(one) == rows(other)


@pytest.mark.parametrize("change", ["content", "name", "class"])
def test_a_changed_folder_is_read_anew_and_the_old_images_go(
    kept: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(kept)
    file = kept / "apple" / "3.png"
    facts = file.stat()
    if change == "content":
        save(file, (201, 202, 203), (8, 6))
        # The same size and another time, as a copy of another picture has.
        os.utime(file, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
    elif change == "name":
        file.rename(file.with_name("33.png"))
    else:
        file.rename(kept / "banana" / "33.png")
    decoded = reads(monkeypatch)
    load(kept)
    assert len(decoded) == 30
    assert len(cache_files()) == 1


def test_a_damaged_cache_is_read_anew(kept: Path) -> None:
    first = load(kept)
    (file,) = cache_files()
    for content in (b"", b"nonsense", file.read_bytes()[:-5]):
        file.write_bytes(content)
        assert rows(load(kept).test) == rows(first.test)


def test_without_room_for_a_cache_the_images_still_load(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image_cache, "save_file", full)
    assert len(load(kept).test) == 6
    assert cache_files() == []
    monkeypatch.setenv("DROPSCOPE_HOME", str(kept / "apple" / "0.png" / "home"))
    assert len(load(kept).test) == 6


def test_few_images_are_not_kept(flat: Path) -> None:
    load(flat)
    assert cache_files() == []
