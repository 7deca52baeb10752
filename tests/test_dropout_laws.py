"""What holds for every technique, over the one list of cases."""

from __future__ import annotations

import math
from fractions import Fraction
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

import core.dropout
from tests.dropout_cases import CASES, LINES, SHAPES, Case, dropped, factors

ACTIVATION = [case for case in CASES if not case.wraps]
WRAPPERS = [case for case in CASES if case.wraps]
RANKED = [case for case in CASES if case.line.score]
MASKS = [case for case in ACTIVATION if case.line.binary]
HALVES = [torch.float16, torch.bfloat16]

every_case = pytest.mark.parametrize("case", CASES, ids=str)
activation_case = pytest.mark.parametrize("case", ACTIVATION, ids=str)
wrapper_case = pytest.mark.parametrize("case", WRAPPERS, ids=str)
ranked_case = pytest.mark.parametrize("case", RANKED, ids=str)
mask_case = pytest.mark.parametrize("case", MASKS, ids=str)
every_name = pytest.mark.parametrize("name", list(dict.fromkeys(line.name for line in LINES)))


@pytest.fixture
def package() -> ModuleType:
    """The dropout package under test; a module that imports these tests may set another."""
    return core.dropout


def seeded(module: nn.Module, x: Tensor, seed: int = 5) -> Tensor:
    torch.manual_seed(seed)
    out: Tensor = module(x)
    return out


def clean(case: Case, x: Tensor) -> Tensor:
    """The output without noise."""
    return case.activation()(case.layer().to(x.dtype)(x)) if case.wraps else x


def assert_close_but_for_flips(case: Case, y: Tensor, wanted: Tensor, tolerance: float) -> None:
    """Close everywhere; Standout may flip a unit in a hundred, whose keep probability rounding took over its number."""
    near = (y.float() - wanted).abs() <= tolerance * (1 + wanted.abs())
    assert near.float().mean() >= (0.99 if case.name == "standout" else 1)


def expected_drops(case: Case, x: Tensor, p: float) -> Tensor:
    """(B,) how many units fall, by the specification; exact rational arithmetic with its 1e-9."""
    flat = x.flatten(1)
    n = flat.shape[1]
    active = ((flat > 0) if case.line.score == "race" else (flat != 0)).sum(1)
    share = Fraction(repr(p))
    if case.options.get("count", "active" if case.line.score == "race" else "layer") == "active":
        return torch.tensor([math.floor(share * int(a)) for a in active])
    k = math.floor(share * n)
    return active.clamp(max=k) if case.line.score == "race" else torch.full_like(active, k)


def test_every_technique_and_every_option_is_in_the_list() -> None:
    listed: dict[str, set[str]] = {}
    for line in LINES:
        listed.setdefault(line.name, set()).update(line.options)
    assert set(listed) == set(core.dropout.TECHNIQUES)
    for name, technique in core.dropout.TECHNIQUES.items():
        # Variational's form follows from being given a layer; the factory alone takes it as an option.
        missing = {knob.name for knob in technique.knobs} - listed[name] - {"form"}
        assert not missing, f"{name}: no case for {missing}"


def test_techniques_are_in_the_order_of_the_specification() -> None:
    order = ["standard", "dropconnect", "gaussian", "variational", "standout", "dropact", "dropinv", "dropcorr"]
    assert list(core.dropout.TECHNIQUES)[:8] == order


@every_case
def test_output_has_the_shape_and_dtype_of_the_clean_one(case: Case, package: ModuleType) -> None:
    module, x = case.build(package=package), case.input()
    for mode in (True, False):
        y = module.train(mode)(x)
        assert y.shape == clean(case, x).shape
        assert y.dtype == x.dtype
        assert y.isfinite().all()


@every_case
@pytest.mark.filterwarnings("ignore:kl='kingma'")
def test_p_0_is_the_identity(case: Case, package: ModuleType) -> None:
    module, x = case.build(0.0, package), case.input()
    for mode in (True, False):
        torch.testing.assert_close(module.train(mode)(x), clean(case, x))
    module = case.build(0.7, package).train()
    module.p = 0.0
    torch.testing.assert_close(module(x), clean(case, x))


@every_case
@pytest.mark.filterwarnings("ignore:kl='kingma'")
def test_p_1_gives_what_is_ruled_and_stays_finite(case: Case, package: ModuleType) -> None:
    module, x = case.build(1.0, package), case.input().requires_grad_()
    y = module(x)
    if case.name == "dropconnect":
        bias = case.layer().bias
        expected = torch.zeros_like(y)
        if bias is not None:
            expected = expected + (bias.view(-1, 1, 1) if "conv" in case.on else bias)
        expected = case.activation()(expected)
    else:
        expected = torch.zeros_like(y)
    torch.testing.assert_close(y, expected)
    y.sum().backward()
    assert x.grad is not None
    assert (x.grad == 0).all() or case.line.score  # units at rest may survive a ranked technique
    assert x.grad.isfinite().all()
    assert module.eval()(x).isfinite().all()


@every_case
def test_evaluation_is_deterministic_and_draws_nothing(case: Case, package: ModuleType) -> None:
    module, x = case.build(package=package).eval(), case.input()
    before = torch.get_rng_state()
    first = module(x)
    if case.random_eval:
        assert not torch.equal(first, module(x))
        assert torch.equal(seeded(module, x), seeded(module, x))
    else:
        assert torch.equal(first, module(x))
        assert torch.equal(before, torch.get_rng_state())


@activation_case
def test_evaluation_returns_the_input_itself(case: Case, package: ModuleType) -> None:
    module, x = case.build(package=package).eval(), case.input()
    if case.eval_is_input:
        assert module(x) is x
    else:
        torch.testing.assert_close(module(x), 0.6 * x)


@every_case
def test_the_global_seed_reproduces_the_noise(case: Case, package: ModuleType) -> None:
    module, x = case.build(package=package), case.input()
    first = seeded(case.build(package=package), x)
    assert torch.equal(first, seeded(case.build(package=package), x))
    assert not torch.equal(first, seeded(module, x, seed=6))
    assert not torch.equal(module(x), module(x))


@every_case
def test_gradients_reach_every_parameter_and_the_input(case: Case, package: ModuleType) -> None:
    module, x = case.build(package=package), case.input().requires_grad_()
    weight = torch.randn(module(x).shape)
    (module(x) * weight).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad.any()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


@activation_case
def test_the_gradient_is_the_mask_factor(case: Case, package: ModuleType) -> None:
    module, x = case.build(package=package), case.input()
    torch.manual_seed(5)
    factor = factors(module, x)
    torch.testing.assert_close(seeded(case.build(package=package), x), x * factor)
    if case.line.binary:
        assert (factor >= 0).all()
        assert (factor == 0).any()


@every_case
def test_the_input_is_left_as_it_was(case: Case, package: ModuleType) -> None:
    module, x = case.build(package=package), case.input()
    for mode in (True, False):
        module.train(mode)(x)
        assert torch.equal(x, case.input())


@activation_case
def test_inplace_is_accepted(case: Case, package: ModuleType) -> None:
    x = case.input()
    module = case.build(package=package, inplace=True)
    assert torch.equal(seeded(module, x.clone()), seeded(case.build(package=package), x))


@every_case
def test_state_dict_round_trip(case: Case, package: ModuleType) -> None:
    module, x = case.build(package=package), case.input()
    module(x)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    state = module.state_dict()
    other = case.build(package=package)
    assert not other.load_state_dict(state).missing_keys
    assert state.keys() == other.state_dict().keys()
    for key, value in other.state_dict().items():
        assert torch.equal(value, state[key]), key
    if not case.random_eval:
        assert torch.equal(module.eval()(x), other.eval()(x))
    if case.options.get("refresh_every", 1) == 1:
        assert torch.equal(seeded(module.train(), x), seeded(other.train(), x))


@every_case
def test_state_dict_holds_the_layer_and_the_learned_noise_alone(case: Case, package: ModuleType) -> None:
    module = case.build(package=package)
    module(case.input())
    noise = {id(q) for q in package.noise_parameters(module)}
    own = {name for name, q in module.named_parameters() if id(q) in noise}
    assert bool(own) == case.learns
    assert set(module.state_dict()) == own | (set(case.layer().state_dict()) if case.wraps else set())


@wrapper_case
def test_wrapping_keeps_the_weights(case: Case, package: ModuleType) -> None:
    layer = case.layer()
    before = {name: q.clone() for name, q in layer.named_parameters()}
    kept = dict(layer.named_parameters())
    module = package.TECHNIQUES[case.name](layer, p=0.4)
    ours = {id(q) for q in module.parameters()}
    for name, parameter in kept.items():
        assert id(parameter) in ours, name
        assert isinstance(parameter, nn.Parameter)
        assert torch.equal(parameter, before[name])
    bare = case.layer()
    bare.load_state_dict({k: v for k, v in module.state_dict().items() if k in before})
    module.load_state_dict({**module.state_dict(), **bare.state_dict()})


@wrapper_case
def test_a_layers_input_without_a_batch(case: Case, package: ModuleType) -> None:
    """Linear takes (features,), Conv2d takes (C, H, W)."""
    module, x = case.build(package=package), case.input()
    one = x[0, 0] if x.dim() == 3 else x[0]
    for mode in (True, False):
        assert module.train(mode)(one).shape == clean(case, one).shape
    module.p = 0.0
    torch.testing.assert_close(module.train()(one), clean(case, one))


@pytest.mark.parametrize("name", ["dropconnect", "standout", "variational"])
@pytest.mark.parametrize("layer", [nn.BatchNorm1d(3), nn.ReLU(), nn.Conv1d(2, 2, 1)], ids=lambda m: type(m).__name__)
def test_wrapping_another_kind_of_layer_is_refused(name: str, layer: nn.Module) -> None:
    with pytest.raises(ValueError, match=f"Linear.*Conv2d.*{type(layer).__name__}"):
        core.dropout.TECHNIQUES[name](layer, p=0.5)


@ranked_case
@pytest.mark.parametrize("p", [0.05, 0.29, 0.5, 0.9, 1.0])
def test_exactly_k_units_fall(case: Case, package: ModuleType, p: float) -> None:
    x = case.input()
    fell = dropped(case.build(p, package), x)
    assert torch.equal(fell.sum(1), expected_drops(case, x, p))
    if case.line.score == "race":
        assert not (fell & (x.flatten(1) <= 0)).any()
    elif case.options.get("count") == "active":
        assert not (fell & (x.flatten(1) == 0)).any()


@pytest.mark.parametrize("name", ["dropact", "dropinv", "dropcorr"])
@pytest.mark.parametrize("count", ["layer", "active"])
def test_k_is_floored_in_exact_arithmetic(name: str, count: str) -> None:
    x = torch.rand(2, 100) + 0.5
    module = core.dropout.TECHNIQUES[name](p=0.5, count=count)
    for hundredths in range(101):
        module.p = hundredths / 100
        assert dropped(module, x).sum(1).tolist() == [hundredths] * 2, f"p={module.p}"


@activation_case
def test_all_dimensions_but_the_first_are_units(case: Case, package: ModuleType) -> None:
    x = case.input()
    shaped, flat = seeded(case.build(package=package), x), seeded(case.build(package=package), x.flatten(1))
    torch.testing.assert_close(shaped.flatten(1), flat)


@activation_case
def test_one_dimension_is_one_example(case: Case, package: ModuleType) -> None:
    x = case.input()[0].flatten()
    torch.testing.assert_close(
        seeded(case.build(package=package), x), seeded(case.build(package=package), x[None]).squeeze(0)
    )
    if case.eval_is_input:
        assert case.build(package=package).eval()(x) is x


@every_case
def test_non_contiguous_input(case: Case, package: ModuleType) -> None:
    x = case.input()
    backward = tuple(reversed(range(x.dim())))
    strided = x.permute(backward).contiguous().permute(backward)
    assert not strided.is_contiguous()
    sliced = torch.stack([x, x], -1)[..., 0]
    wanted = seeded(case.build(package=package), x)
    for view in (strided, sliced):
        torch.testing.assert_close(seeded(case.build(package=package), view), wanted)
    if case.name != "dropcorr":  # an expanded batch is constant, and has no covariance
        assert seeded(case.build(package=package), x[:1].expand_as(x)).isfinite().all()


@every_case
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_half_precision_keeps_its_dtype_and_follows_float32(
    case: Case, dtype: torch.dtype, package: ModuleType
) -> None:
    x = case.input(dtype=dtype)
    module = case.build(package=package)
    module = module.to(dtype) if case.wraps else module
    reference = case.build(package=package)
    reference.load_state_dict({k: v.float() for k, v in module.state_dict().items()})
    for mode in (True, False):
        y, wanted = seeded(module.train(mode), x), seeded(reference.train(mode), x.float())
        assert y.dtype == dtype
        assert_close_but_for_flips(case, y, wanted, 0.03)
        if case.line.binary and not case.wraps:
            assert torch.equal(y == 0, wanted == 0)


@every_case
def test_double_precision(case: Case, package: ModuleType) -> None:
    x = case.input(dtype=torch.float64)
    module = case.build(package=package)
    module = module.double() if case.wraps else module
    y = seeded(module, x)
    assert y.dtype == torch.float64
    torch.testing.assert_close(y.float(), seeded(case.build(package=package), x.float()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [s for s in SHAPES.values() if len(s) > 2], ids=str)
@pytest.mark.parametrize("line", [line for line in LINES if "map" in line.on], ids=lambda line: line.name)
def test_every_example_has_its_own_noise(line: object, shape: tuple[int, ...], package: ModuleType) -> None:
    x = (torch.rand(shape[1:]) + 0.5).expand(16, *shape[1:]).contiguous()
    assert isinstance(line, type(LINES[0]))
    module = package.TECHNIQUES[line.name](p=0.5)
    factor = factors(module, x).flatten(1)
    assert len(factor.unique(dim=0)) == 16
    again = factors(module, x).flatten(1)
    assert not torch.equal(factor, again)


@pytest.mark.parametrize("on", ["linear", "conv", "conv-strided", "conv-reflect", "conv-circular"])
def test_dropconnect_masks_are_shared_over_the_batch_or_not(on: str, package: ModuleType) -> None:
    case = next(c for c in CASES if c.name == "dropconnect" and c.on == on)
    x = case.input()[:1].expand(8, *case.shape[1:]).contiguous()
    batch = case.build(package=package, mask="batch")(x).flatten(1)
    torch.testing.assert_close(batch, batch[:1].expand_as(batch))
    example = case.build(package=package, mask="example")(x).flatten(1)
    assert len(example.unique(dim=0)) == 8


@mask_case
def test_raising_p_only_adds_units(case: Case, package: ModuleType) -> None:
    """With the same random numbers and the same input."""
    x = case.input()
    module = case.build(package=package)
    noise = module.draw(x)
    before = torch.zeros_like(x, dtype=torch.bool)
    for p in (0.0, 0.01, 0.1, 0.25, 0.5, 0.75, 0.99, 1.0):
        module.p = p
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(module.perturb(leaf, noise).sum(), leaf)
        fell = gradient == 0
        assert (fell | ~before).all(), f"a unit came back at p={p}"
        before = fell
    if case.options.get("refresh_every", 1) > 1:
        return
    module.p = 0.25
    few = (torch.manual_seed(1), dropped(module, x))[1]
    module.p = 0.6
    many = (torch.manual_seed(1), dropped(module, x))[1]
    assert (many | ~few).all()
    assert many.sum() > few.sum()


@ranked_case
def test_the_fallen_of_a_draw_are_those_of_the_output(case: Case, package: ModuleType) -> None:
    """What a view shows of one draw is what the layer does with it, at every p."""
    x = case.input()
    module = case.build(package=package)
    noise = module.draw(x)
    for p in (0.0, 0.01, 0.3, 1.0):
        module.p = p
        leaf = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(module.perturb(leaf, noise).sum(), leaf)
        assert torch.equal(module.fallen(x, noise), gradient == 0)


def test_raising_p_only_adds_weights_to_dropconnect(package: ModuleType) -> None:
    layer = nn.Linear(9, 7, bias=False)
    nn.init.uniform_(layer.weight, 0.5, 1)
    for mask in ("batch", "example"):
        module = package.DropConnect(layer, mask=mask)
        before = torch.zeros(9, 7, dtype=torch.bool)
        for p in (0.1, 0.3, 0.6, 0.95):
            module.p = p
            fell = seeded(module, torch.eye(9)) == 0
            assert (fell | ~before).all()
            assert fell.sum() > before.sum()
            before = fell


def test_raising_p_only_adds_units_to_standout(package: ModuleType) -> None:
    layer = nn.Linear(9, 40)
    module = package.Standout(layer, activation=nn.Sigmoid())
    x, before = torch.randn(6, 9), torch.zeros(6, 40, dtype=torch.bool)
    for p in (0.1, 0.3, 0.6, 0.95):
        module.p = p
        fell = seeded(module, x) == 0
        assert (fell | ~before).all()
        assert fell.sum() > before.sum()
        before = fell


BAD_P = [-0.1, 1.0001, math.nan, math.inf, -math.inf, "0.5", None]


@every_name
@pytest.mark.parametrize("p", BAD_P, ids=str)
def test_a_bad_p_is_refused_at_construction_and_assignment(name: str, p: object, package: ModuleType) -> None:
    case = next(c for c in CASES if c.name == name)
    with pytest.raises(ValueError, match=str(p)):
        case.build(p, package)  # type: ignore[arg-type]
    module = case.build(0.25, package)
    with pytest.raises(ValueError, match=str(p)):
        module.p = p  # type: ignore[assignment]
    assert module.p == 0.25


@every_name
@pytest.mark.parametrize("p", [0, 1, True, np.float64(0.25), np.float32(0.25), torch.tensor(0.25)], ids=repr)
@pytest.mark.filterwarnings("ignore:kl='kingma'")
def test_p_may_be_any_real_number(name: str, p: object, package: ModuleType) -> None:
    case = next(c for c in CASES if c.name == name)
    assert case.build(p, package).p == float(p)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "option", "value", "said"),
    [
        ("dropact", "rescale", "mas", "'none', 'uniform', 'mass', 'unbiased'"),
        ("dropinv", "rescale", None, "'none', 'uniform', 'mass', 'unbiased'"),
        ("dropcorr", "rescale", "mas", "'none', 'uniform', 'mass'"),
        ("dropcorr", "rescale", "unbiased", "unbiased"),
        ("dropact", "count", "units", "'layer', 'active'"),
        ("dropcorr", "count", 3, "'layer', 'active'"),
        ("dropact", "clamp", math.nan, "nan"),
        ("dropact", "clamp", -1.0, "-1"),
        ("dropcorr", "refresh_every", 0, "refresh_every.*0"),
        ("dropcorr", "refresh_every", 1.5, "refresh_every.*1.5"),
        ("dropcorr", "refresh_every", math.inf, "refresh_every.*inf"),
        ("dropconnect", "mask", "row", "'batch', 'example'"),
        ("dropconnect", "draws", -1, "draws.*-1"),
        ("dropconnect", "draws", math.inf, "draws.*inf"),
        ("variational", "kl", "exact", "'molchanov', 'kingma'"),
        ("variational", "units", 0, "units.*0"),
        ("standard", "vanilla", "yes", "vanilla.*yes"),
        ("standout", "learn", 2, "learn.*2"),
        ("standout", "alpha", math.nan, "alpha.*nan"),
        ("standout", "beta", "high", "beta.*high"),
    ],
)
def test_bad_options_are_refused_by_a_sentence(
    name: str, option: str, value: object, said: str, package: ModuleType
) -> None:
    case = next(c for c in CASES if c.name == name)
    with pytest.raises(ValueError, match=said):
        case.build(package=package, **{option: value})
    module = case.build(package=package)
    if hasattr(module, option) and not callable(getattr(module, option)):
        before = getattr(module, option)
        with pytest.raises(ValueError, match=option):
            setattr(module, option, value)
        assert getattr(module, option) == before


@every_case
def test_repr_shows_p_and_the_options(case: Case, package: ModuleType) -> None:
    text = repr(case.build(package=package))
    assert type(case.build(package=package)).__name__ in text
    assert "p=0.4" in text
    knobs = {knob.name: knob.default for knob in package.TECHNIQUES[case.name].knobs}
    for option, value in case.options.items():
        if option in knobs and value != knobs[option]:
            assert option in text
            if isinstance(value, str | bool):
                assert f"{option}={value}" in text


@every_case
def test_libraries_find_it_by_torchs_dropout_base(case: Case, package: ModuleType) -> None:
    module = case.build(package=package)
    assert isinstance(module, _DropoutNd)
    found = [m for m in nn.Sequential(nn.Linear(2, 2), module).modules() if isinstance(m, _DropoutNd)]
    assert found == [module]


@every_name
def test_knobs_describe_the_constructor(name: str, package: ModuleType) -> None:
    technique = package.TECHNIQUES[name]
    assert technique.name == name
    for text in (technique.title, technique.paper, technique.mechanism):
        assert text
    case = next(c for c in CASES if c.name == name)
    for knob in technique.knobs:
        assert knob.help
        if knob.name != "form":
            case.build(package=package, **{knob.name: knob.default})
        for word in knob.choices:
            knob.check(word)
