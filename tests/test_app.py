"""The pages as a script: what they offer, what they start, and what they say when something is wrong."""

import re
import sqlite3
from html import unescape
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app import services
from app.compared import compared as comparison_of
from core import variants
from core.config import Config
from core.dropout import TECHNIQUES, Knob, Standard
from core.jobs import LocalEngine
from core.runs import RunStore

ROUTER = Path(__file__).parent.parent / "app" / "router.py"


@pytest.fixture(autouse=True)
def _no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are queued, but no process takes them: training itself is tested in a browser."""
    monkeypatch.setattr(LocalEngine, "advance", lambda self: None)


def opened(page: str = "train", **address: str | list[str]) -> AppTest:
    test = AppTest.from_file(ROUTER, default_timeout=60).switch_page(f"app_pages/{page}.py")
    for key, value in address.items():
        test.query_params[key] = value
    return test.run()


def trained(
    technique: str,
    seed: int,
    accuracy: float,
    seconds: float = 2.0,
    dataset: str = "digits",
    experiment: str | None = None,
) -> str:
    store = RunStore()
    config = Config(technique=technique, seed=seed, dataset=dataset, epochs=2)
    run = store.create(config.to_dict(), {"device": "cpu"}, experiment=experiment)
    for epoch in (1, 2):
        store.record(
            run, [{"kind": "epoch", "step": epoch, "epoch": float(epoch), "val_accuracy": accuracy - 0.1 / epoch}]
        )
    store.finish(run, "done", final={"test_accuracy": accuracy, "train_seconds": seconds, "epoch": 2.0})
    return run


def words(test: AppTest) -> str:
    return "\n".join(str(part.value) for kind in ("title", "markdown", "caption", "error", "warning", "html")
                     for part in test.get(kind) if hasattr(part, "value"))  # fmt: skip


def html(test: AppTest) -> str:
    return "\n".join(part.proto.body for part in test.get("html"))


def table(test: AppTest) -> pd.DataFrame:
    """The first table that a page shows as HTML."""
    return tables(test)[0]


def tables(test: AppTest) -> list[pd.DataFrame]:
    """The tables that a page shows as HTML, in their order."""
    return [_parsed(body) for body in re.findall(r"<table>.*?</table>", html(test), re.DOTALL)]


def _parsed(body: str) -> pd.DataFrame:
    head, *rows = (
        [unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row)] for row in body.split("<tr>")[1:]
    )
    return pd.DataFrame(rows, columns=head)


def test_a_fresh_machine_sees_what_this_is_and_one_button() -> None:
    test = opened()
    assert not test.exception
    assert test.title[0].value == "Train"
    assert "Nothing has been trained yet" in html(test)
    assert test.button(key="start").label == "Start 2 runs"
    assert test.selectbox(key="data").value == "digits"
    assert test.get("button_group")[0].value == ["standard", "dropcorr"]


def test_looking_at_the_pages_creates_no_run_and_no_database(dropscope_home: Path) -> None:
    opened()
    opened("compare")
    assert not (dropscope_home / "runs.sqlite").exists()


def test_start_queues_the_runs_that_the_page_describes() -> None:
    test = opened(epochs="3", p="0.4", lr="0.01", repeats="2", seed="7")
    assert test.button(key="start").label == "Start 4 runs"
    test.button(key="start").click().run()
    assert not test.exception
    runs = RunStore().list()
    assert sorted((run.config["technique"], run.config["seed"]) for run in runs) == [
        ("dropcorr", 7), ("dropcorr", 8), ("standard", 7), ("standard", 8),
    ]  # fmt: skip
    assert {(r.config["epochs"], r.config["p"], r.config["lr"], r.config["dataset"]) for r in runs} == {
        (3, 0.4, 0.01, "digits")
    }
    assert sorted(test.query_params["run"]) == sorted(run.id for run in runs)


def test_an_empty_p_leaves_it_to_the_network() -> None:
    opened().button(key="start").click().run()
    assert {run.config["p"] for run in RunStore().list()} == {None}


def test_limits_of_a_run_reach_the_config() -> None:
    opened(early_stop="4", time_budget="90", train_size="200").button(key="start").click().run()
    limits = {
        tuple(run.config[key] for key in ("early_stop", "time_budget", "train_size")) for run in RunStore().list()
    }
    assert limits == {(4, 90.0, 200)}


def test_a_wrong_value_in_the_address_is_named_and_falls_back() -> None:
    test = opened(epochs="0", data="Foo")
    assert not test.exception
    assert test.number_input(key="epochs").value == 30
    assert test.selectbox(key="data").value == "digits"
    assert "“0” in the address does not lie between 1 and 10,000" in test.warning[0].value
    assert "“Foo” in the address is no choice of “Data”" in test.warning[0].value


def test_the_knobs_of_a_chosen_technique_reach_the_config() -> None:
    name, knob = next((n, k) for n, cls in TECHNIQUES.items() for k in cls.knobs if len(k.choices) > 1)
    other = next(word for word in knob.choices if word != knob.default)
    test = opened(technique=[TECHNIQUES[name].title], **{f"{name}.{knob.name}": other})
    test.button(key="start").click().run()
    assert [run.config["knobs"] for run in RunStore().list()] == [{knob.name: other}]


def test_a_technique_that_the_app_has_never_heard_of_shows_with_its_knobs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Brave(Standard):
        title = "Brave new"
        knobs = (Knob("courage", 0.5, "How much.", low=0.0, high=1.0),)

    monkeypatch.setitem(TECHNIQUES, "brave", Brave)
    test = opened(technique=["Brave new"])
    assert not test.exception
    assert not test.warning
    assert test.number_input(key="brave.courage").value == 0.5


def test_a_setting_that_core_refuses_is_one_sentence_and_starts_nothing() -> None:
    test = opened(technique=["Variational"], schedule="linear")
    test.button(key="start").click().run()
    assert not test.exception
    assert test.error[0].value.startswith("schedule of variational")
    assert RunStore().list() == []


def test_a_folder_that_is_not_named_is_asked_for() -> None:
    test = opened(data="A folder of images")
    test.button(key="start").click().run()
    assert not test.exception
    assert test.error[0].value.startswith("Name a data set")


def test_a_reload_finds_running_runs_and_without_any_the_last_ones(dropscope_home: Path) -> None:
    old = trained("none", 0, 0.9)
    store = RunStore()
    with sqlite3.connect(dropscope_home / "runs.sqlite") as db:
        db.execute("UPDATE runs SET created = created - 3600")
    last = trained("standard", 0, 0.9)
    assert shown(opened()) == [last]
    waiting = store.create(Config(technique="dropact").to_dict())
    assert shown(opened()) == [waiting]
    assert shown(opened(run=[old])) == [old, waiting]


def shown(test: AppTest) -> list[str]:
    import json

    given = [json.loads(part.proto.json) for part in test.get("bidi_component")]
    (live,) = [data for data in given if "runs" in data]
    return [run["id"] for run in live["runs"]]


def test_compare_invites_to_train_when_there_is_nothing() -> None:
    test = opened("compare")
    assert not test.exception
    assert "Nothing to compare yet" in html(test)


def test_compare_says_in_words_what_the_runs_allow_to_say() -> None:
    for seed, accuracy in enumerate((0.95, 0.96, 0.97)):
        trained("dropcorr", seed, accuracy, 3.0)
        trained("none", seed, accuracy - 0.05 + 0.001 * seed, 2.0)
    test = opened("compare")
    assert not test.exception
    assert "With 3 seeds, DropCorr (96.0 %) is better than No dropout by more than chance allows." in html(test)
    shown = table(test)
    assert list(shown.iloc[0]) == [
        "DropCorr", "3", "96.0 ± 1.0 %", "+4.90 (+4.65 to +5.15)", "< 0.001", "3.0 ± 0.0 s", "1.50",
    ]  # fmt: skip
    assert list(shown.iloc[1])[3:5] == ["baseline", "–"]
    assert "relative to No dropout" in " ".join(part.value for part in test.caption)


def test_a_small_spread_does_not_read_as_none() -> None:
    for seed, (accuracy, seconds) in enumerate(((0.96, 1.0), (0.9602, 1.04), (0.9604, 1.02))):
        trained("dropcorr", seed, accuracy, seconds)
    row = table(opened("compare")).iloc[0]
    assert [row["Test accuracy, mean ± sd"], row["Training time, mean ± sd"]] == ["96.02 ± 0.02 %", "1.02 ± 0.02 s"]


def test_compare_says_to_what_times_relate_where_no_run_is_without_dropout() -> None:
    trained("standard", 0, 0.9, 4.0)
    trained("dropact", 0, 0.91, 6.0)
    test = opened("compare")
    assert "one seed does not allow a ranking" in html(test)
    assert "relative to Standard, the fastest, as nothing here is without dropout" in " ".join(
        part.value for part in test.caption
    )


def test_only_runs_of_one_data_set_are_compared() -> None:
    trained("none", 0, 0.9, dataset="mnist")
    trained("standard", 0, 0.8)
    test = opened("compare")
    assert not test.exception
    assert list(table(test)["Technique"]) == ["Standard"]
    test.selectbox(key="group").select("mnist|mnist").run()
    assert list(table(test)["Technique"]) == ["No dropout"]


def test_the_address_pins_a_baseline_and_the_table_and_words_follow_it() -> None:
    for seed, accuracy in enumerate((0.95, 0.96, 0.97)):
        trained("dropcorr", seed, accuracy)
        trained("none", seed, accuracy - 0.05 + 0.001 * seed)
        trained("gaussian", seed + 1, accuracy - 0.01)
    test = opened("compare", baseline="DropCorr")
    shown = table(test).set_index("Technique")
    assert shown.loc["DropCorr", "Difference to DropCorr"] == "baseline"
    assert shown.loc["Gaussian", "Difference to DropCorr"] == "−2.00"
    assert "No dropout is worse than DropCorr by more than chance allows." in words(test)
    assert "For Gaussian no ranking against DropCorr is possible: 2 seeds are common to both" in words(test).replace(
        "\\", ""
    )
    test.selectbox(key="baseline").select("Gaussian").run()
    assert "For No dropout and DropCorr no ranking against Gaussian is possible" in words(test).replace("\\", "")


def test_a_baseline_that_is_not_there_is_named_and_no_dropout_stays() -> None:
    trained("none", 0, 0.9)
    trained("standard", 0, 0.91)
    test = opened("compare", baseline="<b>Dropped</b>")
    assert not test.exception
    assert "is no choice of “Baseline”" in test.warning[0].value
    assert test.selectbox(key="baseline").value == "No dropout"
    assert "Difference to No dropout" in table(test)


def test_the_comparison_is_offered_as_csv_latex_and_json() -> None:
    trained("none", 0, 0.9)
    test = opened("compare")
    assert not test.exception
    names = [part.proto.label for part in test.get("download_button")]
    whole = ["Table as CSV", "Curves as CSV", "Table as LaTeX", "All as JSON", "All as a web page"]
    assert names == [*whole, "Runs as CSV"]


def test_a_comparison_is_made_once_until_a_run_of_it_changes() -> None:
    run = trained("none", 0, 0.9)
    rows = variants.table(RunStore().list())
    before = comparison_of(rows, {run: RunStore().get(run).seq})
    assert comparison_of(rows.copy(), {run: RunStore().get(run).seq}) is before
    RunStore().record(run, [{"kind": "epoch", "step": 3, "epoch": 3.0, "val_accuracy": 0.95}])
    after = comparison_of(rows, {run: RunStore().get(run).seq})
    assert list(before.curves["epoch"]) == [1, 2]
    assert list(after.curves["epoch"]) == [1, 2, 3]
    for changed in ({"test_accuracy": 0.8}, {"seconds_per_epoch": 3.0}, {"variant": "another"}, {"seed": 7}):
        assert comparison_of(rows.assign(**changed), {run: RunStore().get(run).seq}) is not after


def compared(test: AppTest) -> set[str]:
    return set(table(test)["Technique"])


def test_the_address_names_the_runs_that_are_compared_and_their_group() -> None:
    one, two = trained("none", 0, 0.9), trained("dropact", 0, 0.91)
    trained("standard", 0, 0.92)
    trained("standard", 0, 0.8, dataset="mnist")
    test = opened("compare", runs=f"{one},{two}")
    assert not test.exception
    assert test.selectbox(key="group").value == "digits|digits"
    assert compared(test) == {"No dropout", "DropAct"}
    assert test.button(key="delete").label == "Delete 2 runs"
    assert set(opened("compare", runs=f"{two},{one},gone").query_params["runs"].split(",")) == {one, two}


def test_selecting_runs_and_letting_them_go_stays_in_their_group() -> None:
    other = trained("standard", 0, 0.8, dataset="mnist")
    trained("none", 0, 0.9)
    test = opened("compare")
    assert test.selectbox(key="group").value == "digits|digits"
    test.selectbox(key="group").select("mnist|mnist").run()
    for rows in ([0], []):
        test.session_state[f"runs-{hash((other,))}"] = {"selection": {"rows": rows}}
        test.run()
        assert not test.exception
        assert test.selectbox(key="group").value == "mnist|mnist"
        assert compared(test) == {"Standard"}
        assert ("runs" in test.query_params) == bool(rows)


def test_runs_of_an_address_that_are_gone_are_told_and_the_rest_is_compared() -> None:
    one = trained("none", 0, 0.9)
    trained("dropact", 0, 0.91)
    test = opened("compare", runs=f"<img onerror=alert(1)>,{one},zzzzzzzzzz")
    assert not test.exception
    assert "names 2 runs that are not here" in test.warning[0].value
    assert compared(test) == {"No dropout"}
    assert compared(opened("compare", runs="zzzzzzzzzz")) == {"No dropout", "DropAct"}


def test_filters_of_the_address_narrow_what_is_listed_and_compared() -> None:
    for technique in ("none", "dropact", "dropcorr"):
        trained(technique, 0, 0.9)
        trained(technique, 7, 0.91)
    RunStore().create(Config(technique="dropact", seed=9, epochs=2).to_dict(), {"device": "cpu"})
    test = opened("compare", technique=["DropAct", "DropCorr"])
    assert compared(test) == {"DropAct", "DropCorr"}
    test.text_input(key="find").set_value("SEED 7").run()
    assert compared(test) == {"DropAct", "DropCorr"}
    assert list(table(test)["Seeds"]) == ["1", "1"]
    assert list(test.dataframe[0].value["Seed"]) == [7, 7]
    assert list(opened("compare", status="queued").dataframe[0].value["Seed"]) == [9]
    nothing = opened("compare", find="there is none such")
    assert not nothing.exception
    assert "No run matches" in words(nothing)


def test_what_was_deleted_together_comes_back_together_and_outlives_the_tab() -> None:
    ids = [trained("none", seed, 0.9) for seed in range(3)]
    test = opened("compare", runs=",".join(ids[:2]))
    test.button(key="delete").click().run()
    assert not test.exception
    assert [run.id for run in RunStore().list()] == ids[2:]
    services.delete(ids[2:])
    again = opened("compare")
    assert "Nothing to compare yet" in html(again)
    assert "1 run deleted" in words(again)
    again.button(key="undo").click().run()
    assert "2 runs deleted" in words(again)
    again.button(key="undo").click().run()
    assert not again.exception
    assert {run.id for run in RunStore().list()} == set(ids)
    assert "undo" not in [button.key for button in again.button]


@pytest.mark.parametrize("page", ["train", "compare"])
def test_a_store_of_a_newer_schema_is_one_sentence_on_every_page(page: str, dropscope_home: Path) -> None:
    trained("none", 0, 0.9)
    with sqlite3.connect(dropscope_home / "runs.sqlite") as db:
        db.execute("PRAGMA user_version = 999")
    services._opened.cache_clear()
    test = opened(page)
    assert not test.exception
    assert len(test.error) == 1
    assert "was made by a newer Dropscope" in test.error[0].value


@pytest.mark.parametrize("page", ["train", "compare"])
def test_a_home_that_cannot_be_made_is_one_sentence(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DROPSCOPE_HOME", str(tmp_path / "file" / "home"))
    test = opened(page)
    assert not test.exception
    assert "set DROPSCOPE\\_HOME to a folder that you can write to" in test.error[0].value
