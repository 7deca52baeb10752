"""The choice of an image as a script: the sources, the address, and what comes out of it."""

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

from app import pictures
from app.components.sketch import decoded
from core import checkpoints
from core.data import DataError, load
from core.data.uploads import embedded_digits


def section() -> None:
    import streamlit as st

    from app import pictures
    from core import checkpoints

    st.session_state["picture"] = pictures.choose(checkpoints.load("digits-none"), st.container())


def opened(**values: str) -> AppTest:
    test = AppTest.from_function(section, default_timeout=60)
    for key, value in values.items():
        test.query_params[key] = value
    return test.run()


def picture(test: AppTest) -> pictures.Picture | None:
    assert not test.exception
    return test.session_state["picture"]


def of(dataset: str, shape: tuple[int, int, int], light: float = 0.2, digits: bool = True) -> Any:
    classes = pictures.DIGITS if digits else ("cat", "dog")
    return SimpleNamespace(dataset=dataset, shape=shape, classes=classes, mean=(light,) * shape[0])


def test_it_opens_with_a_test_image_of_the_networks_data_set() -> None:
    shown = picture(opened())
    test, first = load("digits").test, pictures.FIRST_IMAGE
    assert torch.equal(shown.x, test.x[first : first + 1])
    assert shown.label == str(int(test.y[first]))
    assert shown.source == "data"
    assert shown.caption == f"Digits, test image {first}: {shown.label}"


def test_the_buttons_leaf_through_the_images_and_around_their_end() -> None:
    test = opened(image="1")
    last = len(load("digits").test) - 1
    for button, number in (("previous", 0), ("previous", last), ("next", 0), ("next", 1)):
        test.button(key=f"image-{button}").click().run()
        assert test.number_input(key="image").value == number
        assert f" {number}: " in picture(test).caption
    seen = set()
    for _ in range(5):
        test.button(key="image-random").click().run()
        seen.add(picture(test).key)
    assert len(seen) > 1


def test_the_address_names_the_image_and_equal_images_have_equal_keys() -> None:
    a, b, c = (picture(opened(image=number)) for number in ("7", "7", "8"))
    assert a.key == b.key != c.key
    assert torch.equal(a.x, load("digits").test.x[7:8])


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ({"image": "99999"}, "“99999” in the address does not lie between 0 and 358"),
        ({"image": "two"}, "“two” in the address is not a number"),
        ({"from": "Telescope"}, "“Telescope” in the address is no choice of “Image from”"),
        ({"square": "Round"}, "“Round” in the address is no choice of “Longer side”"),
    ],
)
def test_a_wrong_value_in_the_address_is_named_and_falls_back(address: dict[str, str], sentence: str) -> None:
    test = opened(**address)
    assert sentence in test.warning[0].value.replace("\\", "")
    assert picture(test).caption.startswith(f"Digits, test image {pictures.FIRST_IMAGE}")


@pytest.mark.parametrize("source", ["Upload", "Camera", "Draw"])
def test_without_an_image_there_is_no_picture_and_no_error(source: str) -> None:
    test = opened(**{"from": source})
    assert picture(test) is None
    assert not test.error


def test_another_networks_shorter_data_set_does_not_break_the_index(monkeypatch: pytest.MonkeyPatch) -> None:
    test = opened()
    test.number_input(key="image").set_value(350).run()
    whole = pictures.gallery_of(checkpoints.load("digits-none"))
    short = pictures.Gallery(whole.x[:10], whole.labels[:10], "One of ten, number")
    monkeypatch.setattr(pictures, "gallery_of", lambda checkpoint: short)
    test.run()
    shown = picture(test)
    number = int(test.number_input(key="image").value)
    assert number < 10
    assert torch.equal(shown.x, short.x[number : number + 1])


def test_without_data_on_disk_the_images_are_the_embedded_digits(tmp_path: Path) -> None:
    for shape in ((1, 28, 28), (3, 32, 32)):
        for dataset in ("mnist", str(tmp_path / "gone")):
            gallery = pictures.gallery_of(of(dataset, shape))
            assert gallery.title == "Embedded digit"
            assert torch.equal(gallery.x, embedded_digits(shape))
            assert gallery.labels == [str(int(y)) for y in load("digits").test.y]
    # A data set of another shape than the network's is none of its images.
    assert pictures.gallery_of(of("digits", (1, 28, 28))).title == "Embedded digit"


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("http://localhost:8501/explore", True),
        ("http://127.0.0.1:8501", True),
        ("http://[::1]:8501", True),
        ("https://example.org", True),
        ("http://192.168.1.20:8501", False),
        ("http://example.org", False),
        ("http://localhost.example.org", False),
        ("", False),
        (None, False),
    ],
)
def test_the_camera_is_offered_where_browsers_lend_it(url: str | None, allowed: bool) -> None:
    assert pictures.camera_allowed(url) is allowed


def test_where_browsers_give_no_camera_the_page_says_to_upload(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "camera_allowed", lambda url: False)
    test = opened(**{"from": "Camera"})
    assert "upload it" in test.info[0].value
    assert picture(test) is None


@pytest.mark.parametrize(
    "drawing",
    [7, ["x"], "data:image/svg+xml;base64,AA==", "data:image/png;base64,???", "x" * 100, "data:image/png;base64,é"],
)
def test_a_forged_drawing_is_one_sentence(drawing: object) -> None:
    with pytest.raises(DataError, match="clear the sheet and draw again"):
        decoded(drawing)


def test_a_drawing_is_decoded_and_an_empty_sheet_is_none() -> None:
    assert decoded("data:image/png;base64," + base64.b64encode(b"bytes").decode()) == b"bytes"
    assert decoded("") is None
    assert decoded(None) is None


def test_only_networks_of_digits_in_grey_have_their_ink_placed() -> None:
    assert pictures.is_for_digits(of("mnist", (1, 28, 28)))
    assert not pictures.is_for_digits(of("mnist", (3, 28, 28)))
    assert not pictures.is_for_digits(of("pets", (1, 28, 28), digits=False))


def test_what_a_forged_drawing_holds_is_refused_in_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "sketch", lambda key: b"<svg><script>alert(1)</script></svg>")
    test = opened(**{"from": "Draw"})
    assert picture(test) is None
    assert "SVG drawing" in test.error[0].value


def test_every_pixel_becomes_a_square() -> None:
    pixels = torch.arange(12, dtype=torch.uint8).view(2, 2, 3).numpy()
    grown = pictures.large(pixels, 3)
    assert grown.shape == (6, 6, 3)
    assert (grown[:3, 3:] == pixels[0, 1]).all()
    assert pictures.large(pixels[..., :1], 2).shape == (4, 4)


def test_the_data_sets_images_are_never_changed() -> None:
    before = pictures.gallery_of(checkpoints.load("digits-none")).x.clone()
    opened(image="3")
    assert torch.equal(pictures.gallery_of(checkpoints.load("digits-none")).x, before)
