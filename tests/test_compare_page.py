"""Compare as a script: groups, tags, names, and what the list of runs says."""

import json
from collections.abc import Callable

import pytest
from streamlit.testing.v1 import AppTest

from app import services
from core.config import Config
from core.jobs import LocalEngine
from core.runs import RunStore
from tests.test_app import opened, table, trained, words
from tests.test_confusion import kept

EVIL = "<img src=x onerror=alert(1)> **b** [l](x) `c` $x$ :red[r]"


@pytest.fixture(autouse=True)
def _no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalEngine, "advance", lambda self: None)


def compare(**address: str | list[str]) -> AppTest:
    test = opened("compare", **address)
    assert not test.exception
    return test


def groups(test: AppTest) -> list[str]:
    return sorted(table(test).iloc[:, 0])


def tagged(technique: str, seed: int, accuracy: float, *tags: str) -> str:
    run = trained(technique, seed, accuracy)
    RunStore().tag([run], add=tags)
    return run


def test_the_address_says_by_what_the_runs_are_grouped() -> None:
    for seed in range(3):
        tagged("none", seed, 0.90 + 0.01 * seed, "monday")
        tagged("standard", seed, 0.95 + 0.012 * seed, "monday")
        tagged("dropact", seed, 0.80 + 0.01 * seed, "tuesday", EVIL[:30])
    assert groups(compare()) == ["DropAct", "No dropout", "Standard"]
    test = compare(by="Tags")
    assert list(table(test).columns[:2]) == ["Tags", "Seeds"]
    assert list(table(test)["Seeds"]) == ["3", "3"]
    assert groups(test)[1] == "monday"
    assert "Pooled from several settings: monday (2)" in words(test).replace("\\", "")
    assert list(test.dataframe[0].value.columns[:2]) == ["Group", "Technique"]
    assert "monday" in test.selectbox(key="baseline-tag").options
    test.selectbox(key="by").select("technique").run()
    assert groups(test) == ["DropAct", "No dropout", "Standard"]
    assert not test.warning


def test_tags_of_the_address_narrow_the_list() -> None:
    one, two = tagged("none", 0, 0.9, "old", "kept"), tagged("none", 1, 0.9, "kept")
    tagged("none", 2, 0.9)
    assert set(compare(tag="kept").dataframe[0].value["Run"]) == {one, two}
    assert set(compare(tag=["kept", "old"]).dataframe[0].value["Run"]) == {one}
    assert "is no choice of “Tags”" in compare(tag="gone").warning[0].value


def test_all_networks_of_a_data_set_compare_when_asked() -> None:
    trained("none", 0, 0.9)
    wide = RunStore().create(Config(technique="none", epochs=2, width=0.5).to_dict(), {"device": "cpu"})
    RunStore().finish(wide, "done", final={"test_accuracy": 0.8, "train_seconds": 1.0, "epoch": 2.0})
    trained("none", 0, 0.7, dataset="mnist")
    test = compare(by="Network")
    assert len(test.dataframe[0].value) == 1
    test.selectbox(key="group").select("digits|").run()
    assert not test.exception
    assert groups(test) == ["digits", "digits, width 0.5"]


def test_what_a_lesson_trained_stands_apart() -> None:
    trained("none", 0, 0.9)
    trained("standard", 0, 0.8, experiment="Lesson: overfitting")
    trained("dropact", 0, 0.8, experiment="Monday")
    test = compare()
    assert groups(test) == ["DropAct", "No dropout"]
    assert test.selectbox(key="group").options == ["Digits · Digits net", "Lesson: overfitting"]
    test.selectbox(key="group").select("Lesson: overfitting").run()
    assert not test.exception
    assert len(test.dataframe[0].value) == 1
    assert list(test.dataframe[0].value["Experiment"]) == ["Lesson: overfitting"]


def test_where_only_lessons_trained_their_runs_are_compared() -> None:
    for technique in ("none", "standard"):
        trained(technique, 0, 0.8, experiment="Lesson: overfitting")
    assert groups(compare()) == ["No dropout", "Standard"]


def test_a_selected_run_gets_another_name_which_finds_it() -> None:
    run, other = trained("none", 0, 0.9), trained("none", 1, 0.9)
    test = compare(runs=run)
    test.text_input(key=f"name-{run}-digits · none · seed 0").set_value(f"\u202e{EVIL}")
    save = next(button for button in test.button if button.label == "Save name")
    save.click().run()
    assert not test.exception
    assert RunStore().get(run).name == EVIL
    assert RunStore().get(other).name == "digits · none · seed 1"
    assert list(compare(find="ONERROR").dataframe[0].value["Name"]) == [EVIL]


def test_a_name_that_is_too_long_is_refused_in_a_sentence() -> None:
    run = trained("none", 0, 0.9)
    test = compare(runs=run)
    test.text_input(key=f"name-{run}-digits · none · seed 0").set_value("x" * 300)
    next(button for button in test.button if button.label == "Save name").click().run()
    assert not test.exception
    assert "at most 200 characters, and this one has 300" in test.error[0].value


def test_tags_of_all_selected_runs_are_changed_at_once() -> None:
    one, two = tagged("none", 0, 0.9, "both", "mine"), tagged("none", 1, 0.9, "both")
    test = compare(runs=f"{one},{two}")
    (field,) = (field for field in test.text_input if field.label.startswith("Tags of all 2 runs"))
    assert field.value == "both"
    field.set_value(" mine, , new,mine ")
    next(button for button in test.button if button.label == "Save tags").click().run()
    assert not test.exception
    assert [RunStore().get(run).tags for run in (one, two)] == [("mine", "new"), ("mine", "new")]


def test_the_list_says_why_a_run_ended_before_its_last_epoch() -> None:
    store, run = RunStore(), trained("none", 0, 0.9)
    assert "Why it ended" not in compare().dataframe[0].value
    store.finish(run, "done", "The validation loss has not fallen for 5 epochs.")
    assert list(compare().dataframe[0].value["Why it ended"]) == ["The validation loss has not fallen for 5 epochs."]


def test_of_two_selected_runs_only_what_differs_is_told() -> None:
    one, two = trained("standard", 0, 0.9), trained("dropact", 0, 0.9)
    RunStore().rename(two, EVIL)
    assert len(compare().dataframe) == 1
    told = compare(runs=f"{one},{two}").dataframe[1].value
    assert list(told.columns) == [EVIL, "digits · standard · seed 0"]
    assert list(told.loc["technique"]) == ["dropact", "standard"]
    assert not {"seed", "epochs", "dataset"} & set(told.index)
    again = trained("standard", 0, 0.8)
    assert "Nothing: these runs have the same settings" in words(compare(runs=f"{one},{again}"))


def test_the_confusion_matrix_of_selected_runs_is_drawn_or_said_why_not() -> None:
    store, run = kept()
    other = trained("none", 0, 0.9)
    test = compare(runs=run.id, confusion="true")
    found = services.confusion(run)
    assert f"{100 * found.accuracy:.1f} % are right. Most often: " in words(test).replace("\\", "")
    assert "There are no weights" in words(compare(runs=other, confusion="true"))
    assert "Select one run in the list" in words(compare(confusion="true"))
    store.delete(run.id)
    absent, missing = kept("mnist", "mnist-none")
    absent.finish(missing.id, "done", final={"test_accuracy": 0.9})
    assert "MNIST is not in" in words(compare(runs=missing.id, confusion="true"))


def test_a_folder_is_shown_by_its_name_and_two_of_one_name_by_their_paths() -> None:
    trained("none", 0, 0.9, dataset="/data/of/cats")
    test = compare()
    assert test.selectbox(key="by").label == "Group by"
    trained("none", 0, 0.9, dataset="/data/of/dogs")
    test = compare()
    names = test.selectbox(key="group")
    assert names.options == ["dogs · dogs", "cats · cats"]
    assert "/data/of/cats" in names.help
    trained("none", 0, 0.9, dataset="/other/cats")
    assert compare().selectbox(key="group").options == [
        "cats · cats (/other/cats)", "dogs · dogs", "cats · cats (/data/of/cats)",
    ]  # fmt: skip


def test_bars_are_explained_where_there_are_some() -> None:
    trained("none", 0, 0.9)
    told = "Bars: ± one standard deviation."
    assert told not in words(compare()).replace("\\", "")
    trained("none", 1, 0.91)
    assert told in words(compare()).replace("\\", "")


def test_why_a_selected_run_ended_is_told_whole() -> None:
    run = trained("none", 0, 0.9)
    reason = "The loss " + "became nan, " * 30 + "at last."
    RunStore().change(run, lambda _: {"reason": reason})
    assert reason not in words(compare())
    assert f"seed 0: {reason}" in words(compare(runs=run)).replace("\\", "")


def test_the_web_page_holds_the_confusion_matrices_that_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    offered: dict[str, Callable[[], str]] = {}
    monkeypatch.setattr("app.compare_files.offer", lambda content, label, *_: offered.update({label: content}))
    store, run = kept()
    store.finish(run.id, "done", final={"test_accuracy": 0.9, "train_seconds": 1.0, "epoch": 2.0})
    for shown, squares in (("true", [False, True]), ("false", [False])):
        compare(runs=run.id, confusion=shown)
        page = offered["All as a web page"]()
        data = page.partition('<script type="application/json" id="figures">')[2].partition("</script>")[0]
        figures = json.loads(data)
        assert [figure["square"] for figure in figures] == squares
        assert page.count('<figure class="ds-figure">') == len(squares)
        assert run.name in figures[-1]["title"] or shown == "false"


def test_the_web_page_says_which_groups_pool_several_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    offered: dict[str, Callable[[], str]] = {}
    monkeypatch.setattr("app.compare_files.offer", lambda content, label, *_: offered.update({label: content}))
    tagged("none", 0, 0.9, "monday")
    tagged("standard", 0, 0.8, "monday")
    compare(by="Tags")
    assert "Pooled from several settings: monday (2)" in offered["All as a web page"]()


def test_a_run_that_is_deleted_leaves_the_address() -> None:
    run = trained("none", 0, 0.9)
    trained("none", 1, 0.9)
    test = compare(runs=run)
    assert run in test.query_params["runs"]
    test.button(key="delete").click().run()
    assert not test.exception
    assert "runs" not in test.query_params
    assert "The address names" not in words(test)
