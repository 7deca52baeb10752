"""What runs are compared as, and what sets them apart."""

from typing import Any

import pytest

from core import baseline, comparison, variants
from tests.test_comparison import FakeRun, run

TITLES = {"none": "No dropout", "standard": "Standard", "dropcorr": "DropCorr"}


def labelled(found: FakeRun, *tags: str, experiment: str | None = None) -> Any:
    found.tags, found.experiment = tags, experiment
    return found


RUNS = [
    labelled(run("standard", 0, 0.90, p=0.2), "old", experiment="first"),
    labelled(run("standard", 0, 0.94, p=0.5), "new", "old", experiment="first"),
    labelled(run("standard", 1, 0.93, p=0.5), experiment="second"),
    labelled(run("dropcorr", 0, 0.95, p=0.5), "old", "new", experiment="first"),
    labelled(run("none", 0, 0.80, p=0.5, width=0.5), "none"),
]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("technique", ["Standard", "Standard", "Standard", "DropCorr", "No dropout"]),
        ("p", ["p 0.2", "p 0.5", "p 0.5", "p 0.5", "No dropout"]),
        ("tag", ["old", "new + old", "No tag", "new + old", "none"]),
        ("experiment", ["first", "first", "second", "first", "No experiment"]),
        ("network", ["digits", "digits", "digits", "digits", "digits, width 0.5"]),
    ],
)
def test_runs_are_grouped_by_what_is_asked_and_each_is_in_one_group(by: str, expected: list[str]) -> None:
    rows = variants.table(RUNS, TITLES, by)
    assert list(rows["variant"]) == expected
    assert list(rows["setting"]) == [
        "Standard (p 0.2)", "Standard (p 0.5)", "Standard (p 0.5)", "DropCorr", "No dropout",
    ]  # fmt: skip
    assert set(variants.GROUPINGS) - {"setting"} >= {by}


def test_a_group_of_several_techniques_is_not_taken_for_one_of_them_whatever_its_name() -> None:
    runs = [labelled(run(name, 0, 0.9), "none") for name in ("none", "standard")] + [run("dropcorr", 0, 0.9, 1.0)]
    rows = variants.table(runs, TITLES, "tag")
    assert list(rows["technique"]) == ["several: none", "several: none", "dropcorr"]
    assert comparison.reference(rows) == "No tag"
    assert baseline.default(rows) == "No tag"


def test_what_a_group_pools_is_counted_and_its_seeds_are_averaged_first() -> None:
    rows = variants.table(RUNS, TITLES, "technique")
    assert variants.pooled(rows) == {"Standard": 2}
    summary = comparison.summary(rows).set_index("variant")
    assert summary.loc["Standard", "n"] == 2
    assert summary.loc["Standard", "accuracy"] == pytest.approx(((0.90 + 0.94) / 2 + 0.93) / 2)
    assert variants.pooled(variants.table(RUNS, TITLES)) == {}


def test_networks_that_differ_name_the_setting() -> None:
    runs = [run("standard", 0, 0.9), run("standard", 0, 0.8, width=0.5)]
    assert list(variants.table(runs)["variant"]) == [
        "standard (network digits)", "standard (network digits, width 0.5)",
    ]  # fmt: skip


def test_a_run_that_was_kept_before_there_was_a_setting_is_of_the_same_variant() -> None:
    older, newer = run("standard", 0, 0.9), run("standard", 1, 0.9)
    older.config.pop("train_size", None)
    newer.config["train_size"] = None
    assert variants.table([older, newer])["variant"].nunique() == 1
    assert "training images" not in variants.differences([older, newer]).index
    newer.config["train_size"] = 100
    assert set(variants.table([older, newer])["variant"]) == {
        "standard (training images all)", "standard (training images 100)"
    }  # fmt: skip


def test_what_changes_nothing_without_dropout_names_no_setting_and_an_early_stop_does() -> None:
    runs = [run("none", 0, 0.9, p=0.2), run("none", 0, 0.9, p=None, schedule="linear")]
    assert list(variants.table(runs)["variant"]) == ["none", "none"]
    runs = [run("standard", 0, 0.9, early_stop=None), run("standard", 0, 0.9, early_stop=5)]
    assert list(variants.table(runs)["variant"]) == ["standard (early stop off)", "standard (early stop 5)"]


def test_only_what_differs_between_runs_is_told_defaults_and_lacking_options_among_it() -> None:
    one = run("standard", 0, 0.9, p=0.5, knobs={}, lr=1e-3, batch_size=100)
    two = run("dropcorr", 1, 0.9, p=[0.2, 0.5], knobs={"count": "active"}, lr=1e-3, batch_size=100)
    two.environment = {"device": "cuda:0", "device_name": "H100", "torch": "2.11"}
    one.environment = {"device": "cpu", "device_name": "CPU", "torch": "2.11"}
    told = variants.differences([one, two])
    assert list(told.columns) == [one.id, two.id]
    assert dict(told.loc["technique"]) == {one.id: "standard", two.id: "dropcorr"}
    assert dict(told.loc["p"]) == {one.id: "0.5", two.id: "0.2/0.5"}
    assert dict(told.loc["count"]) == {one.id: "–", two.id: "active"}
    assert dict(told.loc["vanilla"]) == {one.id: "off", two.id: "–"}
    assert dict(told.loc["trained with: device"]) == {one.id: "CPU", two.id: "H100"}
    assert not {"lr", "batch", "dataset", "trained with: torch"} & set(told.index)


def test_a_default_that_is_left_out_does_not_differ() -> None:
    one, two = run("dropcorr", 0, 0.9, knobs={}), run("dropcorr", 0, 0.9, knobs={"count": "layer"})
    two.config["network"] = "digits"
    assert variants.differences([one, two]).empty
    assert variants.differences([]).empty
    assert variants.differences([one]).empty


def marked(seed: int, *changes: tuple[str, Any, Any], epoch: float = 2.5) -> Any:
    found: Any = run("standard", seed, 0.9, p=0.5)
    found.marks = [
        {"step": 9, "epoch": epoch, "seconds": 1.0, "changes": [{"name": n, "before": b, "after": a}]}
        for n, b, a in changes
    ]
    return found


@pytest.mark.parametrize("by", list(variants.GROUPINGS))
def test_a_run_that_was_changed_while_it_trained_is_never_pooled_with_one_that_was_not(by: str) -> None:
    rows = variants.table([run("standard", 0, 0.9, p=0.5), marked(1, ("p", [0.5, 0.5], [0.2, 0.2]))], by=by)
    plain, changed = rows["variant"]
    assert plain != changed
    assert "changed" in changed
    assert "changed" not in plain


def test_a_change_is_told_also_where_all_runs_have_it() -> None:
    runs = [marked(seed, ("p", [0.5], [0.2])) for seed in range(2)]
    assert {*variants.table(runs)["variant"]} == {"standard (changed p 0.5 → 0.2 at epoch 2.5)"}


def test_the_setting_says_what_was_changed_and_when() -> None:
    many = [("lr", 1e-3, 1e-4 * n) for n in range(1, 5)]
    runs = [marked(0, ("p", [0.5], [0.2])), marked(1, ("p", [0.5], [0.2]), epoch=3), marked(2, *many)]
    assert list(variants.table([*runs, run("standard", 0, 0.9, p=0.5)])["variant"]) == [
        "standard (changed p 0.5 → 0.2 at epoch 2.5)",
        "standard (changed p 0.5 → 0.2 at epoch 3)",
        "standard (changed 4 times, first lr 0.001 → 0.0001 at epoch 2.5, last lr 0.001 → 0.0004 at epoch 2.5)",
        "standard",
    ]
    told = variants.differences([runs[0], run("standard", 0, 0.9, p=0.5)])
    assert list(told.loc["changed in training"]) == ["p 0.5 → 0.2 at epoch 2.5", "–"]


def test_runs_changed_otherwise_are_not_pooled_though_in_short_their_changes_read_the_same() -> None:
    def steps(*values: float, seed: int = 0, at: int = 3) -> Any:
        """lr as ``values`` say, one at each of the steps from ``at`` on, all in an epoch of very many steps."""
        found: Any = run("standard", seed, 0.9, p=0.5)
        found.marks = [
            {"step": at + n, "epoch": 2 + n / 1e6, "changes": [{"name": "lr", "before": 1e-3, "after": value}]}
            for n, value in enumerate(values)
        ]
        return found

    many = [1e-1, 1e-2, 1e-3, 1e-4]
    between = [1e-1, 5e-2, 1e-3, 1e-4]
    runs = [steps(*many), steps(*many, seed=1), steps(*between), steps(1e-2), steps(1e-2, at=4), steps(1e-2 + 1e-9)]
    names = list(variants.table(runs)["variant"])
    assert names[0] == names[1]
    assert len({*names}) == 5
    alone = variants.table(runs[:2])["variant"]
    assert alone[0] == "standard (changed 4 times, first lr 0.001 → 0.1 at epoch 2, last lr 0.001 → 0.0001 at epoch 2)"
    assert [name.startswith(f"{alone[0]} #") for name in names] == [True] * 3 + [False] * 3
    assert "changed in training" not in variants.differences(runs[:2]).index
    assert variants.differences(runs[1:3]).loc["changed in training"].nunique() == 2
    by_technique = variants.table(runs, by="technique")
    assert variants.pooled(by_technique) == {"standard (changed)": 5}
