"""replace_dropout on other people's models."""

from __future__ import annotations

import copy
import warnings

import pytest
import torch
import torchvision
from torch import Tensor, nn

from core.dropout import (
    TECHNIQUES,
    DropAct,
    DropConnect,
    DropCorr,
    Gaussian,
    Standard,
    Standout,
    Variational,
    replace_dropout,
)

IN_PLACE = ["standard", "gaussian", "variational", "dropact", "dropinv", "dropcorr"]
WRAPPING = ["dropconnect", "standout"]


class Odd(nn.Module):
    """Dropout nested, shared, in lists and dicts, and reached by attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.25)
        self.again = self.drop
        self.blocks = nn.ModuleList(
            [nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Dropout(0.1 * i)) for i in range(1, 4)]
        )
        self.named = nn.ModuleDict({"a": nn.Sequential(nn.Sequential(nn.Dropout(0.5))), "shared": self.drop})
        self.nothing = None
        self.register_module("empty", None)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.named["a"](self.drop(self.again(x)))


@pytest.fixture(scope="module")
def alexnet() -> nn.Module:
    return torchvision.models.alexnet(weights=None, num_classes=10)


@pytest.mark.parametrize("name", IN_PLACE)
def test_alexnet(alexnet: nn.Module, name: str) -> None:
    positions = [
        n
        for n, m in alexnet.named_modules()
        if type(m).__name__ in ("Dropout", *(t.__name__ for t in TECHNIQUES.values()))
    ]
    assert len(positions) == 2
    weights = dict(alexnet.named_parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert replace_dropout(alexnet, name) is alexnet
    found = {n: m for n, m in alexnet.named_modules() if isinstance(m, TECHNIQUES[name])}
    assert list(found) == positions
    assert [m.p for m in found.values()] == [0.5, 0.5]
    assert not any(type(m) is nn.Dropout for m in alexnet.modules())
    for key, value in weights.items():
        if ".dropout" not in key and key in dict(alexnet.named_parameters()):
            assert dict(alexnet.named_parameters())[key] is value
    for module in found.values():
        module.p = 0.1  # at 0.5 the races' default count can empty a sparse layer, and nothing random is left
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert not torch.equal(alexnet.train()(x), alexnet(x))
        assert torch.equal(alexnet.eval()(x), alexnet(x))
    replace_dropout(alexnet, "none")
    with torch.no_grad():
        assert torch.equal(alexnet.train()(x), alexnet.eval()(x))
    replace_dropout(alexnet, "standard", p=0.5)


@pytest.mark.parametrize("name", IN_PLACE)
def test_nesting_and_sharing_survive(name: str) -> None:
    model = replace_dropout(Odd(), name)
    assert model.again is model.drop
    assert model.named["shared"] is model.drop
    assert isinstance(model.drop, TECHNIQUES[name])
    assert [b[2].p for b in model.blocks] == pytest.approx([0.1, 0.2, 0.3])
    assert isinstance(model.named["a"][0][0], TECHNIQUES[name])
    assert not any(type(m) is nn.Dropout for m in model.modules())
    assert model(torch.randn(4, 8)).shape == (4, 8)
    assert [n for n, _ in model.named_children()] == [n for n, _ in Odd().named_children()]


def test_p_is_kept_or_set_and_options_reach_the_layers() -> None:
    kept = replace_dropout(Odd(), "dropact", rescale="mass", count="active")
    assert kept.drop.p == 0.25
    assert (kept.drop.rescale, kept.drop.count) == ("mass", "active")
    for p in (0.0, 0.7):
        changed = replace_dropout(Odd(), "dropact", p=p)
        assert {m.p for m in changed.modules() if isinstance(m, DropAct)} == {p}


def test_our_techniques_are_swapped_for_one_another() -> None:
    model = Odd()
    for name in (*IN_PLACE, *IN_PLACE[::-1]):
        replace_dropout(model, name)
        swapped = [m for m in model.modules() if isinstance(m, TECHNIQUES[name])]
        assert len(swapped) == 5
        assert model.drop.p == 0.25
    assert not any(isinstance(m, Variational) for m in model.modules())


def test_train_mode_device_and_dtype_of_the_model_are_kept() -> None:
    model = Odd().eval()
    model.blocks[1].train()
    replace_dropout(model, "dropcorr")
    assert not model.drop.training
    assert model.blocks[1][2].training
    replace_dropout(model, "variational")
    assert not model.drop.training
    assert all(q.device.type == "cpu" for q in model.parameters())


def test_channel_and_alpha_variants_are_left_and_reported() -> None:
    model = nn.Sequential(
        nn.Dropout(0.5),
        nn.Dropout1d(0.5),
        nn.Dropout2d(0.5),
        nn.Dropout3d(0.5),
        nn.AlphaDropout(0.5),
        nn.FeatureAlphaDropout(0.5),
    )
    before = list(model)[1:]
    with pytest.warns(UserWarning, match="Dropout2d") as caught:
        replace_dropout(model, "dropinv")
    said = " ".join(str(w.message) for w in caught)
    for name in ("Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout", "FeatureAlphaDropout"):
        assert name in said
    assert list(model)[1:] == before
    assert isinstance(model[0], TECHNIQUES["dropinv"])


def test_a_model_without_dropout_is_left_with_a_warning() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    before = copy.deepcopy(model.state_dict())
    with pytest.warns(UserWarning, match="no nn.Dropout"):
        assert replace_dropout(model, "dropact") is model
    assert [type(m) for m in model] == [nn.Linear, nn.ReLU]
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


@pytest.mark.parametrize("name", WRAPPING)
def test_techniques_that_wrap_a_layer_say_so(name: str) -> None:
    model = Odd()
    with pytest.raises(ValueError, match="wrap the layer"):
        replace_dropout(model, name)
    assert type(model.drop) is nn.Dropout


def test_the_weight_form_says_to_wrap_the_layer() -> None:
    with pytest.raises(ValueError, match="wrap the layer"):
        replace_dropout(Odd(), "variational", form="weight")


def test_our_wrappers_are_undone_first() -> None:
    layers = [nn.Linear(6, 6), nn.Conv2d(1, 1, 1), nn.Linear(6, 6)]
    wrappers: list[nn.Module] = [
        DropConnect(layers[0], 0.5, activation=nn.ReLU()),
        Standout(layers[1], 0.5),
        Variational(layers[2], 0.5, activation=torch.tanh),
    ]
    for layer, wrapper in zip(layers, wrappers, strict=True):
        model = nn.Sequential(wrapper, nn.Dropout(0.5))
        shape = (2, 6) if isinstance(layer, nn.Linear) else (2, 1, 3, 3)
        x = torch.randn(shape)
        clean = layer(x)
        if isinstance(wrapper, DropConnect):
            clean = clean.relu()
        elif isinstance(wrapper, Variational):
            clean = clean.tanh()
        replace_dropout(model, "standard")
        assert not any(isinstance(m, DropConnect | Standout | Variational) for m in model.modules())
        assert {id(q) for q in layer.parameters()} <= {id(q) for q in model.parameters()}
        torch.testing.assert_close(model.eval()(x), clean)
        assert isinstance(model[1], Standard)


def test_a_model_with_only_a_wrapper_gets_it_undone_without_a_false_word() -> None:
    model = nn.Sequential(DropConnect(nn.Linear(4, 4), 0.5), nn.ReLU())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        replace_dropout(model, "dropact")
    assert not any(isinstance(m, DropConnect) for m in model.modules())
    assert not any("nothing was changed" in str(w.message) for w in caught)


def test_a_bare_dropout_is_replaced_by_what_is_returned() -> None:
    new = replace_dropout(nn.Dropout(0.3), "gaussian")
    assert isinstance(new, Gaussian)
    assert new.p == 0.3


@pytest.mark.parametrize(
    ("name", "knobs", "said"),
    [
        ("dropout", {}, "standard"),
        ("dropact", {"rescale": "mas"}, "'mass'"),
        ("dropact", {"size": 3}, "size"),
        ("dropact", {"p": 1.2}, r"1\.2"),
    ],
)
def test_what_is_not_known_is_refused_before_anything_changes(name: str, knobs: dict[str, object], said: str) -> None:
    model = Odd()
    with pytest.raises(ValueError, match=said):
        replace_dropout(model, name, **knobs)  # type: ignore[arg-type]
    assert type(model.drop) is nn.Dropout
    assert all(type(b[2]) is nn.Dropout for b in model.blocks)


def test_weights_load_back_after_a_swap() -> None:
    plain, swapped = Odd(), replace_dropout(Odd(), "dropcorr", refresh_every=5)
    assert plain.state_dict().keys() == swapped.state_dict().keys()
    swapped.load_state_dict(plain.state_dict())


def test_a_swapped_model_trains() -> None:
    model = replace_dropout(Odd(), "dropcorr", p=0.3)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    for _ in range(3):
        optimiser.zero_grad()
        model(torch.randn(16, 8)).square().mean().backward()
        optimiser.step()
    assert all(q.isfinite().all() for q in model.parameters())
    assert isinstance(model.drop, DropCorr)


def test_a_bad_p_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(DropConnect(nn.Linear(3, 3), 0.5, nn.ReLU()), nn.Dropout())
    with pytest.raises(ValueError, match="got 2"):
        replace_dropout(model, "dropact", p=2)
    assert isinstance(model[0], DropConnect)


def test_dropout_inside_attention_is_named() -> None:
    model = nn.TransformerEncoderLayer(8, 2, dropout=0.3)
    with pytest.warns(UserWarning, match="attention weights of MultiheadAttention"):
        replace_dropout(model, "dropact")
    assert model.self_attn.dropout == 0.3
