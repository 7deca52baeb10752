"""Edge inputs: whatever finite, infinite, denormal, tied, dead or empty activations come, the rule stays exact."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from core.dropout import TECHNIQUES, DropAct, DropConnect, DropCorr, DropInv, Standard, Standout, Variational
from tests.dropout_cases import CASES, Case, dropped, factors

RANKED = [DropAct, DropInv, DropCorr]
ACTIVATION = [case for case in CASES if not case.wraps]
WRAPPERS = [case for case in CASES if case.wraps]
DENORMAL = 1e-45
LARGEST = 3.4028234663852886e38

few = settings(max_examples=150)

ordinary = st.floats(0.0078125, 100, width=32)
finite = st.one_of(
    st.sampled_from([0.0, -0.0, 1.0, 1.0, 2.0, -1.0, DENORMAL, 1e-40, 1e-38, 1e20, LARGEST, -LARGEST, -1e-40]),
    ordinary,
    ordinary.map(lambda a: -a),
)
anything = st.one_of(finite, st.sampled_from([math.inf, -math.inf, math.nan]))
probabilities = st.one_of(st.sampled_from([0.0, 0.29, 0.5, 1.0]), st.floats(0, 1))


def rows_of(values: st.SearchStrategy[float], most: int = 6) -> st.SearchStrategy[Tensor]:
    """(B, N) float32, B and N from 1."""

    def table(width: int) -> st.SearchStrategy[list[list[float]]]:
        return st.lists(st.lists(values, min_size=width, max_size=width), min_size=1, max_size=most)

    return st.integers(1, 8).flatmap(table).map(lambda rows: torch.tensor(rows, dtype=torch.float32))


def floor_of(p: float, n: int) -> int:
    """k, in rational arithmetic."""
    return math.floor(Fraction(p) * n + Fraction(1e-9))


def check_ranked(technique: type[nn.Module], x: Tensor, p: float, count: str, rescale: str) -> None:
    module = technique(p, count=count, rescale=rescale)
    torch.manual_seed(9)
    factor = factors(module, x)
    torch.manual_seed(9)
    y = module(x)
    n = x.shape[1]
    is_finite = x.isfinite()
    active = (is_finite & (x > 0)) if technique is not DropCorr else is_finite & (x != 0)
    may_fall = is_finite if technique is DropCorr and count == "layer" else active
    fell = factor == 0
    for i in range(len(x)):
        k = floor_of(p, n) if count == "layer" else floor_of(p, int(active[i].sum()))
        assert int(fell[i].sum()) == min(k, int(may_fall[i].sum()))
    assert not (fell & ~may_fall).any()
    assert (y[fell] == 0).all()
    assert factor.isfinite().all()
    assert (y.isnan() == x.isnan()).all()
    assert torch.equal(y[x.isinf()], x[x.isinf()])
    torch.testing.assert_close(y, torch.where(fell, 0, x * factor), equal_nan=True)
    if rescale == "none":
        assert (factor[~fell] == 1).all()
    elif rescale != "uniform":
        assert (factor[~fell] <= 10).all()
        assert (factor[~fell] >= 1 - 1e-5).all()
        assert 0 <= float(module.clamped) <= 1
    else:
        for i in range(len(x)):
            members = int(active[i].sum()) if count == "active" else n
            left = members - int(fell[i].sum())
            expected = torch.tensor(members / left if left else 1.0)
            torch.testing.assert_close(factor[i][~fell[i]], expected.expand(int((~fell[i]).sum())))


@pytest.mark.parametrize("rescale", ["none", "uniform", "mass", "unbiased"])
@pytest.mark.parametrize("technique", [DropAct, DropInv])
@few
@given(rows_of(anything), probabilities, st.sampled_from(["layer", "active"]))
@example(torch.tensor([[1e-40, 0, 0, 0]]), 0.5, "active")
@example(torch.full((2, 4), LARGEST), 0.5, "layer")
@example(torch.full((2, 4), DENORMAL), 0.5, "layer")
@example(torch.zeros(3, 5), 1.0, "layer")
@example(torch.tensor([[math.inf, 1.0, 2.0, math.nan]]), 1.0, "active")
def test_races_stay_exact(technique: type[nn.Module], rescale: str, x: Tensor, p: float, count: str) -> None:
    check_ranked(technique, x, p, count, rescale)


@pytest.mark.parametrize("rescale", ["none", "uniform", "mass"])
@few
@given(rows_of(anything), probabilities, st.sampled_from(["layer", "active"]))
@example(torch.tensor([[LARGEST, 1.0], [-LARGEST, 2.0], [0.0, 3.0]]), 0.5, "layer")
@example(torch.tensor([[math.nan, 1.0, 2.0], [math.inf, 1.0, 2.0], [5.0, 1.0, -math.inf]]), 0.7, "layer")
@example(torch.zeros(3, 5), 0.5, "active")
def test_dropcorr_stays_exact(rescale: str, x: Tensor, p: float, count: str) -> None:
    check_ranked(DropCorr, x, p, count, rescale)


@pytest.mark.parametrize("technique", RANKED)
@few
@given(rows_of(anything), probabilities)
def test_a_kept_reference_or_cache_meets_any_input(technique: type[nn.Module], x: Tensor, p: float) -> None:
    options = {"refresh_every": 2} if technique is DropCorr else {}
    module = technique(p, **options)
    for batch in (x, x[:1], torch.cat([x, x])):
        fell = dropped(module, batch)
        assert not (fell & ~batch.isfinite()).any()
        assert int(fell.sum(1).max()) <= floor_of(p, x.shape[1])
    if technique is DropCorr:
        fixed = DropCorr(p)
        fixed.set_reference(x)
        assert int(dropped(fixed, torch.ones(2, x.shape[1])).sum()) == 2 * floor_of(p, x.shape[1])


@few
@given(rows_of(finite), st.floats(0.015625, 1, width=32))
def test_standard_keeps_or_drops_and_nothing_else(x: Tensor, p: float) -> None:
    y = Standard(p, vanilla=True)(x)
    assert ((y == 0) | (y == x)).all()
    scaled = Standard(p)(x)
    assert not scaled.isnan().any()


@pytest.mark.parametrize("name", list(TECHNIQUES))
@given(st.floats())
@example(math.nan)
@example(-0.0)
@example(math.nextafter(1, 2))
@example(-5e-324)
def test_p_is_taken_exactly_if_it_is_a_probability(name: str, p: float) -> None:
    case = next(c for c in CASES if c.name == name)
    module = case.build(0.25)
    if 0 <= p <= 1:
        module.p = p
        assert module.p == p
    else:
        with pytest.raises(ValueError, match=r"\[0, 1\]"):
            module.p = p


@few
@given(st.integers(1, 400), probabilities)
def test_k_is_the_floor(n: int, p: float) -> None:
    fell = dropped(DropAct(p), torch.ones(1, n))
    assert int(fell.sum()) == floor_of(p, n)


@pytest.mark.parametrize("technique", RANKED)
def test_all_zero_rows(technique: type[nn.Module]) -> None:
    for rescale in ("none", "uniform", "mass"):
        for count in ("layer", "active"):
            y = technique(0.5, rescale=rescale, count=count)(torch.zeros(4, 6))
            assert torch.equal(y, torch.zeros(4, 6))


@pytest.mark.parametrize("technique", RANKED)
def test_one_unit(technique: type[nn.Module]) -> None:
    x = torch.tensor([[2.0], [0.0], [3.0]])
    assert torch.equal(technique(0.999)(x), x)
    assert torch.equal(technique(1.0)(x), torch.zeros(3, 1))


@pytest.mark.parametrize("technique", RANKED)
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_units_reach_the_output_and_the_others_stay_exact(technique: type[nn.Module], bad: float) -> None:
    x = torch.rand(50, 8) + 0.5
    x[::2, 3] = bad
    fell = dropped(technique(0.5, count="layer"), x)
    assert (fell.sum(1) == 4).all()
    assert not fell[::2, 3].any()
    assert fell[1::2, 3].any()
    y = technique(1.0)(x)
    assert not y[::2, 3].isfinite().any()
    assert (y[::2].isfinite().sum(1) == 7).all()


@pytest.mark.parametrize("technique", RANKED)
def test_a_debug_switch_raises_on_non_finite_units(technique: type[nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.ones(3, 4)
    x[1, 2] = math.nan
    technique(0.5)(x)
    module = technique(0.5)
    module.check_finite = True
    module(torch.ones(3, 4))
    with pytest.raises(ValueError, match=f"{technique.__name__}.*non-finite"):
        module(x)
    monkeypatch.setattr(technique, "check_finite", True)
    with pytest.raises(ValueError, match="non-finite"):
        technique(0.5)(x)


def test_dropcorr_ignores_scale_to_the_bit() -> None:
    x = torch.randn(12, 9)
    torch.manual_seed(1)
    wanted = dropped(DropCorr(0.4), x)
    for power in (-60, -30, 30, 60, 100, 120):
        torch.manual_seed(1)
        assert torch.equal(dropped(DropCorr(0.4), x * 2.0**power), wanted), f"scaled by 2^{power}"


def test_dropcorr_follows_a_reference_into_another_dtype() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        module = DropCorr(0.5)
        module.set_reference(torch.rand(6, 5))
        assert module(torch.rand(3, 5, dtype=dtype)).dtype == dtype
        assert module.to(dtype)(torch.rand(3, 5, dtype=dtype)).dtype == dtype
        cached = DropCorr(0.5, refresh_every=3)
        cached(torch.rand(4, 5))
        assert cached.to(dtype)(torch.rand(4, 5, dtype=dtype)).dtype == dtype


def test_dropcorr_keeps_a_reference_small() -> None:
    """It costs what the reference has rows, however large the batch."""
    module = DropCorr(0.5)
    module.set_reference(torch.rand(6, 5))
    x = torch.rand(400, 5)
    module(x)
    assert all(b.numel() <= 30 for b in module.buffers())
    assert max(t.numel() for t in module.draw(x)) <= 400 * 6


def test_dropcorr_meets_a_layer_of_another_width() -> None:
    module = DropCorr(0.5, refresh_every=3)
    for width in (6, 9, 4):
        assert (dropped(module, torch.rand(5, width)).sum(1) == width // 2).all()


EMPTY = [(0, 6), (4, 0), (0,), (0, 3, 2, 2), (2, 3, 0, 2)]


@pytest.mark.parametrize("case", ACTIVATION, ids=str)
@pytest.mark.parametrize("shape", EMPTY, ids=str)
def test_empty_input(case: Case, shape: tuple[int, ...]) -> None:
    module = case.build()
    for mode in (True, False):
        x = torch.zeros(shape, requires_grad=True)
        y = module.train(mode)(x)
        assert y.shape == shape
        y.sum().backward()
    if case.options.get("units") is None:
        assert module.train()(torch.ones(3, 5)).shape == (3, 5)


@pytest.mark.parametrize("case", WRAPPERS, ids=str)
def test_an_empty_batch_through_a_layer(case: Case) -> None:
    module, x = case.build(), case.input()[:0]
    for mode in (True, False):
        assert module.train(mode)(x).shape == case.layer()(x).shape


@pytest.mark.parametrize("case", [c for c in ACTIVATION if "units" not in c.options], ids=str)
def test_any_number_of_dimensions(case: Case) -> None:
    module = case.build()
    for shape in [(7,), (3, 7), (3, 2, 4), (3, 2, 4, 2), (2, 2, 2, 2, 2), (1, 1)]:
        x = torch.rand(shape)
        assert module.train()(x).shape == shape
        assert module.eval()(x).shape == shape


@pytest.mark.parametrize("case", [c for c in ACTIVATION if c.on == "map"], ids=str)
def test_activations_keep_their_memory_format(case: Case) -> None:
    for x, layout in (
        (torch.rand(4, 3, 5, 4), torch.channels_last),
        (torch.rand(2, 3, 2, 5, 4), torch.channels_last_3d),
    ):
        y = case.build()(x.contiguous(memory_format=layout))
        assert y.is_contiguous(memory_format=layout)
        assert case.build()(x).is_contiguous()


@pytest.mark.parametrize("case", [c for c in WRAPPERS if c.on.startswith("conv")], ids=str)
def test_convolutions_take_channels_last(case: Case) -> None:
    x = case.input()
    module = case.build()
    torch.manual_seed(3)
    wanted = module(x)
    torch.manual_seed(3)
    y = module(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(y, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e12, 1e18])
def test_wrapped_layers_stay_finite_at_both_ends_of_float32(scale: float) -> None:
    layer, x = nn.Linear(6, 5), (torch.randn(4, 6) * scale).requires_grad_()
    for module in (
        DropConnect(layer, 0.4, activation=nn.ReLU()),
        DropConnect(layer, 0.4, activation=nn.Tanh()),
        Variational(layer, 0.4),
        Standout(layer, 0.4, activation=nn.ReLU(), learn=True),
    ):
        for mode in (True, False):
            y = module.train(mode)(x)
            assert y.isfinite().all()
            for gradient in torch.autograd.grad((y / scale).sum(), [x, *module.parameters()], allow_unused=True):
                assert gradient is None or gradient.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_variances_do_not_overflow_in_half_precision(dtype: torch.dtype) -> None:
    layer = nn.Linear(4, 3).to(dtype)
    x = torch.full((2, 4), 500.0, dtype=dtype)  # its square is beyond float16
    wide = nn.Linear(4, 3)
    wide.load_state_dict({k: v.float() for k, v in layer.state_dict().items()})
    y = DropConnect(layer, 0.5, activation=nn.ReLU()).eval()(x)
    wanted = DropConnect(wide, 0.5, activation=nn.ReLU()).eval()(x.float())
    torch.testing.assert_close(y.float(), wanted, rtol=0.02, atol=1.0)
    assert Variational(layer, 0.5)(x).isfinite().all()
