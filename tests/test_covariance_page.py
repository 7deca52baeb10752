"""The Covariance page as a script, its tables and its figures."""

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from streamlit.testing.v1 import AppTest

from app import covariance_charts as charts
from app import pair_tables, pairs
from app.networks import network, network_titles, stamp
from app.pairs import AROUND, FALLING, Shown, Source, UnavailableError
from app.theme import DARK_GROUND, LIGHT_GROUND, contrast
from core.checkpoints import files
from core.config import Config
from core.dropout import TECHNIQUES, Standard, dropouts
from core.inspection.covariance import covariance, drift, varying
from core.inspection.together import Agreement, agreement, co_drop
from core.references import Architecture
from core.runs import RunStore

ROUTER = Path(__file__).parent.parent / "app" / "router.py"
NET = "digits-dropcorr"


def opened(**address: str | list[str]) -> AppTest:
    test = AppTest.from_file(ROUTER, default_timeout=120).switch_page("app_pages/covariance.py")
    for key, value in address.items():
        test.query_params["with" if key == "techniques" else key] = value
    return test.run()


def forget() -> None:
    """Empty what the page keeps."""
    for kept in (pairs.clean, pairs.falling, pairs.before, pairs.after):
        kept.cache_clear()


def words(test: AppTest) -> str:
    return "\n".join(part.proto.body for part in test.get("html")) + "\n".join(part.value for part in test.caption)


def panels(test: AppTest) -> dict[str, dict[str, Any]]:
    """Title → what the browser is given, of every figure."""
    given = [json.loads(part.proto.json) for part in test.get("bidi_component")]
    return {data["title"]: data for data in given if "figure" in data}


def trained_run(width: float, epochs: int = 1) -> str:
    """A run on the digits whose weights are as they start."""
    store = RunStore()
    config = Config(network="digits", technique="none", width=width, epochs=epochs)
    run = store.create(config.to_dict(), name=f"width {width:g}")
    torch.manual_seed(0)
    model = Architecture("digits", (1, 8, 8), 10, width).build("none")
    store.save_weights(run, model.state_dict(), config.to_dict())
    store.finish(run, "done", final={"test_accuracy": 0.1})
    return run


def shown(view: str = FALLING, measure: str = "covariance", **source: Any) -> Shown:
    return Shown(
        Source(NET, 0, 0, **source), ("dropcorr", "standard"), 0.2, view, measure, "index", excess=False, one_scale=True
    )


def test_the_first_screen_shows_the_matrices_and_says_what_they_say() -> None:
    test = opened()
    assert not test.exception
    assert not test.warning
    assert list(panels(test)) == [
        "Covariance without dropout (activation²)",
        "DropCorr: pairs that fall together (% of masks)",
        "Standard: pairs that fall together (% of masks)",
        "Pairs that fall together (% of masks) over their covariance, by twentieths",
        "Spectrum: variance along each direction (activation²)",
        "Drift of the covariance since its last estimate (% of its size)",
    ]
    assert "Units that are active on the same images have a covariance" in words(test)
    assert "Pairs with a larger covariance fall together more often under DropCorr (0." in words(test)
    assert "They fall together neither more nor less often under Standard" in words(test)
    assert list(test.table[0].value["Technique"]) == ["DropCorr", "Standard"]
    assert list(test.table[0].value["Units that fall"]) == ["19.5 %", "20.0 %"]


def test_every_figure_says_in_words_what_it_shows() -> None:
    for view in ("Falling together", "Before and after"):
        for title, figure in panels(opened(view=view)).items():
            assert figure["alt"].startswith(title)
            assert len(figure["alt"]) > len(title) + 10


def test_the_numbers_are_those_of_core() -> None:
    source = Source(NET, 0, 0)
    x = network(NET).references[0]
    layer = dropouts(network(NET).model(None, 0.3))[0]
    expected = agreement(varying(covariance(x)), co_drop(layer, x, pairs.DRAWS).frequency)
    assert pairs.agreed(source, "dropcorr", 0.3, "covariance") == pytest.approx(expected)


def test_before_and_after_shows_what_techniques_without_a_dropped_set_do() -> None:
    test = opened(view="Before and after", techniques=["DropConnect", "Gaussian"], measure="Correlation")
    assert not test.exception
    assert not test.info
    assert list(panels(test))[:3] == [
        "Correlation before dropout (−1 to 1)",
        "Correlation after DropConnect (−1 to 1)",
        "Correlation after Gaussian (−1 to 1)",
    ]
    table = test.table[0].value
    assert list(table["Technique"]) == ["Without dropout", "DropConnect", "Gaussian"]
    assert list(table["Agreement"]) == ["–", "drops no units", "drops no units"]


def test_a_technique_without_a_dropped_set_says_so_and_hides_no_other() -> None:
    test = opened(techniques=["Gaussian", "DropConnect", "DropAct"])
    assert [part.value for part in test.info] == [
        "DropConnect drops weights, not units. “Before and after” shows what it does.",
        "Gaussian multiplies units and drops none. “Before and after” shows what it does.",
    ]
    assert list(test.table[0].value["Technique"]) == ["DropAct"]


def test_a_technique_that_the_app_has_never_heard_of_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    class Brave(Standard):
        title = "Brave new"

    monkeypatch.setitem(TECHNIQUES, "brave", Brave)
    test = opened(techniques=["Brave new"])
    assert not test.exception
    assert not test.warning
    assert list(test.table[0].value["Technique"]) == ["Brave new"]


def test_wrong_values_in_the_address_are_named_and_fall_back() -> None:
    test = opened(net="Foo", layer="9", p="2", order="Size", epoch="3", techniques=["Nothing"])
    assert not test.exception
    said = test.warning[0].value
    for wrong, control in (("Foo", "Network"), ("9", "Layer"), ("Size", "Order of units"),
                           ("3", "Epoch of training"), ("Nothing", "Techniques")):  # fmt: skip
        assert f"“{wrong}” in the address is no choice of “{control}”" in said
    assert "“2” in the address does not lie between 0 and 1" in said
    assert test.slider(key="p").value == 0.2
    assert test.selectbox(key="net").value == NET


def test_an_address_may_carry_the_name_of_a_network() -> None:
    test = opened(net="digits-none")
    assert not test.warning
    assert test.selectbox(key="net").value == "digits-none"


def test_the_address_brings_back_what_was_chosen() -> None:
    test = opened(layer="Hidden 2 · 128", p="0.4", measure="Correlation", order="Variance", epoch="24", refresh="8")
    assert not test.warning
    assert "Pairs with a larger correlation" in words(test)
    assert test.slider(key="p").value == 0.4
    assert test.select_slider(key="epoch").value == str(network(NET).snapshots.epochs.index(24.0))
    assert test.get("button_group")[-1].value == "2"
    assert "Unit, largest variance first" in panels(test)["Correlation without dropout (−1 to 1)"]["figure"]


def test_without_a_technique_the_page_asks_for_one() -> None:
    test = opened()
    test.get("button_group")[0].set_value([]).run()
    assert not test.exception
    assert test.info[0].value == "Choose a technique to see which units it drops together."


def test_an_old_estimate_is_named_and_agrees_less() -> None:
    fresh, never = (opened(epoch="24", refresh=refresh) for refresh in ("4", "never"))
    assert "last estimate" not in words(fresh)
    assert "DropCorr draws its masks with the covariance of epoch 0, its last estimate." in words(never)
    first, second = (
        float(test.table[0].value["Agreement with covariance"][0].split(",")[0]) for test in (fresh, never)
    )
    assert first > 0.8 > 0.3 > second


def test_the_drift_is_that_of_core_and_its_start_does_not_dwarf_the_rest() -> None:
    snapshots = network(NET).snapshots
    x = [snapshots.activations(index, 1) for index in range(len(snapshots))]
    found = pairs.drifting(NET, 0, 1, 4)
    np.testing.assert_array_equal(found, drift(x, 4))
    assert charts.leaves_chart(found, 4)
    y = charts.drift_curve(snapshots.epochs, found, 5, 4).figure.layout.yaxis.range
    assert 100 * found[4:].max() < y[1] < 100 * found[:4].max()
    assert "off the chart" in pair_tables.drift_in_words(snapshots.epochs, found, 4)
    assert not charts.leaves_chart(found, len(found))
    assert "soon worth nothing" in pair_tables.drift_in_words(snapshots.epochs, found, len(found))


def test_standout_shows_where_its_layer_can_be_run() -> None:
    test = opened(techniques=["Standout"])
    assert not test.info
    assert list(test.table[0].value["Technique"]) == ["Standout"]
    test = opened(techniques=["Standout"], epoch="8")
    assert test.info[0].value.startswith("Standout acts inside its layer, and earlier epochs kept activations only")


def test_images_that_are_not_here_leave_the_reference_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    forget()
    monkeypatch.setattr(pairs, "dataset", lambda name: None)
    assert not opened().info
    test = opened(techniques=["Standout"])
    assert test.info[0].value.startswith(
        "Standout acts inside its layer. The images of Digits · DropCorr are not on this"
    )
    test = opened(batch="Test images")
    assert not test.exception
    assert "are not on this machine. Choose the training images instead" in test.info[0].value


def test_test_images_are_other_images() -> None:
    reference, unseen = (pairs.clean(Source(NET, 0, 0, batch)) for batch in ("reference", "test"))
    assert reference.shape == unseen.shape == (200, 128)
    assert not torch.equal(reference, unseen)


def test_a_run_shows_once_it_has_weights_and_a_wide_layer_by_blocks() -> None:
    waiting = RunStore().create(Config().to_dict(), name="waiting")
    run = trained_run(width=2.5)
    assert waiting not in network_titles()
    test = opened(net=run)
    assert not test.exception
    assert test.selectbox(key="layer").options == ["Hidden 1 · 320", "Hidden 2 · 320"]
    assert "Each cell is the mean over 2 × 2 pairs of units that are neighbours in this order." in words(test)
    assert not test.get("select_slider")
    assert "Block of 2 units, by clustering" in panels(test)["Covariance without dropout (activation²)"]["figure"]


def test_of_a_very_wide_layer_a_part_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairs, "MOST_UNITS", 64)
    run = trained_run(width=1.0)
    test = opened(net=run)
    assert not test.exception
    assert "The layer has 128 units; 64 of them, chosen once at random, are looked at." in words(test)
    found = pairs.falling(Source(run, stamp(run), 0), "standard", 0.2)
    assert found.frequency.shape == (64, 64)


@pytest.mark.parametrize("p", ["0", "1"])
@pytest.mark.parametrize("view", ["Falling together", "Before and after"])
def test_the_ends_of_p_are_shown_too(p: str, view: str) -> None:
    test = opened(p=p, view=view, techniques=[cls.title for cls in TECHNIQUES.values()])
    assert not test.exception
    assert not test.warning
    if view == "Falling together" and p == "0":
        assert "All pairs fall together equally often." in words(test)


def test_a_damaged_checkpoint_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(files.SHIPPED / NET, tmp_path / "shelf" / NET)
    (tmp_path / "shelf" / NET / "model.safetensors").write_bytes(b"no weights")
    monkeypatch.setattr(files, "SHIPPED", tmp_path / "shelf")
    test = opened()
    assert not test.exception
    assert len(test.error) == 1
    assert "has a damaged model.safetensors" in test.error[0].value


def test_falling_beyond_chance_is_centred_on_zero() -> None:
    figure = panels(opened(count="More than by chance"))["DropCorr: together more than by chance (% of masks)"]
    heatmap = json.loads(figure["figure"])["data"][0]
    assert heatmap["zmin"] == -heatmap["zmax"]


def test_matrices_reach_the_browser_as_bytes() -> None:
    for figure in list(panels(opened()).values())[:3]:
        assert json.loads(figure["figure"])["data"][0]["z"].keys() == {"dtype", "bdata", "shape"}


def test_panels_of_one_unit_share_their_colours_unless_asked_not_to() -> None:
    def ends(test: AppTest) -> list[float]:
        return [json.loads(figure["figure"])["data"][0]["zmax"] for figure in list(panels(test).values())[1:3]]

    one, other = ends(opened())
    assert one == other
    one, other = ends(opened(scale="A scale each"))
    assert one > other


def test_files_hold_the_pairs_and_the_numbers() -> None:
    frame = pair_tables.pair_table(shown(), ["dropcorr"])
    assert len(frame) == 128 * 127 // 2
    row = frame[(frame["unit"] == 7) & (frame["other"] == 110)].iloc[0]
    assert row["covariance"] == pairs.before(shown().source)[7, 110]
    assert row["dropcorr: fall together"] == pairs.falling(shown().source, "dropcorr", 0.2).frequency[7, 110]
    table = pair_tables.spread_out(pair_tables.agreement_table(shown(), ["dropcorr", "standard"]))
    r = pairs.agreed(shown().source, "dropcorr", 0.2, "covariance")
    assert tuple(table.filter(like="Agreement with covariance").iloc[0]) == (r.r, r.low, r.high)
    after = pair_tables.spread_out(pair_tables.change_table(shown(AROUND), ["gaussian"]))
    assert not [value for value in after.to_numpy().ravel() if isinstance(value, Agreement)]
    assert len(pair_tables.spectrum_table(shown(AROUND), ["standard"])) == 128


def test_an_interval_reads_as_numbers() -> None:
    assert pair_tables.interval(Agreement(-0.123, -0.2, 0.001, 9)) == "−0.12, −0.20 to 0.00"
    assert pair_tables.interval(Agreement(math.nan, math.nan, math.nan, 0)) == "unknown"
    assert pair_tables.interval(Agreement(0.5, math.nan, math.nan, 9)) == "0.50"


def test_a_technique_that_drops_no_units_has_no_frequency() -> None:
    with pytest.raises(UnavailableError, match="Gaussian multiplies units"):
        pairs.falling(Source(NET, 0, 0), "gaussian", 0.2)


def test_the_end_of_the_colours_is_set_by_pairs_not_by_the_diagonal() -> None:
    m = np.full((20, 20), 0.5)
    np.fill_diagonal(m, 9.0)
    assert charts.scale_of([m, -2 * m], diverging=True).limit == pytest.approx(1.0)
    assert charts.scale_of([np.full((3, 3), np.nan)], diverging=False).limit == 1.0


def test_zero_has_the_colour_of_the_page_and_the_ends_stand_out() -> None:
    middle = charts.DIVERGING[len(charts.DIVERGING) // 2]
    assert middle == (LIGHT_GROUND, DARK_GROUND)
    for light, dark in (charts.DIVERGING[0], charts.DIVERGING[-1], charts.SEQUENTIAL[-1]):
        assert contrast(light, LIGHT_GROUND) > 7
        assert contrast(dark, DARK_GROUND) > 7
    lights = [light for light, _ in (*charts.DIVERGING, *charts.SEQUENTIAL, charts.BLANK)]
    assert len(set(lights)) == len(lights)
