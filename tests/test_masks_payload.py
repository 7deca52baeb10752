"""What the browser receives is what the layers do: the bytes, read as JavaScript reads them, against plain forwards."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from app.components import masks as component
from app.components.masks import pack
from app.components.packing import Body
from core.checkpoints import Checkpoint, load
from core.data import load as load_data
from core.dropout import TECHNIQUES, DropConnect, dropouts, factory, set_p
from core.inspection import field, keep_frequency
from core.inspection.fields import FINE

START = {"p": 0.2, "draw": 0, "unit": -1}
DRAWS = 4
TYPES = {"u1": np.uint8, "f2": np.float16, "f4": np.float32}


@pytest.fixture(scope="module")
def net() -> Checkpoint:
    return load("digits-none")


@pytest.fixture(scope="module")
def x(net: Checkpoint) -> Tensor:
    return net.normalise(load_data("digits").test.x[5:6])


def packed(net: Checkpoint, x: Tensor, names: list[str], position: int = 1, **more: Any) -> bytes:
    fields = [field(net.model(name), x, position, draws=DRAWS, seed=0) for name in names]
    kept = {name: keep_frequency(net.model(name), x, position, draws=50, grid=FINE) for name in names}
    return pack(
        fields, {name: share for name, share in kept.items() if share is not None}, layer="Hidden 2",
        classes=net.classes, frequency_draws=50, start=START, **more,
    )  # fmt: skip


def read(payload: bytes) -> dict[str, Any]:
    """Header and arrays, by the format alone."""
    (length,) = struct.unpack_from("<I", payload)
    header: dict[str, Any] = json.loads(payload[4 : 4 + length])
    for part in header["techniques"]:
        for name, place in part["arrays"].items():
            start = 4 + length + place["offset"]
            assert start % TYPES[place["type"]]().itemsize == 0, "JavaScript refuses arrays that are not aligned"
            size = int(np.prod(place["shape"]))
            part[name] = np.frombuffer(payload, TYPES[place["type"]], size, start).reshape(place["shape"])
    return header


def forward(net: Checkpoint, x: Tensor, name: str, p: float, position: int = 1) -> tuple[Tensor, Tensor]:
    """What the layer puts out for the image repeated, and the answers, when it alone is in training."""
    model = net.model(name)
    set_p(model, 0.0)
    layer = dropouts(model)[position]
    if isinstance(layer, DropConnect):
        layer.mask = "example"
    layer.turn_to(p)
    layer.train()
    out: list[Tensor] = []
    layer.register_forward_hook(lambda _, inputs, output: out.append(output))
    torch.manual_seed(0)
    with torch.no_grad():
        logits = model(x.expand(DRAWS, *x.shape[1:]))
    return out[0], logits.softmax(1)


@pytest.mark.parametrize("name", list(TECHNIQUES))
def test_the_bytes_give_the_layers_own_forward_at_every_p(net: Checkpoint, x: Tensor, name: str) -> None:
    header = read(packed(net, x, [name]))
    (part,) = header["techniques"]
    assert header["grid"] == list(FINE)
    for step, p in enumerate(header["grid"]):
        y, probabilities = forward(net, x, name, p)
        np.testing.assert_allclose(part["answers"][:, step], probabilities, rtol=1e-3, atol=1e-4)
        if "output" in part:
            np.testing.assert_allclose(part["output"][:, step], y, rtol=2e-3, atol=2e-3)
            continue
        factor = part["factor"][:, step]
        shown = part["activation"] * (factor if factor.ndim == 2 else factor[:, None]).astype(np.float32)
        if "falls" in part:
            shown = np.where(part["falls"] <= step, 0, shown)
        np.testing.assert_allclose(shown, y, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("name", [name for name, cls in TECHNIQUES.items() if cls.drops == "units"])
def test_score_against_threshold_says_what_falls_as_it_is_received(net: Checkpoint, x: Tensor, name: str) -> None:
    (part,) = read(packed(net, x, [name]))["techniques"]
    sign = {"<": np.less, "≤": np.less_equal, "≥": np.greater_equal}[part["falls_when"]]
    for step in range(1, len(FINE) - 1):
        cut = part["threshold"][step] if part["threshold_of"] == "units" else part["threshold"][:, step, None]
        near = np.isclose(part["score"], cut, rtol=1e-5, atol=0)
        assert (near | (sign(part["score"], cut) == (part["falls"] <= step))).all()
        assert near.mean() < 0.2, "few units lie at the threshold"


def test_arrays_are_aligned_whatever_their_lengths() -> None:
    body = Body()
    arrays = {
        "odd": torch.tensor([1, 2, 3], dtype=torch.uint8),
        "wide": torch.tensor([4.0, 5.0]),
        "half": torch.ones(1).half(),
    }
    for word in ("", "ab", "abcde"):
        header = read(body.behind({"word": word, "techniques": [{"arrays": body.add(arrays)}]}))
        assert {name: header["techniques"][0][name].tolist() for name in arrays} == {
            "odd": [1, 2, 3], "wide": [4.0, 5.0], "half": [1.0],
        }  # fmt: skip


def test_the_header_says_what_the_techniques_say(net: Checkpoint, x: Tensor) -> None:
    header = read(packed(net, x, list(TECHNIQUES), onward=True))
    assert [part["name"] for part in header["techniques"]] == list(TECHNIQUES)
    for part in header["techniques"]:
        cls = TECHNIQUES[part["name"]]
        assert (part["title"], part["drops"], part["worked"]) == (cls.title, cls.drops, cls.worked)
        assert ("kept" in part) == (cls.drops == "units")
        assert ("weight" in part) == (cls.drops == "weights")
    assert [part["name"] for part in header["techniques"] if part["keeps"]] == ["standout"]
    assert header["classes"] == list(net.classes)
    assert header["onward"] is True
    assert (header["draws"], header["start"]) == (DRAWS, START)
    assert len(header["band"]) == len(header["grid"])


@pytest.mark.parametrize("name", ["standard", "dropact", "standout"])
@pytest.mark.parametrize("units", [2, len(FINE)])
def test_a_threshold_is_of_draws_or_units_whatever_their_number(name: str, units: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(factory(name)(nn.Linear(4, units), nn.ReLU(), (), 0.5), nn.Linear(units, 3))
    shown = field(model, torch.randn(1, 4), 0, draws=DRAWS)
    payload = pack([shown], {}, layer="", classes=("a", "b", "c"), frequency_draws=50, start=START)
    (part,) = read(payload)["techniques"]
    assert part["keeps"] == (name == "standout")
    assert part["threshold_of"] == ("units" if name == "standout" else "draws")
    assert part["threshold"].shape == ((len(FINE), units) if name == "standout" else (DRAWS, len(FINE)))


def test_what_is_kept_of_a_field_is_no_larger_than_what_it_tells(net: Checkpoint, x: Tensor) -> None:
    for name in TECHNIQUES:
        shown = field(net.model(name), x, 1, draws=DRAWS)
        for key, value in vars(shown).items():
            if isinstance(value, Tensor):
                assert value.untyped_storage().nbytes() <= max(value.nbytes, x.nbytes), (name, key)


def test_confidence_is_mean_and_middle_of_the_draws(net: Checkpoint, x: Tensor) -> None:
    (part,) = read(packed(net, x, ["standard"]))["techniques"]
    best = part["answers"][0, 0].argmax()
    of_best = part["answers"][:, :, best]
    np.testing.assert_allclose(part["confidence"][:, 0], of_best.mean(0), rtol=1e-5)
    np.testing.assert_allclose(part["confidence"][:, 1:].T, np.quantile(of_best, [0.1, 0.9], 0), rtol=1e-4, atol=1e-6)


def test_a_large_weight_matrix_goes_as_a_density_with_one_row(
    net: Checkpoint, x: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = read(packed(net, x, ["dropconnect"]))["techniques"][0]
    monkeypatch.setattr(component, "MOST_WEIGHTS", 1000)
    part = read(packed(net, x, ["dropconnect"], unit=17))["techniques"][0]
    assert "falls" not in part
    assert "weight" not in part
    falls = full["falls"].reshape(DRAWS, 128, 128)
    np.testing.assert_array_equal(part["row_falls"], falls[:, 17])
    np.testing.assert_array_equal(part["row_weight"], full["weight"][17])
    # 128 × 128 weights in 64 × 64 blocks of four.
    wanted = (falls <= 30).reshape(DRAWS, 64, 2, 64, 2).mean((2, 4))
    np.testing.assert_allclose(part["density"][:, 30] / 255, wanted, atol=0.5 / 255)
    assert part["weights"] == 128 * 128
    beyond = read(packed(net, x, ["dropconnect"], unit=9999))["techniques"][0]
    assert beyond["row_unit"] == 127
    np.testing.assert_array_equal(beyond["row_weight"], full["weight"][127])


def test_options_change_what_is_sent(net: Checkpoint, x: Tensor) -> None:
    plain, scaled = (
        field(net.model("dropact", count="active", **more), x, 1, draws=DRAWS, seed=0)
        for more in ({}, {"rescale": "unbiased"})
    )
    assert plain.factor.dim() == 2
    assert scaled.factor.dim() == 3
    payload = pack([scaled], {}, layer="", classes=net.classes, frequency_draws=50, start=START)
    (part,) = read(payload)["techniques"]
    assert part["factor"].shape == (DRAWS, len(FINE), 128)
