"""Pictures of lessons that rest on training: their facts against other means, their charts, and mistakes in files."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from app import seed_charts
from app.call_charts import accuracy_of_calls
from app.lessons import reading
from app.lessons.lesson import Lesson, LessonError
from app.lessons.reading import from_yaml, lessons
from core import baseline, checkpoints
from core.checkpoints.files import SHIPPED
from core.data import load
from core.dropout import Standard
from core.inspection import called
from core.jobs import LocalEngine
from core.runs import RunStore
from core.training import Trainer

CURVES = """\
title: A lesson
about: What it is about.
minutes: 3
training: {techniques: [none, standard], p: [0.2, 0.5], seeds: 0-1, epochs: 3, train_size: 200}
steps:
  - title: First
    text: "[Training](#train) on {{images}} images, {{standard_p50.quiet}}."
    picture: {kind: curves}
    question: {ask: "Which?", answers: [one, two], right: 1}
    explain: "[One](#standard_p20)."
    check: none.least < none.validation
"""
COMPARISON = """\
title: A lesson
about: What it is about.
minutes: 3
steps:
  - title: First
    text: "[The table](#table) of {{seeds}} seeds."
    picture: {kind: comparison, table: seeds, seeds: 5, techniques: [standard, dropcorr, none]}
    question: {ask: "Which?", answers: [one, two], right: 1}
    explain: "{{none.low}}"
    check: none.high < 0
"""
CALLS = """\
title: A lesson
about: What it is about.
minutes: 3
steps:
  - title: First
    text: "[Calls](#calls), {{images}}."
    picture: {kind: calls, p: 0.5, calls: 10}
    question: {ask: "Which?", answers: [one, two], right: 1}
    explain: "{{mean}}"
    check: mean < accuracy
"""


def named(key: str) -> Lesson:
    return next(lesson for lesson in lessons()[0] if lesson.key == key)


@pytest.fixture
def untrained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lesson:
    """A lesson with curves of six runs, on a server where no worker starts."""
    folder = tmp_path / "lessons"
    folder.mkdir()
    (folder / "9-mine.yaml").write_text(CURVES)
    monkeypatch.setattr(reading, "SHIPPED", folder)
    monkeypatch.setattr(LocalEngine, "advance", lambda self: None)
    return lessons()[0][0]


def test_the_facts_of_curves_are_those_of_the_records(untrained: Lesson, store: RunStore) -> None:
    shown = untrained.steps[0].after
    waiting = shown.facts()
    assert set(waiting) == shown.names()
    assert waiting["none.validation"] == "…"
    assert (waiting["images"], waiting["epochs"]) == (200, 3)
    digits = load("digits")
    assert waiting["validation_images"] == len(digits.validation) + len(digits.train) - 200
    wait = shown.waits()
    assert wait
    assert "0 of 6 networks are done" in wait.sentence
    random = np.random.default_rng(0)
    values = {}
    for run in store.list():
        records = random.random((3, 5))
        names = ("loss", "accuracy", "train_eval_loss", "val_loss", "val_accuracy")
        for epoch, row in enumerate(records.tolist(), 1):
            measured = dict(zip(names, row, strict=True))
            store.record(run.id, [{"kind": "epoch", "step": 2 * epoch, "epoch": float(epoch), **measured}])
        store.finish(run.id, "done", final={"epoch": 3.0})
        values.setdefault((run.config["technique"], run.config["p"]), []).append(records)
    assert shown.waits() is None
    facts = shown.facts()
    assert set(facts) == shown.names()
    means = {key: np.mean(runs, 0) for key, runs in values.items()}
    for name, mean in (("none", means["none", None]), ("standard_p50", means["standard", 0.5])):
        expected = {
            "train": mean[2, 0], "train_accuracy": 100 * mean[2, 1], "quiet": mean[2, 2], "validation": mean[2, 3],
            "accuracy": 100 * mean[2, 4], "least": mean[:, 3].min(), "least_epoch": 1 + mean[:, 3].argmin(),
            "rise": mean[2, 3] / mean[:, 3].min(), "gap": mean[2, 3] - mean[2, 2],
            "gain": 100 * (mean[2, 4] - means["none", None][2, 4]),
        }  # fmt: skip
        assert {key: facts[f"{name}.{key}"] for key in expected} == pytest.approx(expected)
    assert (facts["none.p"], facts["standard_p20.p"]) == (0.0, 0.2)


def test_a_picture_waits_for_its_own_runs_only(untrained: Lesson, store: RunStore) -> None:
    text = CURVES.replace("{kind: curves}", "{kind: curves, runs: [none]}").replace(", {{standard_p50.quiet}}", "")
    shown = from_yaml(text.replace("#standard_p20", "#none"), "9-mine.yaml").steps[0].after
    assert shown.waits()
    for run in store.list():
        if run.config["technique"] == "none":
            store.record(run.id, [{"kind": "epoch", "step": 2, "epoch": 1.0, "val_loss": 0.5, "val_accuracy": 0.5}])
            store.finish(run.id, "done")
    assert shown.waits() is None
    assert untrained.steps[0].after.waits()


@pytest.mark.parametrize("key", [lesson.key for lesson in lessons()[0] if lesson.training])
def test_what_a_lesson_trains_is_small(key: str) -> None:
    training = named(key).training
    assert training
    # Measured: such a run takes about 2 s of one core, and its process about 4 s to start.
    assert len(training.configs) <= 4
    steps = [Trainer(config).total_steps for config in training.configs]
    assert max(steps) <= 150


def test_the_facts_of_a_comparison_are_those_of_scipy() -> None:
    facts = from_yaml(COMPARISON, "9-mine.yaml").steps[0].after.facts()
    table = pd.read_csv(SHIPPED / "seeds" / "digits.csv", keep_default_na=False)
    scores = 100 * table.pivot_table(index="seed", columns="technique", values="test_accuracy").head(5)
    p_values = []
    for name in ("dropcorr", "none"):
        apart = (scores[name] - scores["standard"]).to_numpy()
        # Two comparisons at once: Bonferroni's level.
        test = stats.ttest_1samp(apart, 0.0)
        low, high = test.confidence_interval(1 - 0.05 / 2)
        p_values.append(test.pvalue)
        expected = {
            "accuracy": scores[name].mean(), "sd": scores[name].std(), "lowest": scores[name].min(),
            "highest": scores[name].max(), "difference": apart.mean(), "low": low, "high": high, "width": high - low,
            "spread": scores[name].max() - scores[name].min(), "ahead": (apart > 0.01).sum(),
            "level": (abs(apart) < 0.01).sum(), "images_more": round(apart.mean() * 3.59),
        }  # fmt: skip
        assert {key: facts[f"{name}.{key}"] for key in expected} == pytest.approx(expected, rel=1e-6, abs=1e-6)
    # Holm's correction, written out for two.
    least, other = sorted(p_values)
    corrected = sorted([2 * least, max(2 * least, other)])
    assert sorted([facts["none.p_value"], facts["dropcorr.p_value"]]) == pytest.approx(corrected)
    assert facts["none.percent"] == pytest.approx(100 * float(facts["none.p_value"]))
    assert facts["standard.difference"] == 0
    assert (facts["seeds"], facts["images"], facts["best"]) == (5, 359, "DropCorr")
    assert "No dropout is worse than Standard" in str(facts["verdict"])


def test_the_shipped_seeds_are_alike_but_for_technique_and_seed() -> None:
    table = pd.read_csv(SHIPPED / "seeds" / "digits.csv", keep_default_na=False)
    assert set(table["technique"]) == {"none", "standard", "dropcorr"}
    assert all(list(seeds) == list(range(10)) for _, seeds in table.groupby("technique")["seed"])
    assert set(table["epoch"]) == {checkpoints.load("digits-dropcorr").epochs}
    # A share of 359 images is a whole number of them.
    whole = 359 * table["test_accuracy"]
    assert (whole - whole.round()).abs().max() < 1e-3


def test_one_seed_has_a_difference_and_no_interval() -> None:
    step = named("a-or-b").steps[0]
    facts = step.after.facts()
    shipped = {info.technique: info.accuracy for info in checkpoints.shipped() if info.dataset == "digits"}
    assert facts["techniques"] == len(shipped)
    ahead = 100 * (float(shipped["dropcorr"] or 0) - float(shipped["standard"] or 0))
    assert facts["dropcorr.difference"] == pytest.approx(ahead, abs=1e-4)
    assert facts["dropcorr.images_more"] == round(ahead * 359 / 100)
    assert math.isnan(float(facts["dropcorr.low"]))


def test_the_facts_of_calls_are_what_the_network_answers() -> None:
    facts = from_yaml(CALLS, "9-mine.yaml").steps[0].after.facts()
    net = checkpoints.load("digits-standard")
    test = load("digits").test
    assert facts["accuracy"] == pytest.approx(100 * float(net.accuracy or 0), abs=1e-3)
    model = net.model(p=0.5).train()
    torch.manual_seed(77)
    with torch.no_grad():
        answers = torch.stack([model(net.normalise(test.x)).argmax(1) for _ in range(100)])
    right = 100 * (answers == test.y).double().mean(1)
    error = float(right.std()) / math.sqrt(10)
    assert facts["mean"] == pytest.approx(float(right.mean()), abs=4 * error)
    changed = (answers[::2] != answers[1::2]).sum(1).double()
    assert facts["changed"] == pytest.approx(float(changed.mean()), abs=4 * float(changed.std()))
    assert float(facts["lost"]) == pytest.approx(float(facts["accuracy"]) - float(facts["mean"]))
    assert float(facts["lowest"]) <= float(facts["mean"]) <= float(facts["highest"])
    assert facts["eval_changed"] == 0


def test_more_calls_begin_with_the_same_ones_and_leave_the_model_as_it_was() -> None:
    model = torch.nn.Sequential(
        torch.nn.Linear(6, 5), torch.nn.BatchNorm1d(5), Standard(p=0.5), torch.nn.Linear(5, 4)
    ).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x = torch.randn(40, 6)
    few, many = (called(model, x, calls=calls, training=True) for calls in (3, 7))
    assert torch.equal(few, many[:3])
    assert few.shape == (3, 40)
    assert (many != many[0]).any()
    quiet = called(model, x, calls=3, training=False)
    assert torch.equal(quiet, model(x).argmax(1).expand(3, 40))
    assert not model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(ValueError, match="not 0"):
        called(model, x, calls=0, training=True)


@pytest.mark.parametrize(
    ("text", "old", "new", "line", "sentence"),
    [
        (CURVES, "{kind: curves}", "{kind: curves, runs: [standard]}", 8, "no run; did you mean standard_p"),
        (CURVES, "{kind: curves}", "{kind: curves, curves: [test]}", 8, "'test' is no curve; there are train"),
        (CURVES, "{kind: curves}", "{kind: curves, parts: [list]}", 8, "'list' is no part"),
        (CURVES, "training:", "trainings:", 4, "no setting 'trainings'; did you mean training?"),
        (CURVES, "training: {", "# {", 8, "curves are of what the lesson trains"),
        (CURVES, "{{images}}", "{{pictures}}", 7, "This picture has no fact 'pictures'"),
        (COMPARISON, "table: seeds", "table: seed", 7, "'seed' is no table; did you mean seeds?"),
        (COMPARISON, "seeds: 5", "seeds: 50", 7, "seeds must be a whole number from 1 to 10, got 50"),
        (COMPARISON, "seeds: 5", "seeds: 5, skip: 6", 7, "seeds must be a whole number from 1 to 4, got 5"),
        (COMPARISON, "[standard, dropcorr, none]", "[standard]", 7, "It takes two techniques to compare."),
        (COMPARISON, "none]", "dropact]", 7, "'dropact' is no technique; did you mean dropcorr?"),
        (COMPARISON, "seeds: 5", "seeds: 5, baseline: gaussian", 7, "'gaussian' is no baseline"),
        (CALLS, "calls: 10", "calls: 1", 7, "calls must be a whole number from 2 to 100"),
        (CALLS, "kind: calls", "kind: calls, net: digits-none", 7, "'digits-none' is no net"),
        (CALLS, "#calls", "#again", 6, "This picture has no part 'again'"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_sentence_with_its_line(text: str, old: str, new: str, line: int, sentence: str) -> None:
    assert text.count(old) == 1
    with pytest.raises(LessonError) as caught:
        from_yaml(text.replace(old, new), "9-mine.yaml")
    assert f"ine {line}: " in str(caught.value), str(caught.value)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_differences_are_drawn_as_they_are_judged() -> None:
    rows = pd.DataFrame(
        {"id": list("abcdef"), "variant": ["A"] * 3 + ["B"] * 3, "technique": ["none"] * 3 + ["standard"] * 3,
         "seed": [0, 1, 2] * 2, "test_accuracy": [0.90, 0.91, 0.92, 0.93, 0.93, 0.97],
         "train_seconds": [math.nan] * 6, "seconds_per_epoch": [math.nan] * 6}
    )  # fmt: skip
    tests = baseline.against(rows, "A")
    chart = seed_charts.differences(rows, tests, "A", (-1.0, 6.0))
    seeds, mean = chart.figure.data
    assert sorted(seeds.x) == pytest.approx([2.0, 3.0, 5.0])
    assert list(seeds.customdata[np.argsort(seeds.x)]) == [1, 0, 2]
    low, high = stats.ttest_1samp([2.0, 3.0, 5.0], 0.0).confidence_interval(0.95)
    assert mean.x[0] == pytest.approx(10 / 3)
    assert mean.error_x.array[0] == pytest.approx((high - low) / 2)
    assert {0.0, -1.0, 6.0} <= set(chart.figure.layout.xaxis.autorangeoptions.include)
    assert "B +3.33" in chart.alt
    alone = baseline.against(rows[rows["seed"] == 0], "A")
    assert not seed_charts.differences(rows[rows["seed"] == 0], alone, "A").figure.data[1].error_x.visible
    by_seed = seed_charts.accuracy_by_seed(rows)
    assert list(by_seed.legend) == ["B", "A"]
    assert list(by_seed.figure.data[0].y) == pytest.approx([93.0, 93.0, 97.0])
    assert "A: 90.0, 91.0, 92.0" in by_seed.alt


def test_calls_are_drawn_in_both_modes() -> None:
    on = torch.tensor([[True, False], [True, True]])
    chart = accuracy_of_calls(on, torch.ones(2, 2, dtype=torch.bool), "standard")
    assert {name: list(trace.y) for name, trace in zip(("off", "on"), chart.figure.data, strict=True)} == {
        "off": [100.0, 100.0], "on": [50.0, 100.0],
    }  # fmt: skip
    assert "50.0 to 100.0 %, after eval() 100.0 % each time" in chart.alt
    assert [look.marker for look in chart.legend.values()] == ["circle", "diamond"]
