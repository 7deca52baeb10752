"""The networks: the paper's sizes, equal starts for every technique, dropout where the paper writes it."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import nn

from core.dropout import TECHNIQUES, dropouts, factory, noise_parameters
from models import NETWORKS, build, network_for

PAPER_SIZES = {"digits": 88_266, "mnist": 7_288_810, "cifar10": 880_810}
EVERY_TECHNIQUE = ("none", *TECHNIQUES)


class Seats:
    """A factory that adds no noise and keeps what it was handed."""

    def __init__(self) -> None:
        self.handed: list[tuple[nn.Module, nn.Module, list[nn.Module], float]] = []

    def __call__(self, layer: nn.Module, activation: nn.Module, after: Sequence[nn.Module], p: float) -> nn.Module:
        self.handed.append((layer, activation, list(after), p))
        return nn.Sequential(layer, activation, *after)


@pytest.mark.parametrize("technique", EVERY_TECHNIQUE)
@pytest.mark.parametrize("name", NETWORKS)
def test_full_width_has_the_papers_number_of_parameters(name: str, technique: str) -> None:
    model = build(name, factory(technique))
    noise = sum(p.numel() for p in noise_parameters(model))
    assert sum(p.numel() for p in model.parameters()) - noise == PAPER_SIZES[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_equal_seeds_give_equal_weights_under_every_technique(name: str) -> None:
    def made(technique: str) -> nn.Module:
        torch.manual_seed(3)
        return build(name, factory(technique), width=0.25)

    plain = made("none").state_dict()
    for technique in TECHNIQUES:
        model = made(technique)
        noise = {id(p) for p in noise_parameters(model)}
        noise_keys = {key for key, value in model.state_dict(keep_vars=True).items() if id(value) in noise}
        state = {key: value for key, value in model.state_dict().items() if key not in noise_keys}
        assert state.keys() == plain.keys(), technique
        for key, value in state.items():
            torch.testing.assert_close(value, plain[key], rtol=0, atol=0, msg=f"{technique}: {key}")


def test_a_technique_that_draws_when_it_is_made_leaves_the_weights_alone() -> None:
    def drawing(layer: nn.Module, activation: nn.Module, after: Sequence[nn.Module], p: float) -> nn.Module:
        torch.rand(7)
        return nn.Sequential(layer, activation, *after)

    for name in NETWORKS:
        torch.manual_seed(5)
        quiet = build(name, Seats(), width=0.1)
        torch.manual_seed(5)
        loud = build(name, drawing, width=0.1)
        for one, other in zip(quiet.parameters(), loud.parameters(), strict=True):
            assert torch.equal(one, other)


def test_cifar_blocks_hand_over_the_second_convolution_and_what_follows_it() -> None:
    seats = Seats()
    model = build("cifar10", seats)
    kinds = [
        (type(layer), type(activation), [type(part) for part in after], p)
        for layer, activation, after, p in seats.handed
    ]
    behind = [nn.BatchNorm2d, nn.MaxPool2d]
    assert kinds == [
        (nn.Conv2d, nn.ReLU, behind, 0.2),
        (nn.Conv2d, nn.ReLU, behind, 0.3),
        (nn.Conv2d, nn.ReLU, behind, 0.4),
        (nn.Linear, nn.ReLU, [], 0.5),
        (nn.Linear, nn.ReLU, [], 0.5),
    ]
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert [layer for layer, *_ in seats.handed[:3]] == convolutions[1::2]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [
        (3, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128),
    ]  # fmt: skip
    kinds_in_order = [type(m) for m in model.stage_1.modules() if not isinstance(m, nn.Sequential)]
    assert kinds_in_order == [nn.Conv2d, nn.ReLU, nn.BatchNorm2d] * 2 + [nn.MaxPool2d]


@pytest.mark.parametrize(("name", "units"), [("mnist", 1000), ("digits", 128)])
def test_mnist_and_digits_drop_after_both_hidden_layers(name: str, units: int) -> None:
    seats = Seats()
    build(name, seats)
    assert [(layer.out_features, list(after), p) for layer, _, after, p in seats.handed] == [(units, [], 0.2)] * 2


@pytest.mark.parametrize("technique", EVERY_TECHNIQUE)
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_reach_every_weight(name: str, technique: str) -> None:
    network = NETWORKS[name]
    model = build(name, factory(technique), width=0.25)
    x = torch.randn(4, *network.input)
    loss = nn.functional.cross_entropy(model(x), torch.tensor([0, 1, 2, 3]))
    loss.backward()
    assert math.isfinite(loss.item())
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None, key
        assert torch.isfinite(parameter.grad).all(), key
    assert len(dropouts(model)) == (0 if technique == "none" else len(network.default_p))


@pytest.mark.parametrize("name", NETWORKS)
def test_each_position_has_its_own_p(name: str) -> None:
    own = NETWORKS[name].default_p
    several = [0.1 * (i + 1) for i in range(len(own))]
    for given, expected in ((None, own), (0.35, [0.35] * len(own)), (0, [0] * len(own)), (several, several)):
        seats = Seats()
        model = build(name, seats, p=given)
        assert [p for *_, p in seats.handed] == list(expected)
        with_noise = build(name, factory("standard"), p=given)
        assert [layer.p for layer in dropouts(with_noise)] == list(expected)
        assert model.training


@pytest.mark.parametrize("technique", ["none", "standard", "dropconnect", "dropcorr"])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("digits", (1, 2, 2)),
        ("digits", (3, 9, 5)),
        ("mnist", (3, 29, 31)),
        ("mnist", (4, 7, 2)),
        ("cifar10", (1, 8, 8)),
        ("cifar10", (3, 33, 47)),
    ],
)
def test_networks_fit_any_shape_and_number_of_classes(name: str, shape: tuple[int, int, int], technique: str) -> None:
    model = build(name, factory(technique), shape=shape, classes=7, width=0.1)
    assert model(torch.randn(3, *shape)).shape == (3, 7)


def test_width_scales_channels_and_hidden_units() -> None:
    seats = Seats()
    model = build("cifar10", seats, width=0.5)
    assert [layer.weight.shape[0] for layer, *_ in seats.handed] == [16, 32, 64, 128, 128]
    assert model.output.out_features == 10
    assert [m.out_channels for m in build("mnist", Seats(), width=1.5).modules() if isinstance(m, nn.Conv2d)] == [
        24,
        48,
    ]
    narrow = build("mnist", Seats(), width=0.001)
    assert [layer.weight.shape[0] for layer in narrow.modules() if hasattr(layer, "weight")] == [1, 1, 1, 1, 10]
    assert narrow(torch.randn(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("vgg", {}, "There is no network 'vgg'; choose digits, mnist, cifar10."),
        (
            "cifar10",
            {"shape": (3, 7, 32)},
            "CIFAR-10 net needs images of at least 8×8 pixels, not 7×32; choose another",
        ),
        ("digits", {"shape": (1, 1, 8)}, "Digits net needs images of at least 2×2 pixels, not 1×8; choose another"),
        (
            "mnist",
            {"shape": (28, 28)},
            "shape must be (channels, height, width), three positive numbers, not (28, 28).",
        ),
        ("mnist", {"shape": (0, 28, 28)}, "three positive numbers, not (0, 28, 28)."),
        ("mnist", {"width": 0}, "width scales the layers and must be a positive number, not 0"),
        ("mnist", {"width": math.nan}, "must be a positive number, not nan"),
        ("mnist", {"width": math.inf}, "must be a positive number, not inf"),
        ("mnist", {"classes": 0}, "a network needs at least one class, not 0."),
        ("mnist", {"p": 1.2}, "p is the probability of dropping and must lie in [0, 1], not 1.2."),
        ("mnist", {"p": [0.1, math.nan]}, "must lie in [0, 1], not nan."),
        ("cifar10", {"p": [0.1, 0.2]}, "CIFAR-10 net has 5 dropout positions, but p has 2 values; give one each."),
    ],
)
def test_bad_input_gets_one_sentence(name: str, options: dict, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the whole text is compared below
        build(name, factory("none"), **options)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("dataset", "shape", "network"),
    [
        ("digits", (1, 8, 8), "digits"),
        ("mnist", (1, 28, 28), "mnist"),
        ("cifar10", (3, 32, 32), "cifar10"),
        ("/data/cifar10", (3, 32, 32), "cifar10"),
        ("/data/letters", (1, 28, 28), "mnist"),
        ("/data/dots", (1, 16, 12), "digits"),
        ("/data/colour-dots", (3, 6, 40), "digits"),
        ("/data/x-rays", (1, 128, 128), "cifar10"),
        ("/data/icons", (3, 8, 8), "cifar10"),
    ],
)
def test_a_data_set_gets_a_network_that_takes_it(dataset: str, shape: tuple[int, int, int], network: str) -> None:
    assert network_for(dataset, shape) == network
    assert build(network, factory("none"), shape=shape, width=0.1)(torch.randn(2, *shape)).shape == (2, 10)
