"""Verdicts and numbers about the paper, derived once more from the CSV by other means."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.bench.results import Result
from core.bench.show import as_json
from core.comparison import summary
from core.errors import DataError
from core.reproduce import cost, results
from core.reproduce.choices import choices, closest, dead
from core.reproduce.measured import comparable, with_settings
from core.reproduce.paper import CLAIMS, TEST_ACCURACY
from core.reproduce.proposals import proposals
from core.reproduce.verdicts import FAILS, HOLDS, OPEN, judge, judged
from tests import paper_oracle as oracle
from tests.reproduction import made_up, write

OURS = results.path_of("mnist")
CASES: dict[str, Callable[[], pd.DataFrame]] = {
    "made up": made_up,
    "two seeds": lambda: made_up(seeds=(0, 1)),
    "five seeds": lambda: made_up(seeds=range(5)),
    "unequal seeds": lambda: pd.concat([made_up(only=("dropact", "none")), made_up(seeds=(1, 2, 3, 4)).query(
        "technique != 'dropact' and technique != 'none'")]),
    "some techniques": lambda: made_up(only=("dropact", "standard", "none")),
}  # fmt: skip


@pytest.fixture(params=[*CASES, "the project's own"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param in CASES:
        write(tmp_path / "mnist.csv", CASES[request.param]())
        return tmp_path / "mnist.csv"
    if not OURS.exists():
        pytest.skip("checkpoints/paper/mnist.csv is not there")
    return OURS


def test_every_claim_is_restated_in_the_oracle() -> None:
    assert {claim.key: (claim.measure, set(claim.pairs), claim.bound) for claim in CLAIMS} == {
        key: (measure, set(pairs), pytest.approx(bound)) for key, (measure, pairs, bound) in oracle.CLAIMS.items()
    }


def test_every_verdict_and_difference_follows_from_the_file(path: Path) -> None:
    found = oracle.runs(path)
    for verdict in judged("mnist", with_settings(results.read(path))):
        key = verdict.claim.key
        assert verdict.word == oracle.verdict(found, key), key
        told = oracle.differences(found, key)
        assert verdict.n == min(each.n for each in told.values())
        for pair in verdict.pairs:
            expected = told[pair.one, pair.other]
            assert pair.difference.n == expected.n
            close(pair.difference.mean, expected.mean)
            close(pair.interval, expected.own)
            close(pair.joint, expected.joint)


def test_choices_follow_from_the_file(path: Path) -> None:
    found = oracle.runs(path)
    made = choices(with_settings(results.read(path)))
    epoch = oracle.common_epoch(found, list(made["setting"]))
    for row in made.itertuples(index=False):
        mean, sd, n = oracle.accuracy(found, row.setting, "validation", epoch)
        against = oracle.difference(found, row.setting, row.technique, "validation", epoch, 1)
        close((row.accuracy, row.sd, row.n, row.epoch), (mean, sd, n, epoch))
        if row.setting != row.technique:
            close((row.difference, row.low, row.high), (against.mean, *against.own))
        shares = {
            (at, e): np.mean([float(rows[e - 1][f"dead_{at}"]) for rows in found[row.setting].values()])
            for at in (1, 2) for e in range(1, epoch + 1)
        }  # fmt: skip
        close(row.dead, max(shares.values()))
        for each in dead(with_settings(results.read(path)), row.setting, epoch).itertuples(index=False):
            close(each.mean, shares[each.position, each.epoch])


def test_proposals_follow_from_the_file(path: Path) -> None:
    found = oracle.runs(path)
    told = proposals(with_settings(results.read(path)))
    assert set(told["setting"]) == {name for name in found if name.endswith(("alternate", "refreshed")) and found[name]}
    for row in told.itertuples(index=False):
        both = row.setting, row.technique
        epoch = oracle.common_epoch(found, both)
        score = oracle.difference(found, *both, "validation", epoch, 1)
        close((row.difference, row.low, row.high), (score.mean, *score.own))
        close(row.ratio, 10 ** oracle.difference(found, *both, "time", epoch, 1).mean)


def test_the_closest_choice_is_the_one_with_the_smallest_mean_distance() -> None:
    made = choices(with_settings(made_up()))
    off = closest("mnist", made)
    told = {
        (count, rescale): np.mean([
            abs(row.accuracy - TEST_ACCURACY["mnist"][row.technique])
            for row in made.itertuples(index=False) if (row.count, row.rescale) == (count, rescale)
        ])
        for count in ("layer", "active") for rescale in ("none", "uniform", "mass")
    }  # fmt: skip
    assert {(row.count, row.rescale): row.off for row in off.itertuples(index=False)} == pytest.approx(told)
    assert list(off["off"]) == sorted(told.values())


@pytest.mark.parametrize(
    ("gap", "expected"), [(0.02, HOLDS), (-0.02, FAILS), (0.0, OPEN)], ids=["above", "below", "at the bound"]
)
def test_a_claim_stands_by_where_its_differences_lie(gap: float, expected: str) -> None:
    """Test accuracies of DropInv and DropCorr that lie ``gap`` above those of all others, within noise."""
    rows = made_up(only=oracle.SIX)
    noise = np.random.default_rng(0).normal(0, 1e-3, len(rows))
    raised = 0.9 + gap * rows["technique"].isin(["dropinv", "dropcorr"]) + noise
    rows["test_accuracy"] = raised.where(rows["test_accuracy"].notna())
    claim = next(claim for claim in CLAIMS if claim.key == "best-on-test")
    assert judge(claim, with_settings(rows)).word == expected


def test_one_difference_alone_contradicts_a_claim_about_all() -> None:
    rows = made_up(only=oracle.SIX)
    one = rows["technique"] == "gaussian"
    rows.loc[one, "val_accuracy"] = rows.loc[one, "val_accuracy"] - 0.2
    claim = next(claim for claim in CLAIMS if claim.key == "slowest")
    assert judge(claim, with_settings(rows)).word == FAILS


@pytest.mark.parametrize("column", ["device_name", "device", "threads", "precision"])
def test_times_that_differ_in_more_than_the_technique_decide_nothing(column: str) -> None:
    rows = made_up()
    rows.loc[rows["technique"] == "dropcorr", column] = "another"
    told = judge(next(claim for claim in CLAIMS if claim.key == "thousandfold"), with_settings(rows))
    assert (told.word, told.apart) == (OPEN, True)


def test_times_of_two_machines_and_tests_after_unequal_epochs_decide_nothing() -> None:
    claims = {claim.key: claim for claim in CLAIMS}
    rows = made_up()
    rows.loc[rows["technique"] == "dropcorr", "device_name"] = "Another"
    told = judge(claims["thousandfold"], with_settings(rows))
    assert (told.word, told.apart) == (OPEN, True)
    assert judge(claims["as-good-as-standard"], with_settings(rows)).word == FAILS
    rows = made_up()
    longer = (rows["technique"] == "standard") & (rows["group"] == "main")
    rows.loc[longer, "epochs"] = 4
    rows = rows[~(longer & (rows["epoch"] == 5))]
    rows.loc[longer & (rows["epoch"] == 4), "test_accuracy"] = 0.98
    told = judge(claims["as-good-as-standard"], with_settings(rows))
    assert (told.word, told.apart) == (OPEN, True)


def test_seeds_may_come_from_unlike_machines() -> None:
    """Differences are taken seed by seed; so are the ratios of times, which else would spread as the machines do."""
    rows, alone = made_up(), made_up()
    other = rows["seed"] == 1
    rows.loc[other, ["device_name", "precision"]] = ["Another", "fp32"]
    rows.loc[other, "train_seconds"] *= 7
    for claim in CLAIMS:
        if claim.dataset == "mnist":
            assert judge(claim, with_settings(rows)).word == judge(claim, with_settings(alone)).word, claim.key
    ends = rows[(rows["group"] == "main") & (rows["epoch"] == rows["epochs"])]
    seconds = ends.pivot(index="seed", columns="technique", values="train_seconds")
    expected = seconds.div(seconds["none"], axis=0)
    main = with_settings(rows)
    told = summary(comparable(main[main["group"] == "main"])[0]).set_index("technique")
    for name, ratios in expected.items():
        assert told.loc[name, "ratio"] == pytest.approx(np.mean(ratios))
        assert told.loc[name, "ratio_sd"] == pytest.approx(np.std(ratios, ddof=1), abs=1e-12)


def test_a_time_beside_none_of_another_machine_has_no_ratio() -> None:
    rows = made_up()
    rows.loc[(rows["technique"] == "dropcorr") & (rows["seed"] == 1), "threads"] = "8"
    main = with_settings(rows[rows["group"] == "main"])
    told = comparable(main)[0].set_index(["technique", "seed"])["seconds_per_epoch"]
    assert told.isna().sum() == 1
    assert math.isnan(told["dropcorr", 1])


@pytest.mark.parametrize("key", ["slowest", "nearly-standard", "as-good-as-standard", "thousandfold"])
def test_one_seed_in_two_precisions_decides_nothing(key: str) -> None:
    rows = made_up()
    rows.loc[(rows["technique"] == "dropcorr") & (rows["seed"] == 2), "precision"] = "fp32"
    told = judge(next(claim for claim in CLAIMS if claim.key == key), with_settings(rows))
    assert (told.word, told.apart) == (OPEN, True)


def test_a_run_that_has_not_reached_its_last_epoch_does_not_count() -> None:
    rows = made_up()
    cut = (rows["technique"] == "dropcorr") & (rows["seed"] == 2) & (rows["epoch"] == rows["epochs"])
    told = judge(next(claim for claim in CLAIMS if claim.key == "thousandfold"), with_settings(rows[~cut]))
    assert (told.n, told.word) == (2, OPEN)


@pytest.mark.parametrize("form", ["lines", "list", "document"])
def test_what_the_literal_dropcorr_costs_is_read_from_the_benchmarks(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost, "FOLDER", tmp_path)
    where = {"B": 100, "N": 1000, "device": "cpu", "threads": 2}
    names = [("dropcorr, eigendecomposition", "dropcorr"), ("dropcorr", "nn.Dropout"), ("dropact, loop", "dropact")]
    told = [as_json(Result("layers", *pair, where, 0.04, 0.001, 40.5, 39.0, 42.0, 9)) for pair in names]
    lines = "\n".join(json.dumps(each) for each in told)
    content = {"lines": lines, "list": json.dumps(told), "document": json.dumps({"findings": told}, indent=1)}
    name = "box.jsonl" if form == "lines" else "box.json"  # as the README has it for what the command prints
    (tmp_path / name).write_text(content[form])
    found = cost.literal()
    assert [(each.how, each.ratio, each.low, each.high) for each in found] == [("eigendecomposition", 40.5, 39.0, 42.0)]
    assert found[0].where == "box: B=100, N=1000, cpu, 2 threads"
    (tmp_path / name).write_text("{")
    with pytest.raises(DataError, match="measure again or delete it"):
        cost.literal()
    (tmp_path / name).unlink()
    assert cost.literal() == []


def close(found: object, expected: object) -> None:
    """Equal but for rounding; nan equals nan."""
    np.testing.assert_allclose(np.asarray(found, float), np.asarray(expected, float), rtol=1e-9, atol=1e-12)
    assert not math.isinf(float(np.asarray(expected, float).ravel()[0]))
