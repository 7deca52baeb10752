"""Runs → tables, against values worked out by hand and by scipy.stats."""

import math
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from streamlit.testing.v1 import AppTest

from core import comparison, variants
from core.config import Config
from core.runs import RunStore
from tests.test_app import table

ROUTER = Path(__file__).parent.parent / "app" / "router.py"


@dataclass
class FakeRun:
    id: str
    config: dict[str, Any]
    final: dict[str, Any] = field(default_factory=dict)
    latest: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, Any] = field(default_factory=lambda: {"device": "cpu"})
    status: str = "done"
    created: float = 0.0
    name: str = "a run"
    tags: tuple[str, ...] = ()
    experiment: str | None = None
    marks: tuple[Any, ...] = ()


NUMBERS = count()


def run(technique: str, seed: int, accuracy: float | None, seconds: float = 2.0, **config: Any) -> Any:
    own = {"technique": technique, "seed": seed, "dataset": "digits", "network": "auto", "epochs": 10, "width": 1.0}
    final = {} if accuracy is None else {"test_accuracy": accuracy, "train_seconds": seconds}
    return FakeRun(f"{technique}-{seed}-{next(NUMBERS)}", own | config, final)


def rows_of(scores: dict[str, list[float]], seconds: dict[str, float] | None = None) -> pd.DataFrame:
    runs = [
        run(technique, seed, accuracy, (seconds or {}).get(technique, 2.0))
        for technique, values in scores.items()
        for seed, accuracy in enumerate(values)
    ]
    return variants.table(runs)


def test_a_summary_has_mean_sample_sd_and_the_time_an_epoch_relative_to_no_dropout() -> None:
    rows = rows_of(
        {"none": [0.90, 0.94], "dropcorr": [0.95, 0.95, 0.98], "standard": [0.91]},
        {"none": 4.0, "dropcorr": 6.0, "standard": 2.0},
    )
    summary = comparison.summary(rows).set_index("variant")
    assert list(summary.index) == ["dropcorr", "none", "standard"]
    assert summary.loc["none", "accuracy"] == pytest.approx(0.92)
    assert summary.loc["none", "accuracy_sd"] == pytest.approx(math.sqrt(2 * 0.02**2 / 1))
    assert summary.loc["dropcorr", "n"] == 3
    assert summary.loc["dropcorr", "accuracy_sd"] == pytest.approx(math.sqrt((0.01**2 * 2 + 0.02**2) / 2))
    assert summary.loc["dropcorr", "ratio"] == pytest.approx(1.5)
    assert summary.loc["standard", "ratio"] == pytest.approx(0.5)
    assert math.isnan(summary.loc["standard", "accuracy_sd"])


def test_times_relate_to_the_fastest_where_no_run_is_without_dropout() -> None:
    rows = rows_of({"standard": [0.9], "dropact": [0.9]}, {"standard": 3.0, "dropact": 4.5})
    assert comparison.reference(rows) == "standard"
    assert comparison.summary(rows).set_index("variant").loc["dropact", "ratio"] == pytest.approx(1.5)


def test_a_run_cut_short_counts_by_the_time_an_epoch_took() -> None:
    long, short = run("standard", 0, 0.9, 10.0), run("dropact", 0, 0.9, 5.0)
    short.final["epoch"] = 5.0
    rows = variants.table([long, short])
    assert list(rows["seconds_per_epoch"]) == [1.0, 1.0]
    assert list(rows["epochs"]) == [10, 5.0]


def test_nothing_finished_says_so_and_breaks_nothing() -> None:
    rows = variants.table([run("standard", 0, None)])
    assert comparison.summary(rows).empty
    assert comparison.reference(rows) is None
    assert comparison.verdict(rows) == "No run here has finished yet: test accuracy is measured at the end."


def test_only_runs_of_one_data_set_network_and_width_are_comparable() -> None:
    wide, narrow, other = run("none", 0, 0.9), run("none", 0, 0.9, width=0.5), run("none", 0, 0.9, dataset="mnist")
    narrow.created, other.created = 2.0, 1.0
    groups = variants.comparable([wide, narrow, other])
    assert list(groups) == [("digits", "digits, width 0.5"), ("mnist", "mnist"), ("digits", "digits")]


def test_a_technique_with_several_settings_becomes_several_variants_named_by_what_differs() -> None:
    runs = [
        run("dropcorr", 0, 0.9, p=None, knobs={}),
        run("dropcorr", 0, 0.9, p=0.5, knobs={"count": "active"}),
        run("dropcorr", 1, 0.9, p=0.5, knobs={"count": "active"}),
        run("standard", 0, 0.9, p=0.5, knobs={}),
    ]
    assert list(variants.table(runs, {"dropcorr": "DropCorr", "standard": "Standard"})["variant"]) == [
        "DropCorr (p default)",
        "DropCorr (p 0.5, count active)",
        "DropCorr (p 0.5, count active)",
        "Standard",
    ]


def test_a_default_spelled_out_is_the_same_variant_as_one_left_out() -> None:
    runs = [
        run("dropcorr", 0, 0.9, knobs={}),
        run("dropcorr", 1, 0.9, knobs={"count": "layer", "clamp": 10}),
        run("dropcorr", 2, 0.9, knobs={"count": "active", "refresh_every": 1}),
        run("unheard", 0, 0.9, knobs={"count": "layer"}),
        run("unheard", 0, 0.9, knobs={}),
    ]
    assert list(variants.table(runs)["variant"]) == [
        "dropcorr", "dropcorr", "dropcorr (count active)", "unheard (count layer)", "unheard",
    ]  # fmt: skip


def test_comparing_imports_torch_only_where_runs_have_knobs() -> None:
    code = "import sys; from core import comparison, variants; variants.table([]); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def on_folder(seed: int, found: str | None, created: float, **config: Any) -> Any:
    own = run("none", seed, None, **({"dataset": "/imgs"} | config))
    own.environment = {"network": found} if found else {}
    own.created = created
    return own


def test_a_run_that_waits_on_a_folder_stands_with_those_that_found_its_network() -> None:
    waiting, done = on_folder(1, None, 2.0), on_folder(0, "cifar10", 1.0)
    groups = variants.comparable([waiting, done])
    assert groups == {("/imgs", "cifar10"): [waiting, done]}
    assert list(variants.table([waiting, done])["network"]) == ["cifar10", "cifar10"]
    narrow = on_folder(1, None, 3.0, width=0.5)
    assert list(variants.comparable([narrow, done])) == [("/imgs", "cifar10, width 0.5"), ("/imgs", "cifar10")]


def test_a_network_that_was_asked_for_or_another_folder_says_nothing_about_auto() -> None:
    waiting = on_folder(1, None, 2.0)
    asked, other = on_folder(0, "mnist", 1.0, network="mnist"), on_folder(0, "cifar10", 0.0, dataset="/others")
    groups = variants.comparable([waiting, asked, other])
    assert list(groups) == [("/imgs", "/imgs"), ("/imgs", "mnist"), ("/others", "cifar10")]


def curves_of(runs: list[tuple[int, list[float]]]) -> pd.DataFrame:
    """Of one variant, from each run's seed and its values after each epoch."""
    rows = variants.table([run("standard", seed, None) for seed, _ in runs])
    records = [
        (name, float(epoch), value)
        for name, (_, values) in zip(rows["id"], runs, strict=True)
        for epoch, value in enumerate(values, 1)
    ]
    return comparison.curves(pd.DataFrame(records, columns=["run", "epoch", "val_accuracy"]), rows)


def test_a_curve_ends_with_the_last_epoch_that_all_its_seeds_have_reached() -> None:
    curves = curves_of([(0, [0.6, 0.7, 0.8]), (1, [0.2, 0.3]), (2, [])])
    assert list(curves["epoch"]) == [1, 2]
    assert list(curves["mean"]) == pytest.approx([0.4, 0.5])
    assert list(curves["n"]) == [2, 2]
    assert list(curves_of([(0, [0.6, 0.7, 0.8])])["epoch"]) == [1, 2, 3]


def test_a_curve_counts_a_seed_trained_again_once_and_by_the_runs_that_came_furthest() -> None:
    curves = curves_of([(0, [0.6, 0.8]), (0, [0.8, 1.0]), (0, [0.1]), (1, [0.3, 0.5])])
    assert list(curves["mean"]) == pytest.approx([0.5, 0.7])
    assert list(curves["sd"]) == pytest.approx([math.sqrt(0.08), math.sqrt(0.08)])
    assert list(curves["n"]) == [2, 2]


def test_curves_have_mean_and_sd_over_seeds_at_whole_epochs_only() -> None:
    rows = rows_of({"standard": [0.9, 0.8], "none": [0.7]})
    one, two, three = rows["id"]
    records = pd.DataFrame(
        [
            (one, 0.5, 0.1), (one, 1.0, 0.6), (one, 2.0, 0.8),
            (two, 1.0, 0.4), (two, 2.0, math.nan),
            (three, 1.0, 0.5), (three, 2.0, 0.7),
        ],
        columns=["run", "epoch", "val_accuracy"],
    )  # fmt: skip
    curves = comparison.curves(records, rows).set_index(["variant", "epoch"])
    assert list(curves.index) == [("none", 1), ("none", 2), ("standard", 1)]
    assert curves.loc[("standard", 1), "mean"] == pytest.approx(0.5)
    assert curves.loc[("standard", 1), "sd"] == pytest.approx(math.sqrt(0.02))
    assert curves.loc[("none", 2), "n"] == 1
    assert curves.loc[("none", 2), "sd"] == 0.0
    assert curves.loc[("none", 1), "mean"] == pytest.approx(0.5)


SCORES = {
    "dropcorr": [0.981, 0.979, 0.984, 0.980, 0.982],
    "standard": [0.972, 0.969, 0.977, 0.970, 0.974],
    "gaussian": [0.979, 0.981, 0.983, 0.978, 0.984],
}


def test_differences_to_the_best_are_paired_by_seed_and_corrected_for_their_number() -> None:
    tests = comparison.against_best(rows_of(SCORES)).set_index("variant")
    pairs = [("dropcorr", "standard"), ("dropcorr", "gaussian"), ("standard", "gaussian")]
    raw = {pair: stats.ttest_rel(SCORES[pair[0]], SCORES[pair[1]]).pvalue for pair in pairs}
    ranked = sorted(pairs, key=raw.__getitem__)
    holm = {
        pair: max((3 - i) * raw[earlier] for i, earlier in enumerate(ranked[: n + 1])) for n, pair in enumerate(ranked)
    }
    assert tests.loc["standard", "p_value"] == pytest.approx(holm["dropcorr", "standard"])
    assert tests.loc["gaussian", "p_value"] == pytest.approx(holm["dropcorr", "gaussian"])
    assert tests.loc["standard", "difference"] == pytest.approx(-0.0088)


def test_eight_equal_techniques_are_seldom_told_apart() -> None:
    """The luckiest of equals passes as better in at most 5 % of experiments; the bound on 400 has a chance of 1e-6."""
    draws = np.random.default_rng(0).normal(0.97, 0.003, (400, 8, 3))
    names = [f"technique {i}" for i in range(8)]
    rows = pd.DataFrame({"variant": np.repeat(names, 3), "technique": np.repeat(names, 3), "seed": [0, 1, 2] * 8})
    rows = rows.assign(train_seconds=1.0, seconds_per_epoch=1.0)
    found = [comparison.against_best(rows.assign(test_accuracy=draw.ravel()))["p_value"].min() < 0.05 for draw in draws]
    assert sum(found) <= stats.binom.ppf(1 - 1e-6, 400, 0.05)


def test_other_seeds_are_compared_by_welch() -> None:
    runs = [run("dropcorr", seed, value) for seed, value in enumerate(SCORES["dropcorr"])]
    runs += [run("standard", 100 + seed, value) for seed, value in enumerate(SCORES["standard"][:4])]
    tests = comparison.against_best(variants.table(runs))
    expected = stats.ttest_ind(SCORES["dropcorr"], SCORES["standard"][:4], equal_var=False).pvalue
    assert tests["p_value"].item() == pytest.approx(expected)


def test_the_verdict_names_what_differs_and_what_the_seeds_do_not_decide() -> None:
    assert comparison.verdict(rows_of(SCORES)) == (
        "With 5 seeds, dropcorr (98.1 %) is better than standard by more than chance allows; "
        "against gaussian these seeds do not decide."
    )
    equal = {name: SCORES[name] for name in ("dropcorr", "gaussian")}
    assert comparison.verdict(rows_of(equal)) == (
        "With 5 seeds, no technique differs from dropcorr (highest mean, 98.1 %) by more than chance allows. "
        "More seeds would show smaller differences."
    )


def test_too_few_seeds_allow_no_ranking_and_the_verdict_says_which() -> None:
    assert comparison.verdict(rows_of({"standard": [0.9], "dropact": [0.8]})) == (
        "standard has the highest mean, 90.0 %, but one seed does not allow a ranking: a difference can be chance. "
        "Train at least 3 seeds of each."
    )
    assert comparison.verdict(rows_of({"standard": [0.9, 0.91, 0.92], "dropact": [0.8, 0.81]})) == (
        "standard has the highest mean, 91.0 %, but 2 seeds of dropact do not allow a ranking: a difference can be "
        "chance. Train at least 3 seeds of each."
    )
    tied = {"standard": [0.9], "dropact": [0.8], "dropinv": [0.9]}
    assert comparison.verdict(rows_of(tied)).startswith("standard and dropinv share the highest mean, 90.0 %, but one")


def test_one_technique_alone_asks_for_a_second() -> None:
    assert comparison.verdict(rows_of({"standard": [0.9, 0.92]})) == (
        "standard reaches 91.0 % (2 seeds). Train a second technique to compare it with."
    )


def test_scores_that_do_not_vary_decide_nothing() -> None:
    rows = rows_of({"standard": [0.9, 0.9, 0.9], "dropact": [0.8, 0.8, 0.8]})
    assert comparison.against_best(rows)["p_value"].item() == 1.0


def test_differences_the_same_in_every_seed_are_judged_by_welch() -> None:
    scores = {"standard": [0.90, 0.91, 0.92], "dropact": [0.80, 0.81, 0.82]}
    tests = comparison.against_best(rows_of(scores))
    expected = stats.ttest_ind(scores["standard"], scores["dropact"], equal_var=False).pvalue
    assert tests["p_value"].item() == pytest.approx(expected)
    assert comparison.verdict(rows_of(scores)) == (
        "With 3 seeds, standard (91.0 %) is better than dropact by more than chance allows."
    )


def test_one_seed_trained_three_times_is_one_seed() -> None:
    runs = [run(name, 0, value) for name, best in (("standard", 0.9), ("none", 0.8)) for value in (best, best - 0.03)]
    rows = variants.table([*runs, run("standard", 0, 0.87), run("none", 0, 0.77)])
    assert list(comparison.summary(rows)["n"]) == [1, 1]
    assert comparison.against_best(rows)["p_value"].item() == 1.0
    assert comparison.verdict(rows) == (
        "standard has the highest mean, 88.0 %, but one seed does not allow a ranking: a difference can be chance. "
        "Train at least 3 seeds of each."
    )


def test_a_summary_weighs_seeds_alike_however_often_each_was_trained() -> None:
    again = [run("none", 0, 0.90, 2.0), run("none", 0, 0.90, 4.0), run("none", 0, 0.96, 6.0), run("none", 1, 0.96, 8.0)]
    rows = variants.table([*again, run("standard", 0, 0.93, 12.0), run("standard", 1, 0.93, 12.0)])
    summary = comparison.summary(rows).set_index("variant")
    assert summary.loc["none", "n"] == 2
    assert summary.loc["none", "accuracy"] == pytest.approx(0.94)
    assert summary.loc["none", "accuracy_sd"] == pytest.approx(math.sqrt(2 * 0.02**2))
    assert summary.loc["none", "seconds"] == pytest.approx(6.0)
    assert summary.loc["standard", "ratio"] == pytest.approx(2.0)
    tests = comparison.against_best(rows)
    assert tests["difference"].item() == pytest.approx(-0.01)


def test_the_page_shows_one_seed_trained_three_times_as_one_seed() -> None:
    store = RunStore()
    for technique, accuracy in (("standard", 0.9), ("none", 0.8)):
        for again in range(3):
            name = store.create(Config(technique=technique, seed=0, epochs=1).to_dict(), {"device": "cpu"})
            final = {"test_accuracy": accuracy + 0.01 * again, "train_seconds": 1.0, "epoch": 1.0}
            store.finish(name, "done", final=final)
    test = AppTest.from_file(ROUTER, default_timeout=60).switch_page("app_pages/compare.py").run()
    assert not test.exception
    assert list(table(test)["Seeds"]) == ["1", "1"]
    assert "one seed does not allow a ranking" in "".join(part.proto.body for part in test.get("html"))
