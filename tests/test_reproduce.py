"""The paper's protocol: which runs it takes, and the table of what came of them."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from core.config import Config, ConfigError
from core.data import DataError
from core.dropout import TECHNIQUES
from core.reproduce import results
from core.reproduce.plan import DEFAULTS, DROP_COUNT, EPOCHS, MAIN, PROPOSAL, Plan, variant_of, variants
from core.reproduce.results import COLUMNS, collect, merged, read, write
from core.runs import RunStore

LAYERS = [{"dropped": 0.2, "active_dropped": 0.3, "dead": 0.0}, {"dropped": 0.2, "active_dropped": None, "dead": 0.5}]


@pytest.fixture
def store(dropscope_home: Path) -> RunStore:
    return RunStore(dropscope_home)


def test_the_plan_has_every_technique_both_readings_and_both_proposals() -> None:
    kinds = Counter((each.group, each.technique) for each in variants())
    assert {name for group, name in kinds if group == MAIN} == {"none", *TECHNIQUES}
    for name in ("dropact", "dropinv", "dropcorr"):
        told = [{"count": "layer", "rescale": "none", **each.knobs} for each in variants() if each.technique == name]
        pairs = {(knobs["count"], knobs["rescale"]) for knobs in told}
        assert pairs == {(count, rescale) for count in ("layer", "active") for rescale in ("none", "uniform", "mass")}
        assert kinds[DROP_COUNT, name] == 5
    proposals = [(each.technique, each.schedule, each.refresh_epochs) for each in variants() if each.group == PROPOSAL]
    assert proposals == [
        ("dropact", "alternate", None),
        ("dropinv", "alternate", None),
        ("dropcorr", "alternate", None),
        ("dropcorr", "constant", 1.0),
    ]


def test_a_plan_has_main_first_and_whole_seeds() -> None:
    configs = Plan("mnist").configs()
    told = [(variant_of(config.to_dict()), config.seed) for config in configs]
    groups = [variant.group == MAIN for variant, _ in told if variant]
    assert groups == sorted(groups, reverse=True)
    for main in (True, False):
        seeds = [seed for variant, seed in told if variant and (variant.group == MAIN) is main]
        assert seeds == sorted(seeds)
    assert len(configs) == len({str(config) for config in configs}) == 3 * len(variants())
    assert {config.epochs for config in configs} == {5, 3}
    assert {config.epochs for config in Plan("cifar10").configs()} == {100}
    assert {config.network for config in Plan("cifar10", folder="/some").configs()} == {"cifar10"}


def test_a_part_of_a_plan_is_what_was_asked_for() -> None:
    part = Plan("mnist", seeds=(4,), epochs=1, techniques=("dropact",), groups=(MAIN, PROPOSAL)).configs()
    assert [(each.technique, each.schedule, each.seed, each.epochs) for each in part] == [
        ("dropact", "constant", 4, 1),
        ("dropact", "alternate", 4, 1),
    ]
    with pytest.raises(ConfigError, match="nothing to train: proposal has no run of none"):
        Plan("mnist", techniques=("none",), groups=(PROPOSAL,)).configs()


def test_a_run_is_known_by_its_settings_whatever_its_seed_length_and_machine() -> None:
    for config in Plan("mnist").configs():
        known = variant_of({**config.to_dict(), "seed": 9, "epochs": 77, "device": "cuda", "precision": "fp32"})
        assert known == variant_of(config.to_dict())
    spelled = Config(technique="dropact", knobs={"count": "active", "rescale": "mass"}).to_dict()
    assert variant_of(spelled) == variant_of(Config(technique="dropact", knobs={"rescale": "mass"}).to_dict())
    assert variant_of(Config(technique="dropcorr").to_dict()).group == MAIN
    assert variant_of(Config(technique="dropact").to_dict()).group == DROP_COUNT
    for name, defaults in DEFAULTS.items():
        assert {knob.name: knob.default for knob in TECHNIQUES[name].knobs}.items() >= defaults.items()
    assert variant_of(Config(technique="dropact", p=0.3).to_dict()) is None
    assert variant_of(Config(technique="dropact", knobs={"clamp": 2.0}).to_dict()) is None


def trained(store: RunStore, config: Config, *, until: int | None = None, **more: Any) -> str:
    """A run as training leaves it, whose validation accuracy after epoch e is e + seed/10."""
    run_id = store.create(config.to_dict(), {"device": "cpu", "threads": 2, **more}, experiment="paper-mnist")
    records: list[dict[str, Any]] = [
        {
            "kind": "epoch",
            "step": 10 * epoch,
            "epoch": float(epoch),
            "p": (0.2, 0.2),
            "loss": 1 / epoch,
            "val_accuracy": epoch + config.seed / 10,
            "train_seconds": 2.0 * epoch,
            "layers": None if config.technique == "none" else LAYERS,
            "dead": None if config.technique == "none" else 0.25,
        }
        for epoch in range(1, (until or config.epochs) + 1)
    ]
    if until is None:
        end = {"kind": "end", "step": 10 * config.epochs, "epoch": float(config.epochs), "test_accuracy": 0.75}
        records += [end, {"kind": "step", "step": 5, "epoch": 0.5, "loss": 9.0}]
    store.record(run_id, records)
    if until is None:
        store.finish(run_id, "done")
    return run_id


def test_the_table_has_a_row_an_epoch_of_each_run_that_is_done(store: RunStore, tmp_path: Path) -> None:
    plan = Plan("mnist", seeds=(1, 0), techniques=("none", "dropact"), groups=(MAIN,), epochs=2)
    first, second, third, fourth = plan.configs()
    for config in (fourth, first, second):  # in another order than the plan's
        trained(store, config)
    store.change(trained(store, third), lambda _: {"experiment": "another"})
    trained(store, third, until=1)
    frame = collect(store, "mnist")
    assert [*zip(frame["technique"], frame["seed"], frame["epoch"], strict=True)] == [
        ("none", 1, 1), ("none", 1, 2), ("dropact", 0, 1), ("dropact", 0, 2), ("dropact", 1, 1), ("dropact", 1, 2),
    ]  # fmt: skip
    assert {*COLUMNS, "dead_1", "dead_2"} == {*frame}
    last = frame.iloc[-1]
    assert (last["val_accuracy"], last["test_accuracy"], last["train_seconds"]) == (2.1, 0.75, 4.0)
    assert (last["dead"], last["dead_1"], last["dead_2"]) == (0.25, 0.0, 0.5)
    assert (last["data"], last["p"], last["count"], last["rescale"], last["group"]) == (
        "MNIST", "0.2", "layer", "none", "main",
    )  # fmt: skip
    assert pd.isna(frame.iloc[-2]["test_accuracy"])
    assert frame[frame["technique"] == "none"][["dead_1", "dead"]].isna().all(axis=None)

    write(tmp_path / "mnist.csv", frame)
    again = read(tmp_path / "mnist.csv")
    assert list(again["technique"]) == list(frame["technique"])
    assert list(again["count"]) == [""] * 2 + ["layer"] * 4
    assert again["val_accuracy"].equals(frame["val_accuracy"])
    assert again["refresh_epochs"].isna().all()
    assert (again.dtypes[["seed", "epoch", "epochs"]] == "int64").all()


def test_of_runs_that_train_the_same_the_longest_counts_and_changed_ones_do_not(store: RunStore) -> None:
    (config,) = Plan("mnist", seeds=(0,), techniques=("none",), groups=(MAIN,), epochs=3).configs()
    trained(store, config)
    trained(store, replace(config, epochs=1, precision="fp32"))
    frame = collect(store, "mnist")
    assert list(frame["epoch"]) == [1, 2, 3]
    changed = trained(store, replace(config, epochs=4))
    mark = {"step": 1, "epoch": 0.1, "seconds": 0.1, "changes": [{"name": "lr", "before": 1.0, "after": 2.0}]}
    store.mark(changed, [], mark)  # type: ignore[arg-type]
    assert collect(store, "mnist").equals(frame)


def test_a_re_encoding_is_named_as_one(store: RunStore) -> None:
    (config,) = Plan("mnist", folder="/data/small", seeds=(0,), techniques=("none",), groups=(MAIN,)).configs()
    trained(store, config)
    assert {*collect(store, "mnist")["data"]} == {"small"}
    trained(store, replace(config, epochs=6), data="CIFAR-10 (JPEG)")
    assert {*collect(store, "mnist")["data"]} == {"small", "CIFAR-10 (JPEG)"}


def test_what_is_not_there_is_empty_and_what_is_no_table_is_refused(store: RunStore, tmp_path: Path) -> None:
    for frame in (collect(store, "mnist"), read(tmp_path / "none.csv")):
        assert list(frame) == list(COLUMNS)
        assert frame.empty
    bad = tmp_path / "bad.csv"
    for content, words in (("a,b\n1,2\n", "has no column dataset"), ("", "cannot be read"), ('"', "cannot be read")):
        bad.write_text(content)
        with pytest.raises(DataError, match=words):
            read(bad)


def test_the_committed_tables_are_read_and_whole() -> None:
    for path in results.FOLDER.glob("*.csv"):
        frame = read(path)
        runs = frame.groupby(["group", "technique", "count", "rescale", "schedule", "refresh_growth", "seed"])
        assert {len(rows) == rows["epochs"].iloc[0] == rows["epoch"].max() for _, rows in runs} == {True}
        assert runs["test_accuracy"].count().eq(1).all()
        assert {*EPOCHS} >= {*frame["dataset"]}


def test_written_and_read_it_is_the_same_table(store: RunStore, tmp_path: Path) -> None:
    for config in Plan("mnist", seeds=(0,), epochs=1).configs():
        trained(store, config)
    frame = collect(store, "mnist")
    assert len(frame) == len(variants())
    assert list(frame["group"].drop_duplicates()) == [MAIN, DROP_COUNT, PROPOSAL]
    write(tmp_path / "mnist.csv", frame)
    pd.testing.assert_frame_equal(read(tmp_path / "mnist.csv"), frame, check_dtype=False)
    assert frame.iloc[-1][["refresh_epochs", "refresh_growth"]].tolist() == [1.0, 2.0]


def test_runs_that_were_made_elsewhere_stay_unless_they_are_made_again(store: RunStore) -> None:
    shared = Plan("mnist", seeds=(0,), techniques=("none", "dropact", "dropcorr"), epochs=2).configs()
    for config in shared:
        trained(store, config, device_name="there")
    there = collect(store, "mnist")
    own = RunStore(store.home / "own")
    for config, epochs in zip(shared[:3], (2, 1, 3), strict=True):
        trained(own, replace(config, epochs=epochs), device_name="here")
    trained(own, replace(shared[0], seed=1), device_name="here")
    both = merged(collect(own, "mnist"), there)
    told = both[both["group"] == MAIN].groupby(["technique", "seed"])[["device_name", "epochs"]].first()
    assert told.to_dict("index") == {
        ("none", 0): {"device_name": "here", "epochs": 2},
        ("none", 1): {"device_name": "here", "epochs": 2},
        ("dropact", 0): {"device_name": "there", "epochs": 2},
        ("dropcorr", 0): {"device_name": "here", "epochs": 3},
    }
    assert len(both) == len(there) + 1 + 2
    assert merged(both, there).equals(both)
    assert merged(there.iloc[:0], there).equals(there)


def test_the_summary_is_over_seeds_at_the_last_epoch(store: RunStore) -> None:
    for config in Plan("mnist", seeds=(0, 1, 2), techniques=("none",), groups=(MAIN,), epochs=4).configs():
        trained(store, config)
    (row,) = results.summary(collect(store, "mnist")).to_dict("records")
    assert (row["n"], row["epochs"], row["seconds"], row["test_accuracy_mean"]) == (3, 4, 2.0, 0.75)
    assert row["val_accuracy_mean"] == pytest.approx(4.1)
    assert row["val_accuracy_std"] == pytest.approx(0.1)
