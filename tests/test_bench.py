import json
import math
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from scipy import stats

from core.__main__ import run
from core.bench import app, explore, layers, literal, precision, seeds, show, timing, training
from core.bench.budgets import BUDGETS, verdicts
from core.bench.memory import peak_bytes
from core.bench.results import Agreement, Growth, Paired, Result, amount, finding_of, read, results
from core.checkpoints import load
from core.dropout import TECHNIQUES
from tests import oracles

CPU = torch.device("cpu")


class Clock:
    """A clock that only work moves on."""

    def __init__(self, monkeypatch):
        self.now, self.calls = 0.0, []
        monkeypatch.setattr(timing.time, "perf_counter", lambda: self.now)

    def work(self, name, seconds):
        def step():
            self.calls.append(name)
            self.now += seconds

        return step


def test_works_are_timed_in_turn_and_each_gets_its_own_time(monkeypatch):
    clock = Clock(monkeypatch)
    works = {"slow": clock.work("slow", 3.0), "quick": clock.work("quick", 2.0), "short": clock.work("short", 1e-4)}

    times = timing.interleaved(works, seconds=60.0, device=CPU)

    assert times["slow"] == pytest.approx([3.0] * len(times["slow"]))
    assert times["quick"] == pytest.approx([2.0] * len(times["quick"]))
    assert times["short"] == pytest.approx([1e-4] * len(times["short"]))
    assert {len(t) for t in times.values()} == {math.ceil(60 / 5.001)}
    # What takes turns at the front cannot be favoured by standing behind the same neighbour.
    order = [name for name, before in zip(clock.calls[1:], clock.calls, strict=False) if name != before]
    fronts = {tuple(order[i : i + 3]) for i in range(len(order) - 2)}
    assert len({front for front in fronts if len(set(front)) == 3}) >= 3


def test_there_are_rounds_enough_however_long_one_takes(monkeypatch):
    clock = Clock(monkeypatch)

    times = timing.interleaved({"a": clock.work("a", 100.0), "b": clock.work("b", 1.0)}, seconds=0.0, device=CPU)

    assert len(times["a"]) == len(times["b"]) == timing.FEWEST_ROUNDS


def test_a_ratio_is_taken_round_by_round():
    slow_machine = np.array([1.0, 10.0, 1.0, 10.0, 1.0, 10.0, 1.0])

    middle, low, high = timing.ratio(2 * slow_machine, slow_machine)

    assert middle == low == high == 2.0


@pytest.mark.parametrize("n", [6, 7, 9, 12, 25, 60, 200, 999])
def test_the_interval_holds_the_median_with_95_percent_and_no_narrower_one_does(n):
    low, high = timing._ranks(n)

    def coverage(rank):  # that of the order statistics at rank and n - 1 - rank
        return 1 - 2 * stats.binom.cdf(rank, n, 0.5)

    assert high == n - 1 - low
    assert coverage(low) >= 0.95
    assert coverage(low + 1) < 0.95


def test_growth_finds_the_exponent():
    sizes = [64, 256, 1024]

    assert timing.growth(sizes, [3e-6 * n**1.5 for n in sizes]) == pytest.approx(1.5)


def test_the_peak_is_what_is_held_at_once():
    million = 250_000  # float32 numbers of a megabyte

    def work():
        a = torch.ones(million)
        b = a + 1
        del a
        return b + 1

    assert peak_bytes(work, CPU) == pytest.approx(2e6, rel=0.01)


@pytest.mark.parametrize("way", ["multinomial", "loop"])
@pytest.mark.parametrize("name", ["dropact", "dropinv"])
def test_literal_races_draw_as_the_paper_says(name, way):
    torch.manual_seed(0)
    weights = np.array([1.0, 2.0, 4.0, 0.5])
    x = torch.tensor(weights, dtype=torch.float32).repeat(4000, 1)

    fell = literal.LITERALS[name][way](x, 0.5) == 0

    wanted = oracles.sequential_drop_sets(weights if name == "dropact" else 1 / weights, 2)
    oracles.assert_sets_follow(fell.numpy(), wanted)


@pytest.mark.parametrize("way", list(literal.LITERALS["dropcorr"]))
def test_literal_dropcorr_samples_the_covariance(way):
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(4000, 6, generator=generator) @ torch.randn(6, 6, generator=generator)

    ours = TECHNIQUES["dropcorr"](0.5)(x) == 0
    theirs = literal.LITERALS["dropcorr"][way](x, 0.5) == 0

    assert (theirs.sum(1) == 3).all()
    oracles.assert_same_frequencies(ours.numpy(), theirs.numpy())


def test_every_technique_is_measured_over_every_size(monkeypatch):
    monkeypatch.setattr(timing, "SHORTEST", 0.0)
    monkeypatch.setattr(layers, "SIZES", (4, 16))
    monkeypatch.setattr(layers, "BATCHES", (1, 3))
    monkeypatch.setattr(layers, "BATCH", 2)
    monkeypatch.setattr(layers, "UNITS", 8)
    monkeypatch.setattr(layers, "FITTED_FROM", 0)

    found = list(layers.measure(layers.Plan(CPU, seconds=0.0)))

    taken = [f for f in found if isinstance(f, Result)]
    for name in TECHNIQUES:
        sizes = {(f.where["B"], f.where["N"]) for f in taken if f.case == name}
        assert sizes == {(2, 8), (2, 4), (2, 16), (1, 8), (3, 8)}, name
    assert all(f.low <= f.ratio <= f.high and f.rounds >= timing.FEWEST_ROUNDS for f in taken)
    grown = {(f.case, f.over) for f in found if isinstance(f, Growth)}
    assert {("dropcorr", "N"), ("dropcorr", "B"), ("nn.Dropout", "N")} <= grown
    assert {f"{name}, {way}" for name, ways in literal.LITERALS.items() for way in ways} <= {f.case for f in taken}


def test_what_layers_are_held_against_has_a_growth_of_its_own(monkeypatch):
    def at_size(plan, batch, units):
        def result(case, against, *exponents):
            seconds, base = (1e-6 * units**exponent for exponent in exponents)
            return Result("layers", case, against, {}, seconds, base, seconds / base, 0.0, 2.0, 5)

        return [result("dropcorr", layers.BASE, 1.0, 0.9), result("standout", "Linear, ReLU, nn.Dropout", 2.0, 1.9)]

    monkeypatch.setattr(layers, "at_size", at_size)
    found = layers.over(layers.Plan(CPU), "N", [(100, 4096), (100, 16384)])

    exponents = {f.case: f.exponent for f in found if isinstance(f, Growth)}
    wanted = {"dropcorr": 1.0, layers.BASE: 0.9, "standout": 2.0, "Linear, ReLU, nn.Dropout": 1.9}
    assert exponents == pytest.approx(wanted)


def finding(case, against, seconds, base=1.0, **where):
    return results("layers", {case: [seconds] * 7, against: [base] * 7}, against, where)[0]


def test_budgets_are_held_against_what_they_are_about():
    size = {"B": 100, "N": 1000, "device": "cpu"}
    found = [
        finding("standard", "nn.Dropout", 9.9, B=1, N=1000, device="cpu"),
        finding("standard", "nn.Dropout", 0.69, **size),
        finding("dropact", "nn.Dropout", 1.26, **size),
        finding("dropcorr, eigendecomposition", "dropcorr", 50.0, **size),
        Growth("layers", "dropcorr", "N", 1.04, 4096, 65536, {"device": "cpu"}),
    ]

    judged = {v.budget.what: v for v in verdicts(found, ["layers"], "cpu")}

    assert judged["standard, forward and backward, against nn.Dropout"].met is True
    assert judged["dropact, forward and backward, against nn.Dropout"].met is False
    assert judged["dropinv, forward and backward, against nn.Dropout"].met is None
    assert judged["dropcorr, eigendecomposition, forward and backward, against dropcorr"].met is True
    assert judged["dropcorr: exponent of its growth with N"].met is True
    assert not any("captured" in what for what in judged)


def test_an_amount_is_held_against_the_budget_of_its_unit():
    found = [
        amount("app", "stop", "s", {}, [0.1, 0.3, 9.0]),
        amount("app", "server with 30 viewers", "cores", {}, [0.11]),
        amount("app", "Explore", "MB", {}, [0.01]),
    ]

    judged = {v.budget.case: v for v in verdicts(found, ["app"], "cpu")}

    assert judged["stop"].met is True
    assert show.verdict_row(judged["stop"])[1:] == ("≤ 2 s", "300 ms", "100 ms to 9 s", "met")
    assert judged["server with 30 viewers"].met is False
    assert show.verdict_row(judged["server with 30 viewers"])[2] == "11.0 % of a core"
    assert judged["Explore"].met is None


def test_findings_come_back_from_json():
    found = [
        finding("standard", "nn.Dropout", 0.69, B=100),
        Growth("layers", "dropcorr", "N", 1.04, 4096, 65536, {"device": "cpu"}),
        Agreement("training", "loss", "by hand", {"steps": 12}, 1e-7),
        amount("app", "stop", "s", {}, [0.1, 0.3, 9.0]),
    ]

    assert [finding_of(json.loads(json.dumps(show.as_json(f) | {"environment": {}}))) for f in found] == found


def test_budgets_concern_techniques_that_there_are():
    for budget in BUDGETS:
        if budget.bench in ("precision", "seeds", "app"):
            continue
        assert budget.case.partition(",")[0] in TECHNIQUES or (budget.case, budget.against) in training.PAIRS, budget


@pytest.fixture
def small(monkeypatch):
    """The command on layers so small that it takes no time."""
    for name, value in {"UNITS": 8, "BATCH": 2}.items():
        monkeypatch.setattr(layers, name, value)
    monkeypatch.setattr(layers.Plan, "__init__", _brief)


def _brief(self, device, sizes=True):
    for name, value in {"device": device, "sizes": False, "seconds": 0.0, "literal": False}.items():
        object.__setattr__(self, name, value)


def test_the_command_prints_results_beside_budgets(small, capsys, tmp_path):
    page = tmp_path / "bench.html"

    assert run(["bench", "layers", "--quick", "--device", "cpu", "--html", str(page)]) == 0

    out = capsys.readouterr().out
    assert "nn.Dropout" in out
    assert "not measured" in out  # of the paper's size, which this is not
    text = page.read_text(encoding="utf-8")
    assert "Plotly.newPlot" in text
    assert "<script src" not in text
    assert "<link" not in text


def test_the_command_prints_json_and_nothing_else(small, capsys):
    assert run(["bench", "layers", "--device", "cpu", "--json"]) == 0

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["kind"] for line in lines} == {"result", "budget"}
    assert all("torch" in line["environment"] for line in lines if line["kind"] == "result")


def test_a_page_that_cannot_be_written_is_said_in_a_sentence(small, capsys, tmp_path):
    assert run(["bench", "layers", "--device", "cpu", "--html", str(tmp_path / "no" / "page.html")]) == 2

    assert "name another file" in capsys.readouterr().err


RESULTS = sorted((Path(__file__).parent / "benchmarks" / "results").glob("*.jsonl"))


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_kept_results_load_and_name_their_machine(path, capsys):
    found, about = read(path)

    assert found
    for line in path.read_text(encoding="utf-8").splitlines():
        if json.loads(line)["kind"] != "budget":
            assert json.loads(line)["environment"] == about
    assert about["device_name"]
    assert about["torch"]
    assert run(["bench", "--read", str(path)]) == 0
    assert about["device_name"] in capsys.readouterr().out


def test_what_was_printed_as_json_is_shown_again(small, capsys, tmp_path):
    kept = tmp_path / "here.jsonl"
    assert run(["bench", "layers", "--device", "cpu", "--json"]) == 0
    kept.write_text(capsys.readouterr().out, encoding="utf-8")
    before = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()]

    assert run(["bench", "--read", str(kept), "--json"]) == 0

    again = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert again == [line for line in before if line["kind"] == "budget"]
    assert again


def test_times_read_as_people_write_them():
    assert [show.duration(t) for t in (2.5, 0.9996, 0.0123, 4.2e-6)] == ["2.5 s", "1 s", "12.3 ms", "4.2 µs"]
    assert [show.times(r) for r in (0.7, 1.254, 123.4)] == ["0.7×", "1.25×", "123×"]


@pytest.mark.parametrize("name", TECHNIQUES)
def test_explore_answers_at_once_what_a_forward_for_each_answers(name):
    """Random numbers differ, so means over draws agree within their errors; without noise the answers are equal."""
    model, x = load("digits-none").model(name), torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with patch.object(explore, "FINE", (0.0, 0.3)):
        ours = explore.field(model, x, 0, draws=400, grid=(0.0, 0.3)).answers.double()
        theirs = explore.one_by_one(model, x, 400)().double()

    assert ours.shape == theirs.shape == (400, 2, 10)
    assert torch.allclose(ours[:, 0], theirs[:, 0], atol=1e-6)
    error = ((ours[:, 1].var(0) + theirs[:, 1].var(0)) / 400).sqrt()
    assert (theirs[:, 1].var(0) > 0).any()
    assert ((ours[:, 1].mean(0) - theirs[:, 1].mean(0)).abs() <= 4.5 * error + 1e-6).all()


def test_a_missing_dashboard_is_said_in_a_sentence(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(app, "ROOT", tmp_path)

    assert run(["bench", "app"]) == 1

    assert "no dashboard" in capsys.readouterr().err


def test_both_loops_compute_the_same():
    # Twelve steps of float32: sums in another order differ by some 1e-7 a step; another rate or order by far more.
    assert training.agreement(CPU).largest < 1e-5


def test_another_learning_rate_would_not_agree(monkeypatch):
    given = training.by_hand.train
    monkeypatch.setattr(
        training.by_hand, "train", lambda data, config, *rest: given(data, replace(config, lr=1.1 * config.lr), *rest)
    )

    assert training.agreement(CPU).largest > 1e-5


@pytest.mark.parametrize("halved", [True, False])
def test_training_is_measured_for_every_technique_and_against_the_loop_by_hand(monkeypatch, halved):
    monkeypatch.setattr(training, "computes_bf16", lambda device: halved)
    monkeypatch.setattr(timing, "SHORTEST", 0.0)
    monkeypatch.setattr(training, "STEPS", {"digits": 1})
    monkeypatch.setattr(training, "BATCHES", 40)

    found = list(training.measure(training.Plan(CPU, networks=("digits",), seconds=0.0)))

    pairs = {(f.case, f.against) for f in found}
    assert {(name, "none") for name in TECHNIQUES} <= pairs
    assert {pair for pair in training.PAIRS if halved or "bf16" not in "".join(pair)} <= pairs
    assert any("bf16" in case for case, _ in pairs) == halved
    assert isinstance(found[0], Agreement)
    assert "within" in show.as_row(found[0])[3]


def test_precisions_are_compared_seed_by_seed_on_equal_runs(monkeypatch):
    scores = {"fp32": [0.90, 0.92, 0.97], "bf16": [0.91, 0.92, 0.95]}
    asked = []

    def accuracy(config, data):
        asked.append(replace(config, precision="", seed=0))
        return scores[config.precision][config.seed]

    monkeypatch.setattr(precision, "accuracy", accuracy)

    (found,) = precision.measure(precision.Plan(CPU, precision.DIGITS[:1], seeds=3))

    differences = np.subtract(scores["bf16"], scores["fp32"])
    interval = stats.t.interval(0.95, 2, differences.mean(), stats.sem(differences))
    assert (found.pairs, found.difference) == (3, pytest.approx(differences.mean()))
    assert (found.low, found.high) == pytest.approx(interval)
    assert (found.base, found.spread) == pytest.approx((np.mean(scores["fp32"]), np.std(scores["fp32"], ddof=1)))
    assert len(asked) == 6
    assert all(config == asked[0] for config in asked)
    assert "-0.33 points of 93.00 ± 3.61 % with fp32" in show.as_row(found)


def test_a_network_is_trained_in_the_precision_that_is_asked_for():
    config = replace(precision.DIGITS[0], epochs=1, device="cpu")
    data = precision.load("digits")

    scores = {p: precision.accuracy(replace(config, precision=p), data) for p in ("fp32", "bf16")}

    assert all(0.2 < score < 1 for score in scores.values())


def test_every_run_of_the_precisions_has_its_budget():
    def paired(config, difference):
        where = {"data": config.dataset, "technique": config.technique, "device": "cpu"}
        return Paired("precision", "bf16", "fp32", where, "test accuracy", 5, 0.9, 0.01, difference, -0.02, 0.02)

    runs = precision.Plan(CPU).runs
    judged = verdicts([paired(config, -0.009) for config in runs], ["precision"], "cpu")

    assert len(judged) == len(runs)
    assert [verdict.met for verdict in judged] == [True] * len(runs)
    assert verdicts([paired(runs[0], 0.011)], ["precision"], "cpu")[0].met is False


@pytest.mark.parametrize("seed", [0, 2])
def test_seeds_at_once_are_the_seeds_in_turn(seed):
    config = replace(precision.DIGITS[0], technique="none", network="digits", device="cpu", record_every=1e9)
    data = precision.load("digits")
    together, alone = seeds.Together(config, data, 3), training.Trainer(replace(config, seed=seed), data)
    before = deepcopy(alone.model.state_dict())

    together.take(4)
    alone.advance(steps=4)

    for name, value in alone.model.state_dict().items():
        # Sums in another order change the way that the weights went; Adam makes much of it only where a gradient is
        # almost 0. Other images would change all of it.
        apart, gone = (other - value for other in (together.weights[name][seed], before[name]))
        assert apart.norm() < 0.01 * gone.norm(), name


def test_seeds_at_once_draw_noise_of_their_own():
    config = replace(precision.DIGITS[0], network="digits", device="cpu")
    data = precision.load("digits")
    together = seeds.Together(config, data, 2)
    with torch.no_grad():
        for value in (*together.weights.values(), *together._buffers.values()):
            value[1] = value[0]
    together._batches = [batch[:1].expand(2, -1) for batch in together._batches]

    together.take(1)

    assert any(not torch.equal(value[0], value[1]) for value in together.weights.values())


def test_seeds_are_measured_at_once_and_in_turn(monkeypatch):
    monkeypatch.setattr(timing, "SHORTEST", 0.0)
    monkeypatch.setattr(seeds, "STEPS", {"cpu": 1})
    monkeypatch.setattr(training, "BATCHES", 20)

    found = list(seeds.measure(seeds.Plan(CPU, ("digits",), seeds=2, seconds=0.0)))

    assert [(f.case, f.against, f.where["technique"]) for f in found] == [
        (seeds.AT_ONCE, seeds.IN_TURN, name) for name in seeds.TECHNIQUES
    ]
