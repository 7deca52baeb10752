from typing import Any

import pytest
import torch

from core.config import Config
from core.training import Trainer, products
from core.training.products import by_onednn

CPU = torch.device("cpu")


def allowed() -> str:
    return str(torch.backends.mkldnn.matmul.fp32_precision)


@pytest.mark.parametrize("shape", [(1, 7, 3), (64, 64, 64), (100, 1568, 250), (250, 100, 1568)])
def test_products_are_as_exact_as_fp32_is(shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(m, k, generator=generator), torch.randn(k, n, generator=generator)
    exact = a.double() @ b.double()
    with by_onednn(CPU):
        found = a @ b
    # Each of k terms may be rounded, and each of their sums: Higham, Accuracy and Stability, section 3.5.
    bound = k * 2.0**-24 / (1 - k * 2.0**-24) * (a.double().abs() @ b.double().abs())
    assert ((found.double() - exact).abs() <= bound).all()


def test_the_setting_comes_back_whatever_happens() -> None:
    before = allowed()
    with pytest.raises(RuntimeError), by_onednn(CPU):
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert allowed() == before


def test_a_processor_that_would_round_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_stays_fp32", lambda: False)
    before = allowed()
    with by_onednn(CPU):
        assert allowed() == before


def test_rounding_to_bf16_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def rounding(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.mm(x.bfloat16(), y.bfloat16()).float()

    monkeypatch.setattr(torch.Tensor, "__matmul__", rounding)
    assert not products._stays_fp32.__wrapped__()


@pytest.mark.parametrize("technique", ["dropcorr", "dropconnect"])
def test_training_multiplies_so_forward_and_backward_and_nothing_else_does(technique: str) -> None:
    trainer = Trainer(Config(technique=technique, epochs=1, device="cpu"))
    before, seen = allowed(), []

    def look(*_: Any) -> None:
        seen.append(allowed())

    trainer.model.register_forward_hook(look)
    next(trainer.model.parameters()).register_hook(look)
    trainer.advance(steps=1)
    assert set(seen) == {"bf16" if products._stays_fp32() else before}
    assert allowed() == before
