"""Experiments: which runs they are, as a file and back, and that a mistake costs one sentence with its line."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config import Config
from core.sweep import Experiment, ExperimentError, from_yaml, to_yaml
from core.sweep.experiment import SETTINGS

SPEC = """\
name: which falls   # a comment
dataset: digits
techniques:
  - none
  - standard
  - dropcorr
p: [0.2, [0.1, 0.3]]
seeds: 0-2
epochs: 5
lr: 5e-4
refresh_epochs: 2
knobs:
  dropcorr: {count: active}
"""


def test_the_runs_are_the_product_seed_by_seed_and_none_has_no_p() -> None:
    experiment = Experiment(techniques=["none", "dropact"], p=(0.2, (0.1, 0.3)), seeds=(5, 6), settings={"epochs": 3})
    runs = [(c.seed, c.technique, c.p, c.epochs) for c in experiment.configs()]
    assert runs == [
        (seed, technique, p, 3)
        for seed in (5, 6)
        for technique, p in [("none", None), ("dropact", 0.2), ("dropact", (0.1, 0.3))]
    ]


def test_networks_multiply_and_values_that_are_alike_do_not() -> None:
    experiment = Experiment(networks=("digits", "mnist"), p=(0.2, 0.2), seeds=(1, 1), techniques=("standard",))
    assert [(c.network, c.p, c.seed) for c in experiment.configs()] == [("digits", 0.2, 1), ("mnist", 0.2, 1)]


def test_knobs_and_settings_about_one_technique_reach_that_one_only() -> None:
    none, standard, *_, dropcorr = [c for c in from_yaml(SPEC).configs() if c.seed == 0]
    assert (none.knobs, standard.knobs, dropcorr.knobs) == ({}, {}, {"count": "active"})
    assert (none.refresh_epochs, standard.refresh_epochs, dropcorr.refresh_epochs) == (None, None, 2)


def test_every_setting_of_a_config_can_be_given() -> None:
    varied = {"dataset", "network", "technique", "p", "seed", "knobs"}
    assert {field.name for field in dataclasses.fields(Config)} == {*SETTINGS} | varied


def test_a_file_is_read_as_it_is_meant() -> None:
    experiment = from_yaml(SPEC)
    assert experiment.name == "which falls"
    assert experiment.seeds == (0, 1, 2)
    assert experiment.p == (0.2, (0.1, 0.3))
    assert experiment.settings == {"epochs": 5, "lr": 0.0005, "refresh_epochs": 2}
    assert from_yaml("techniques: standard\np: 0.4\nseeds: 3\n").configs() == [Config(p=0.4, seed=3)]


# Texts that other readers of YAML take for something else.
WORDS = st.sampled_from(
    ["no", "null", "5e-4", "0-3", "1:30", "2024-01-01", "~", "- a", "a: b", "# x", "*x", "'", "é 名"]
)
NAMES = WORDS | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp", "Cf"]), max_size=30)


@given(
    name=NAMES.map(str.strip),
    p=st.lists(st.none() | st.floats(0, 1) | st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=4),
    seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=4, unique=True) | st.just([3, 4, 5, 6]),
    settings=st.fixed_dictionaries(
        {},
        optional={
            "lr": st.floats(1e-9, 10),
            "epochs": st.integers(1, 10**9),
            "snapshots": st.booleans(),
            "early_stop": st.none() | st.integers(1, 99),
            "train_size": st.none() | st.integers(1, 10**9),
        },
    ),
    knobs=st.sampled_from([{}, {"dropcorr": {"count": "active", "refresh_every": 5}}]),
)
def test_what_is_written_is_read_as_the_same(
    name: str, p: list[Any], seeds: list[int], settings: dict[str, Any], knobs: dict[str, Any]
) -> None:
    experiment = Experiment(
        name=name, techniques=("none", "dropcorr"), p=tuple(p), seeds=tuple(seeds), settings=settings, knobs=knobs
    )
    assert from_yaml(to_yaml(experiment)) == experiment
    assert experiment.size == len(experiment.configs())


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("5e-4", "no", 10, "lr must be a number above 0, got 'no'"),
        ("0-2", "\n  - 0\n  - -1", 10, "seed must be a whole number of at least 0, got -1"),
        ("0-2", "5-2", 8, "must go up"),
        ("0-2", "0-99999", 8, "at most 10,000"),
        ("0-2", "[]", 8, "seeds has no value"),
        ("0-2", "\n  []", 8, "seeds has no value"),
        ("- dropcorr", "- dropcor", 6, "no technique 'dropcor'; choose among none, standard"),
        ("count: active", "count: some", 13, "count must be one of 'layer', 'active'"),
        ("count: active", "amount: 1", 13, "dropcorr has no option 'amount'"),
        ("dropcorr: {", "dropact: {", 13, "'dropact', which is not trained"),
        ("{count: active}", "active", 13, "written by name"),
        ("0.3]", "0.3, 0.4]", 7, "2 dropout positions, but p has 3"),
        ("p: [0.2, [0.1, 0.3]]", "p:\n  - 0.2\n  - 1.2", 9, "between 0 and 1, got 1.2"),
        ("epochs", "epoch", 9, "no setting 'epoch'; did you mean epochs?"),
        ("lr:", "epochs:", 10, "a second time; the first is on line 9"),
        ("epochs: 5", "epochs: [5]", 9, "epochs must be a whole number"),
        ("dataset: digits", "dataset: [digits]", 2, "dataset must be text"),
        ("epochs: 5", "epochs: &five 5\nwidth: *five", 10, "*five stands for something above"),
        ("5e-4", "!!python/name:os.system", 10, "could not determine a constructor"),
        ("5e-4", "]", 10, "is not YAML"),
        ("which falls", "{a: b}", 1, "name must be text"),
        ("which falls", "x" * 201, 1, "at most 200 characters"),
        ("refresh_epochs: 2", "device: gpu", 11, "device must be one of auto, cpu"),
        ("refresh_epochs: 2", "precision: no", 11, "precision must be one of fp32, bf16, got 'no'"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_line(old: str, new: str, line: int, words: str) -> None:
    assert old in SPEC
    with pytest.raises(ExperimentError) as caught:
        from_yaml(SPEC.replace(old, new, 1))
    said = str(caught.value)
    assert said.startswith(f"Line {line}")
    assert words in said
    assert "\n" not in said


@pytest.mark.parametrize(
    "text",
    ["", "words", "- a\n- b", "[" * 9999, "lr: \0", "a\n---\nb", "lr: 1", "techniques: !!binary x", "9" * 5000],
    ids=lambda text: repr(text[:12]),
)
def test_what_is_no_experiment_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ExperimentError) as caught:
        from_yaml(text)
    assert "\n" not in str(caught.value)


def test_more_runs_than_anybody_wants_are_refused_before_they_are_counted_out() -> None:
    with pytest.raises(ExperimentError, match="20,000 runs"):
        Experiment(techniques=("none", "standard"), seeds=range(10_000)).configs()
    with pytest.raises(ExperimentError, match="longer than"):
        from_yaml("# " + "x" * 1_000_001)
