"""The layers inside what torch offers: autocast, torch.compile, vmap, copies, pickles, CUDA and its graphs."""

from __future__ import annotations

import copy
import io
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd

from core.dropout import TECHNIQUES, DropAct, DropCorr, DropInv, Dropout, factory, kl, noise_parameters
from core.dropout.ranked import Ranked
from tests.dropout_cases import CASES, Case, dropped, factors
from tests.test_dropout_laws import assert_close_but_for_flips, clean, expected_drops, seeded

every_case = pytest.mark.parametrize("case", CASES, ids=str)
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def first_of_each() -> list[Case]:
    """Each line of the list once for each value of each option, on the line's first input."""
    chosen: dict[tuple[int, str, str], Case] = {}
    for case in CASES:
        for option, value in case.options.items() or [("", "")]:
            chosen.setdefault((id(case.line), option, str(value)), case)
    return list({str(case): case for case in chosen.values()}.values())


SOME = first_of_each()


def stateless(case: Case) -> bool:
    """Writes no buffer in a training forward."""
    return case.options.get("rescale") not in ("mass", "unbiased") and case.options.get("refresh_every", 1) == 1


# Autocast


@every_case
def test_autocast(case: Case) -> None:
    module, x = case.build(), case.input()
    for mode in (True, False):
        module.train(mode)
        wanted = seeded(module, x)
        module = case.build().train(mode)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = seeded(module, x)
            assert y.dtype == clean(case, x).dtype
        assert_close_but_for_flips(case, y, wanted, 0.05)
        if not case.wraps:  # scores are in float32: the same units fall
            assert torch.equal(y == 0, wanted == 0)


@every_case
def test_autocast_gradients(case: Case) -> None:
    module, x = case.build(), case.input().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = module(x)
    y.float().square().sum().backward()
    for q in (x, *module.parameters()):
        assert q.grad is not None
        assert q.grad.dtype == torch.float32
        assert q.grad.isfinite().all()


# torch.compile


@pytest.mark.parametrize("case", SOME, ids=str)
def test_compiles_as_one_graph(case: Case) -> None:
    torch.compiler.reset()
    module, x = case.build(), case.input()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    leaf = x.clone().requires_grad_()
    y = compiled(leaf)
    assert y.shape == clean(case, x).shape
    y.sum().backward()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    assert not torch.equal(compiled(x), compiled(x))
    if case.line.score:
        for p in (0.4, 0.8):
            module.p = p
            assert torch.equal(dropped(compiled, x).sum(1), expected_drops(case, x, p))
    module.eval()
    if not case.random_eval:
        torch.testing.assert_close(compiled(x), module(x))
    torch.compiler.reset()


def test_a_compiled_refresh_follows_its_counter() -> None:
    torch.compiler.reset()
    module = DropCorr(0.5, refresh_every=2)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    signs = torch.tensor([[1.0, 1, 1, -1, -1, -1], [1, -1, 1, -1, 1, -1], [1, -1, -1, 1, 1, -1], [-1, 1, 1, 1, -1, -1]])
    used = []
    for sign in signs:
        fell = dropped(compiled, 3 + torch.randn(16, 1) * sign)
        used += [j for j, s in enumerate(signs) if ((fell == (s > 0)).all(1) | (fell == (s < 0)).all(1)).all()]
    assert used == [0, 0, 2, 2]
    torch.compiler.reset()


@pytest.mark.parametrize("count", ["layer", "active"])
@pytest.mark.parametrize("technique", [DropAct, DropInv, DropCorr])
def test_what_may_not_fall_does_not_in_compiled_code_either(technique: type[Ranked], count: str) -> None:
    """A compiler that took 0·∞ or 0/0 for 0 would let it: here with the decompositions that Inductor starts from."""
    torch.compiler.reset()
    module, x = technique(0.9, count=count), torch.randn(64, 50).relu()
    x[:, :3] = torch.tensor([torch.inf, torch.nan, -torch.inf])
    noise = module.draw(x)
    fallen = torch.compile(lambda x, noise: module.fallen(x, noise), backend="aot_eager_decomp_partition")(x, noise)
    assert torch.equal(fallen, module.fallen(x, noise))
    assert not fallen[:, :3].any()
    assert fallen.any()
    if (technique, count) != (DropCorr, "layer"):
        assert not fallen[x <= 0].any()
    torch.compiler.reset()


# Copies


@every_case
def test_deepcopy_and_pickle(case: Case) -> None:
    module, x = case.build(), case.input()
    module(x)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert repr(twin) == repr(module)
        assert twin.training
        assert twin.state_dict().keys() == module.state_dict().keys()
        assert torch.equal(seeded(copy.deepcopy(module), x), seeded(copy.deepcopy(twin), x))
        for mine, other in zip(module.parameters(), twin.parameters(), strict=True):
            assert mine is not other
            assert torch.equal(mine, other)
        twin.p = 0.9
        assert module.p == 0.4
        with pytest.raises(ValueError, match=r"1\.5"):
            twin.p = 1.5
        assert len(list(noise_parameters(twin))) == len(list(noise_parameters(module)))


@every_case
def test_saved_weights_load_as_weights_only(case: Case) -> None:
    module, x = case.build(), case.input()
    module(x)
    file = io.BytesIO()
    torch.save(module.state_dict(), file)
    file.seek(0)
    other = case.build()
    other.load_state_dict(torch.load(file, weights_only=True))
    for mine, theirs in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_copied_dropcorr_keeps_its_reference() -> None:
    module = DropCorr(0.5)
    module.set_reference(3 + torch.randn(16, 1) * torch.tensor([1.0, 1, -1, -1]))
    up = torch.tensor([True, True, False, False])
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        fell = dropped(twin, torch.rand(50, 4))
        assert ((fell == up).all(1) | (fell == ~up).all(1)).all()


def test_the_cache_of_dropcorr_stays_out_of_the_state_dict() -> None:
    module = DropCorr(0.5, refresh_every=3)
    module(torch.rand(5, 4))
    assert not module.state_dict()
    kept = dict(module.named_buffers())
    assert any(b.numel() == 20 for b in kept.values()), "X_c is a tensor of the module"


# Functions


@pytest.mark.parametrize("case", [c for c in SOME if stateless(c)], ids=str)
def test_vmap_gives_every_slice_its_own_noise(case: Case) -> None:
    module, x = case.build(), case.input()
    stacked = x.expand(3, *x.shape)
    y = torch.func.vmap(module, randomness="different")(stacked)
    assert y.shape == (3, *clean(case, x).shape)
    assert not torch.equal(y[0], y[1])
    assert y.isfinite().all()
    same = torch.func.vmap(module, randomness="same")(stacked)
    torch.testing.assert_close(same[0], same[1])
    if case.line.score:
        fell = torch.func.vmap(module.fallen, in_dims=(0, None))(stacked, module.draw(x))
        assert torch.equal(fell[0].flatten(1).sum(1), expected_drops(case, x, 0.4))


@pytest.mark.parametrize("case", [c for c in SOME if not stateless(c)], ids=str)
def test_vmap_over_stacked_modules(case: Case) -> None:
    """Layers that keep a buffer go through vmap with one buffer a slice, like BatchNorm."""
    x = case.input()
    modules = [case.build() for _ in range(3)]
    for module in modules:
        module(x)
    parameters, buffers = torch.func.stack_module_state(modules)

    def call(q: dict[str, Tensor], b: dict[str, Tensor], x: Tensor) -> Tensor:
        out: Tensor = torch.func.functional_call(modules[0], (q, b), (x,))
        return out

    y = torch.func.vmap(call, in_dims=(0, 0, None), randomness="different")(parameters, buffers, x)
    assert y.shape == (3, *x.shape)
    assert not torch.equal(y[0], y[1])


@pytest.mark.parametrize("case", [c for c in CASES if c.wraps or c.learns], ids=str)
def test_functional_call_takes_other_parameters(case: Case) -> None:
    module, x = case.build(), case.input()
    other = {name: q.detach() * 1.25 for name, q in module.named_parameters()}
    changed = torch.func.functional_call(module.eval(), other, (x,)) if not case.random_eval else None
    torch.func.functional_call(module.train(), other, (x,))
    with torch.no_grad():
        for name, q in module.named_parameters():
            q.copy_(other[name])
    if changed is not None:
        torch.testing.assert_close(module.eval()(x), changed)


@every_case
def test_training_forwards_without_gradients(case: Case) -> None:
    module, x = case.build(), case.input()
    with torch.no_grad():
        assert not module(x).requires_grad
    with torch.inference_mode():
        assert module(x).shape == clean(case, x).shape
    y = module(x.requires_grad_())
    assert y.requires_grad


@every_case
def test_a_look_in_inference_mode_does_not_stop_training(case: Case) -> None:
    module, x = case.build(), case.input()
    with torch.inference_mode():
        module(x)
    for _ in range(3):
        module(x.clone().requires_grad_()).sum().backward()


# Networks


def network(name: str, **knobs: object) -> nn.Sequential:
    make = factory(name, **knobs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            make(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), [nn.BatchNorm2d(4), nn.MaxPool2d(2)], 0.3),
            nn.Flatten(),
            make(nn.Linear(64, 12), nn.ReLU(), [], 0.5),
            nn.Linear(12, 3),
        )


PLACED = [
    ("none", {}),
    *((name, {}) for name in TECHNIQUES),
    ("variational", {"form": "weight"}),
    ("standout", {"learn": True}),
]
placed = pytest.mark.parametrize(("name", "knobs"), PLACED, ids=str)


@placed
def test_the_factory_builds_blocks_that_train(name: str, knobs: dict[str, object]) -> None:
    model = network(name, **knobs)
    x = torch.randn(6, 1, 8, 8)
    loss = nn.functional.cross_entropy(model(x), torch.tensor([0, 1, 2, 0, 1, 2])) + kl(model) / 100
    loss.backward()
    for parameter_name, q in model.named_parameters():
        assert q.grad is not None, parameter_name
        assert q.grad.isfinite().all()
    plain = network("none").eval()
    noise = {id(q) for q in noise_parameters(model)}
    own = {n for n, q in model.named_parameters() if id(q) in noise}
    assert set(model.state_dict()) - own == set(plain.state_dict())
    assert all(
        torch.equal(v, plain.state_dict()[k])
        for k, v in model.state_dict().items()
        if k.endswith(("weight", "bias")) and k not in own
    )
    ours = [m for m in model.modules() if isinstance(m, Dropout)]
    assert [m.p for m in ours] == ([] if name == "none" else [0.3, 0.5])
    assert {n.split(".")[1] for n, _ in model[0].named_modules(prefix="0") if "." in n} <= {
        "layer",
        "activation",
        "after",
        "dropout",
    }


@placed
def test_mc_dropout_turns_the_noise_on_and_leaves_batch_norm_alone(name: str, knobs: dict[str, object]) -> None:
    model = network(name, **knobs).eval()
    for module in model.modules():
        if isinstance(module, _DropoutNd):
            assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in module.modules())
            module.train()
    running = model[0].after[0].running_mean.clone()
    x = torch.randn(6, 1, 8, 8)
    noisy = not torch.equal(model(x), model(x))
    assert noisy == (name != "none")
    assert torch.equal(model[0].after[0].running_mean, running)


def test_where_the_noise_sits() -> None:
    """Standout and DropConnect act before what follows in the block, activation techniques after it."""
    for name in TECHNIQUES:
        block = network(name)[0]
        names = [n for n, _ in block.named_children()]
        if name in ("dropconnect", "standout"):
            assert isinstance(block.layer, TECHNIQUES[name])
            assert isinstance(block.layer.layer, nn.Conv2d)
            assert names == ["layer", "after"]
        else:
            assert names == ["layer", "activation", "after", "dropout"]
            assert isinstance(block.dropout, TECHNIQUES[name])
    assert isinstance(network("variational", form="weight")[0].layer, TECHNIQUES["variational"])


@pytest.mark.parametrize(
    ("name", "knobs", "said"),
    [
        ("dropac", {}, "dropact"),
        ("Standard", {}, "standard"),
        ("", {}, "standard"),
        ("dropact", {"rescal": "mass"}, "rescale"),
        ("dropact", {"rescale": "mas"}, "'mass'"),
        ("dropcorr", {"rescale": "unbiased"}, "unbiased"),
        ("none", {"rescale": "mass"}, "rescale"),
        ("standard", {"p": 0.5}, "p"),
    ],
)
def test_the_factory_refuses_what_it_does_not_know(name: str, knobs: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        factory(name, **knobs)


# CUDA


@needs_cuda
@pytest.mark.parametrize("case", SOME, ids=str)
def test_on_cuda(case: Case) -> None:
    module, x = case.build().cuda(), case.input().cuda().requires_grad_()
    y = module(x)
    assert y.is_cuda
    assert y.isfinite().all()
    y.sum().backward()
    torch.manual_seed(4)
    first = case.build().cuda()(x)
    torch.manual_seed(4)
    torch.testing.assert_close(case.build().cuda()(x), first)
    if not case.random_eval:
        torch.testing.assert_close(module.eval()(x).cpu(), case.build().eval()(case.input()), rtol=5e-3, atol=5e-3)
    if case.line.score:
        assert torch.equal(dropped(case.build().cuda(), x).sum(1).cpu(), expected_drops(case, case.input(), 0.4))


@needs_cuda
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("case", SOME, ids=str)
def test_on_cuda_under_autocast(case: Case, dtype: torch.dtype) -> None:
    module, x = case.build().cuda(), case.input().cuda()
    with torch.autocast("cuda", dtype=dtype):
        y = module(x)
    assert y.isfinite().all()


@needs_cuda
@pytest.mark.parametrize("case", SOME, ids=str)
def test_cuda_graph_capture(case: Case) -> None:
    """Captured once, every replay draws new noise and drops as many units as it should."""
    module, x = case.build().cuda(), case.input().cuda()
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side), torch.no_grad():
        for _ in range(3):
            module(x)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph), torch.no_grad():
        y = module(x)
    outputs = []
    for _ in range(3):
        graph.replay()
        outputs.append(y.clone())
    assert not torch.equal(outputs[0], outputs[1])
    assert all(o.isfinite().all() for o in outputs)


@needs_cuda
@pytest.mark.parametrize("technique", [DropAct, DropCorr])
def test_captured_masks_have_exactly_k_units(technique: type[Dropout]) -> None:
    module, x = technique(0.3), (torch.rand(20, 50) + 0.5).cuda()
    module.cuda()
    for _ in range(3):
        module(x)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = module(x)
    graph.replay()
    assert ((y == 0).sum(1) == 15).all()
    assert factors(module, x).is_cuda
