"""Train's settings: one experiment from fields or from a file, and the file says what the fields say."""

import pytest
from streamlit.testing.v1 import AppTest

from core.jobs import LocalEngine
from core.runs import Run, RunStore
from core.sweep import ExperimentError, from_yaml, probabilities
from tests.test_app import opened

SPEC = "name: brought\ntechniques: [none, dropact]\np: [0.1, 0.2]\nseeds: [4, 9]\nepochs: 2\nkl_weight: 0.5\n"


@pytest.fixture(autouse=True)
def _nothing_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalEngine, "advance", lambda self: None)


def started(test: AppTest, key: str = "start") -> list[Run]:
    test.button(key=key).click().run()
    assert not test.exception
    return RunStore().list()[::-1]


def said(runs: list[Run]) -> set[tuple[object, ...]]:
    return {(r.config["technique"], str(r.config["p"]), r.config["network"], r.config["seed"]) for r in runs}


def test_several_p_and_networks_are_crossed_and_none_has_no_p() -> None:
    test = opened(
        p="0.2, [0.1, 0.3]",
        network=["Fitting the data", "Digits net"],
        technique=["No dropout", "DropAct"],
        repeats="2",
    )
    assert test.button(key="start").label == "Start 12 runs"
    assert said(started(test)) == {
        (technique, p, network, seed)
        for technique, p in [("none", "None"), ("dropact", "0.2"), ("dropact", "[0.1, 0.3]")]
        for network in ("auto", "digits")
        for seed in (0, 1)
    }


@pytest.mark.parametrize("text", ["0.2; 0.3", "half", "1.5", "0.2, [", "-0.1", "true", "null", "[[0.1]]", ","])
def test_p_that_is_none_is_told_and_nothing_can_be_started(text: str) -> None:
    test = opened(p=text)
    assert not test.exception
    assert "numbers from 0 to 1 with commas between" in test.error[0].value
    assert test.button(key="start").disabled


def test_p_is_read_as_it_is_written() -> None:
    assert probabilities(" ") == (None,)
    assert probabilities("0.2") == (0.2,)
    assert probabilities("0.2, [0.1, 5e-1],0") == (0.2, (0.1, 0.5), 0)
    with pytest.raises(ExperimentError):
        probabilities("0.2\n---\n")


def test_an_experiment_with_a_name_goes_on_and_one_without_begins_anew() -> None:
    first = started(opened(name="mine", epochs="3"))
    assert {run.experiment for run in first} == {"mine"}
    assert len(started(opened(name="mine", epochs="3"))) == 2
    assert len(started(opened(name="mine", epochs="3", repeats="2"))) == 4
    assert len(started(opened(epochs="3"))) == 6


def test_the_file_of_the_fields_describes_the_runs_that_they_start() -> None:
    test = opened(
        name="as <b>I</b> said",
        p="0.2, [0.1, 0.3]",
        technique=["No dropout", "DropCorr"],
        lr="0.01",
        seed="3",
        repeats="3",
        early_stop="4",
        snapshots="true",
        **{"dropcorr.count": "active"},
    )
    experiment = from_yaml(test.code[0].value)
    assert experiment.name == "as <b>I</b> said"
    assert experiment.knobs == {"dropcorr": {"count": "active"}}
    kept = started(test)
    assert [run.config for run in kept] == [
        {**config.to_dict(), "p": list(config.p) if isinstance(config.p, tuple) else config.p}
        for config in experiment.configs()
    ]
    assert (kept[0].config["lr"], kept[0].config["early_stop"], kept[0].config["snapshots"]) == (0.01, 4, True)


def test_an_experiment_from_a_file_is_started_as_it_is_and_goes_on() -> None:
    test = opened()
    test.text_area(key="spec").set_value(SPEC).run()
    assert not test.exception
    assert "brought · 6 runs · 6 to start" in [caption.value for caption in test.caption]
    assert test.button(key="start-spec").label == "Start 6 runs"
    runs = started(test, "start-spec")
    assert {(run.config["seed"], run.config["kl_weight"], run.config["epochs"]) for run in runs} == {
        (4, 0.5, 2),
        (9, 0.5, 2),
    }
    assert sorted(test.query_params["run"]) == sorted(run.id for run in runs)
    RunStore().finish(runs[0].id, "done")
    RunStore().finish(runs[1].id, "stopped")
    test.run()
    assert "brought · 6 runs · 1 to go on with · 5 there already" in [caption.value for caption in test.caption]
    assert started(test, "start-spec")[1].status == "queued"
    assert len(RunStore().list()) == 6


def test_a_file_that_is_opened_fills_the_field_for_text() -> None:
    test = opened()
    test.file_uploader(key="spec-file").set_value(("a.yaml", SPEC.encode("utf-8-sig"), "application/yaml")).run()
    assert not test.exception
    assert test.text_area(key="spec").value == SPEC
    assert test.button(key="start-spec").label == "Start 6 runs"
    test.file_uploader(key="spec-file").set_value(("a.yaml", b"\xff\xfe\x00", "application/yaml")).run()
    assert not test.exception
    assert "is not YAML" in test.error[0].value


def test_a_mistake_in_a_file_is_one_sentence_with_its_line_and_no_button() -> None:
    test = opened()
    test.text_area(key="spec").set_value(SPEC.replace("epochs", "epoch")).run()
    assert test.error[0].value.startswith("Line 5\\: There is no setting 'epoch'; did you mean epochs?")
    assert [button.key for button in test.button if button.key == "start-spec"] == []
    test.text_area(key="spec").set_value("techniques: none\ndataset: /no/such\nname: a").run()
    assert "no folder of that name" in test.error[0].value
