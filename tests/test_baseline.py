"""Differences to a pinned baseline, against scipy.stats and by simulation."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from core import baseline
from core.significance import paired_difference

SCORES = {
    "dropcorr": [0.981, 0.979, 0.984, 0.980, 0.982],
    "standard": [0.972, 0.969, 0.977, 0.970, 0.974],
    "gaussian": [0.979, 0.981, 0.983, 0.978, 0.986],
}


def rows_of(scores: dict[str, list[float]], first: dict[str, int] | None = None) -> pd.DataFrame:
    """A run a seed; the seeds of a technique begin at ``first``."""
    parts = [
        {"variant": name, "technique": name, "seed": seed, "test_accuracy": value}
        for name, values in scores.items()
        for seed, value in enumerate(values, (first or {}).get(name, 0))
    ]
    return pd.DataFrame(parts).assign(train_seconds=1.0, seconds_per_epoch=1.0)


def test_differences_intervals_and_p_values_are_those_of_scipy_corrected_for_the_comparisons() -> None:
    tests = baseline.against(rows_of(SCORES), "standard").set_index("variant")
    assert list(tests.index) == ["dropcorr", "gaussian"]
    found = {name: stats.ttest_rel(SCORES[name], SCORES["standard"]) for name in tests.index}
    first, last = sorted(found, key=lambda name: found[name].pvalue)
    assert tests.loc[first, "p_value"] == pytest.approx(2 * found[first].pvalue)
    assert tests.loc[last, "p_value"] == pytest.approx(max(2 * found[first].pvalue, found[last].pvalue))
    for name, test in found.items():
        interval = test.confidence_interval(1 - 0.05 / 2)
        assert tests.loc[name, ["low", "high"]].tolist() == pytest.approx([interval.low, interval.high])
        assert tests.loc[name, "difference"] == pytest.approx(np.mean(SCORES[name]) - np.mean(SCORES["standard"]))
        assert tests.loc[name, "pairs"] == 5


def test_one_comparison_is_not_corrected() -> None:
    two = {name: SCORES[name] for name in ("standard", "dropcorr")}
    test = stats.ttest_rel(SCORES["dropcorr"], SCORES["standard"])
    found = baseline.against(rows_of(two), "standard").iloc[0]
    assert found["p_value"] == pytest.approx(test.pvalue)
    assert [found["low"], found["high"]] == pytest.approx([*test.confidence_interval(0.95)])


def test_only_seeds_that_both_have_are_paired() -> None:
    shifted = {"standard": SCORES["standard"], "dropcorr": SCORES["dropcorr"]}
    found = baseline.against(rows_of(shifted, {"dropcorr": 2}), "standard").iloc[0]
    test = stats.ttest_rel(SCORES["dropcorr"][:3], SCORES["standard"][2:])
    assert found["pairs"] == 3
    assert found["p_value"] == pytest.approx(test.pvalue)
    assert found["difference"] == pytest.approx(np.mean(SCORES["dropcorr"][:3]) - np.mean(SCORES["standard"][2:]))


def test_a_seed_trained_again_is_one_pair() -> None:
    twice = pd.concat([rows_of({"standard": [0.9], "dropcorr": [0.92]})] * 4)
    found = baseline.against(twice, "standard").iloc[0]
    assert found["pairs"] == 1
    assert math.isnan(found["p_value"])


def test_too_few_common_seeds_have_a_difference_but_neither_interval_nor_p_and_count_for_nothing() -> None:
    scores = {"standard": SCORES["standard"], "dropcorr": SCORES["dropcorr"], "gaussian": [0.9, 0.91], "other": [0.9]}
    tests = baseline.against(rows_of(scores, {"other": 50}), "standard").set_index("variant")
    assert tests.loc["gaussian", "difference"] == pytest.approx(0.905 - (0.972 + 0.969) / 2)
    assert tests.loc[["gaussian", "other"], ["low", "high", "p_value"]].isna().all(axis=None)
    assert math.isnan(tests.loc["other", "difference"])
    expected = stats.ttest_rel(SCORES["dropcorr"], SCORES["standard"]).pvalue
    assert tests.loc["dropcorr", "p_value"] == pytest.approx(expected)
    assert baseline.judged(tests) == 1


def test_a_difference_that_is_the_same_in_every_seed_has_no_p_but_counts_as_a_comparison() -> None:
    scores = {"standard": SCORES["standard"], "dropcorr": SCORES["dropcorr"]}
    scores["moved"] = [value + 0.01 for value in SCORES["standard"]]
    tests = baseline.against(rows_of(scores), "standard").set_index("variant")
    assert tests.loc["moved", ["low", "high", "p_value"]].isna().all()
    assert tests.loc["dropcorr", "p_value"] == pytest.approx(
        2 * stats.ttest_rel(SCORES["dropcorr"], SCORES["standard"]).pvalue
    )
    assert "moved differs by the same in every seed" in baseline.verdict(tests.reset_index(), "standard")


def test_the_rounding_of_float32_is_no_spread() -> None:
    right = {"standard": [9812, 9823, 9844], "moved": [9813, 9824, 9845], "nearly": [9813, 9824, 9846]}
    scores = {name: [float(np.float32(n / 10_000)) for n in numbers] for name, numbers in right.items()}
    tests = baseline.against(rows_of(scores), "standard").set_index("variant")
    assert math.isnan(tests.loc["moved", "p_value"])
    assert tests.loc["nearly", "p_value"] == pytest.approx(
        2 * stats.ttest_rel(*map(scores.get, ("nearly", "standard"))).pvalue
    )


def test_of_equal_techniques_one_seldom_differs_from_the_baseline_and_all_intervals_hold_at_once() -> None:
    """At most 5 % of experiments find a difference or miss one; the bound on 300 has a chance of 1e-6."""
    generator = np.random.default_rng(0)
    names = [f"technique {i}" for i in range(8)]
    rows = pd.DataFrame({"variant": np.repeat(names, 4), "technique": np.repeat(names, 4), "seed": [0, 1, 2, 3] * 8})
    rows = rows.assign(train_seconds=1.0, seconds_per_epoch=1.0)
    uncorrected, found, missed = 0, 0, 0
    for _ in range(300):
        easy = generator.normal(0, 0.01, 4)  # what the techniques share of a seed
        scores = 0.97 + easy + generator.normal(0, 0.003, (8, 4))
        tests = baseline.against(rows.assign(test_accuracy=scores.ravel()), names[0])
        found += bool((tests["p_value"] < 0.05).any())
        missed += bool(((tests["low"] > 0) | (tests["high"] < 0)).any())
        uncorrected += bool((stats.ttest_rel(scores[1:], scores[:1], axis=1).pvalue < 0.05).any())
    most = stats.binom.ppf(1 - 1e-6, 300, 0.05)
    assert found <= most
    assert missed <= most
    assert uncorrected > most


@pytest.mark.parametrize(
    ("techniques", "expected"),
    [
        (["dropcorr", "standard", "none"], "none"),
        (["dropcorr", "standard", "gaussian"], "standard"),
        (["gaussian", "dropcorr"], "dropcorr"),
        ([], None),
    ],
)
def test_the_baseline_is_no_dropout_else_standard_else_the_first(techniques: list[str], expected: str | None) -> None:
    rows = pd.DataFrame({"variant": techniques, "technique": techniques, "test_accuracy": [0.9] * len(techniques)})
    assert baseline.default(rows) == expected


def test_a_baseline_has_a_test_accuracy() -> None:
    rows = pd.DataFrame(
        {"variant": ["none", "dropcorr"], "technique": ["none", "dropcorr"], "test_accuracy": [math.nan, 0.9]}
    )
    assert baseline.default(rows) == "dropcorr"


def test_the_verdict_says_better_worse_undecided_and_where_no_ranking_is_possible() -> None:
    scores = SCORES | {"dropact": [0.9, 0.905, 0.91, 0.902, 0.909], "near": [0.972, 0.970, 0.976, 0.971, 0.973]}
    scores["few"] = [0.9, 0.91]
    tests = baseline.against(rows_of(scores), "standard")
    assert baseline.verdict(tests, "standard") == (
        "dropcorr and gaussian are better than standard by more than chance allows. "
        "dropact is worse than standard by more than chance allows. "
        "Between standard and near these seeds do not decide. "
        "For few no ranking against standard is possible: 2 seeds are common to both, and it takes at least 3."
    )


def test_a_baseline_alone_is_compared_with_nothing() -> None:
    tests = baseline.against(rows_of({"standard": [0.9, 0.91]}), "standard")
    assert tests.empty
    assert baseline.verdict(tests, "standard") == ""


def test_values_are_paired_by_their_seed_wherever_they_stand() -> None:
    one = pd.Series([0.5, 0.9, 0.7, 0.2], index=[4, 0, 2, 9])
    other = pd.Series([0.1, 0.3, 0.35, 0.8], index=[0, 1, 2, 4])
    expected = np.array([0.9 - 0.1, 0.7 - 0.35, 0.5 - 0.8])
    found = paired_difference(one, other)
    assert found.n == 3
    assert found.mean == pytest.approx(expected.mean())
    assert found.error == pytest.approx(stats.sem(expected))
    assert paired_difference(one, other.iloc[:0]).n == 0
