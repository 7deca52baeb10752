"""Explore's section on Monte Carlo dropout: what it asks, draws and says."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from streamlit.testing.v1 import AppTest
from torch import Tensor

from app import monte_carlo as section
from app.monte_carlo_charts import EACH, MIDDLE, chart, drawn, height
from app.pictures import Picture
from app.theme import style
from core.checkpoints import Checkpoint, load
from core.data import load as load_data
from core.dropout import TECHNIQUES, factory
from core.inspection import Answers, monte_carlo
from models import build

CLASSES = ("cat & <dog>", "50 %", "*bird*")


@pytest.fixture(scope="module")
def net() -> Checkpoint:
    return load("digits-none")


@pytest.fixture(autouse=True)
def _fresh() -> None:
    section.asked.cache_clear()


def image() -> Tensor:
    return torch.randint(0, 256, (1, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(6))


def picture() -> Picture:
    return Picture(image(), "3", "data", "", "an image")


def answers(rows: int = 8) -> Answers:
    """The third class is rare, the second sometimes wins."""
    p = torch.tensor([[0.9, 0.099, 0.001]]).repeat(rows, 1)
    p[1::4] = torch.tensor([0.3, 0.695, 0.005])
    return Answers(p.double())


def question(net: Checkpoint, technique: str = "standard", **other: Any) -> section.Question:
    asked = {"options": (), "p": 0.3, "passes": 20, "position": 1, **other}
    return section.Question(net, "an image", technique, x=image(), **asked)


def page() -> None:
    """Run by Streamlit, in a module of its own."""
    import streamlit as st

    from app.monte_carlo import section
    from core.checkpoints import load
    from tests.test_monte_carlo_section import picture

    names = st.session_state.get("names", ["standard", "dropcorr"])
    section(load("digits-none"), picture(), names, st.session_state.get("p", 0.3), 0)


def opened(**address: str) -> AppTest:
    test = AppTest.from_function(page, default_timeout=60)
    for key, value in address.items():
        test.query_params[key] = value
    return test.run()


# Words


def test_the_sentence_gives_votes_and_doubt() -> None:
    told = section.sentence(answers(), CLASSES, "standard")
    assert told.startswith(r"In 8 passes it says **cat & \<dog\>** in 6 and **50 %** in 2.")
    mean = answers().mean.numpy()
    entropy = -(mean * np.log2(mean)).sum()
    assert f"**{entropy:.2f} bit**, of which **{answers().mutual_information:.2f} bit** come from the masks" in told
    assert "with 1.58 it would know nothing" in told
    assert "come from the noise" in section.sentence(answers(), CLASSES, "gaussian")
    assert section.sentence(answers(1), CLASSES, "standard").startswith("In all")


def test_rare_answers_are_counted_together() -> None:
    said = torch.eye(5)[[0, 0, 0, 1, 1, 2, 3, 4]].double()
    told = section.sentence(Answers(said), "abcde", "standard")
    assert told.startswith("In 8 passes it says **a** in 3, **b** in 2, **c** in 1 and something else in 2.")


@pytest.mark.parametrize("name", list(TECHNIQUES))
def test_only_a_posterior_is_called_one(name: str, net: Checkpoint) -> None:
    assert "no probability of being wrong" in section.meaning(name, 0.2, net)
    trained = load("digits-dropcorr")
    assert ("Gal" in section.meaning("dropcorr", 0.2, trained)) is False


def test_a_posterior_needs_the_technique_of_the_training_and_its_p(
    net: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = replace(net, technique="standard", p=(0.2, 0.2))
    assert "trained with Standard: its passes" in section.meaning("standard", 0.2, trained)
    assert "trained with Standard at another p, so this is no" in section.meaning("standard", 0.3, trained)
    assert "not trained with Gaussian" in section.meaning("gaussian", 0.2, trained)


@pytest.mark.parametrize(
    ("technique", "source"),
    [
        ("standard", "1506.02142"),
        ("dropconnect", "1906.04569"),
        ("gaussian", "1506.02557"),
        ("variational", "1506.02557"),
    ],
)
def test_each_posterior_is_that_of_the_paper_that_showed_it(technique: str, source: str) -> None:
    said = section.meaning(technique, 0.2, load(f"digits-{technique}"))
    assert source in said
    assert ("1807.01969" in said) == (source == "1506.02557"), "its prior is improper"


@pytest.mark.parametrize("p", [0.2, 0.3])
def test_of_a_technique_that_is_not_known_nothing_is_claimed(
    net: Checkpoint, p: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(TECHNIQUES, "own", type("Own", (), {"title": "Own"}))
    for trained in (net, replace(net, technique="own", p=(0.2, 0.2))):
        said = section.meaning("own", p, trained)
        assert "no probability of being wrong" in said
        assert "activations" not in said


def test_a_networks_own_technique_acts_with_the_noise_that_it_learned() -> None:
    trained = load("digits-variational")
    x = load_data("digits").test.x[93:94]
    own, other = (
        section.asked(section.Question(trained, "x", "variational", (), p, 300, 0, x)).answers.probabilities
        for p in (0.2, 0.21)
    )
    wanted = monte_carlo(trained.model(), trained.normalise(x), passes=300).probabilities
    assert torch.equal(own, wanted)
    assert not torch.equal(own, other)


# The figure


def test_every_pass_is_a_point_of_each_class_that_counts() -> None:
    shown = chart(answers(200), CLASSES, "dropact")
    strips = [trace for trace in shown.figure.data if trace.legendgroup == EACH]
    assert drawn(answers(200)) == [0, 1]
    assert len(strips) == 2
    p = 100 * answers(200).probabilities.numpy()
    for k, strip in enumerate(strips):
        np.testing.assert_allclose(strip.x, p[:, k], rtol=1e-6)
        # Points of a class stay on its strip, below its mean.
        assert k - 0.2 < min(strip.y)
        assert max(strip.y) < k + 0.4
        assert {strip.marker.color} == {style("dropact").light}
    lines, means = (trace for trace in shown.figure.data if trace.legendgroup == MIDDLE)
    np.testing.assert_allclose(means.x, p.mean(0)[:2])
    np.testing.assert_allclose(np.reshape(lines.x, (2, 3))[:, :2], np.quantile(p, [0.05, 0.95], axis=0).T[:2])
    assert shown.figure.layout.xaxis.title.text == "Probability (%)"
    assert list(shown.figure.layout.yaxis.ticktext) == ["cat &amp; &lt;dog>", "50 &#37;"]
    assert "cat & <dog> 75 % on average, mostly 30 to 90 %" in shown.alt
    assert {look.dark for look in shown.legend.values()} == {style("dropact").dark}


def test_of_many_classes_ten_are_drawn_in_their_order() -> None:
    p = torch.linspace(1, 3, 40)
    many = Answers((p / p.sum()).double().repeat(3, 1))
    assert drawn(many) == list(range(30, 40))
    assert height(many) == height(Answers(torch.full((3, 10), 0.1).double()))


def test_the_table_has_every_pass() -> None:
    table = section.table(answers(), CLASSES)
    again = pd.read_csv(io.StringIO(table.to_csv(index=False)))
    pd.testing.assert_frame_equal(table, again)
    assert list(table["pass"]) == list(range(1, 9))
    assert list(table["says"])[:2] == ["cat & <dog>", "50 %"]
    np.testing.assert_array_equal(table.iloc[:, 3:].to_numpy(), answers().probabilities.numpy())


# The masks


@pytest.mark.parametrize("name", list(TECHNIQUES))
def test_panels_are_the_outliers_and_the_most_typical_pass(name: str, net: Checkpoint) -> None:
    reply = section.asked(question(net, name))
    result = monte_carlo(net.model(name), net.normalise(image()), passes=20, p=0.3, position=1)
    assert torch.equal(reply.answers.probabilities, result.probabilities)
    wanted = [*result.outliers(3), result.typical]
    assert len(reply.panels) == 4
    for panel, index in zip(reply.panels, wanted, strict=True):
        best = int(result.says[index])
        assert panel.title.endswith(
            f"ass {index + 1}: {net.classes[best]}, {100 * result.probabilities[index, best]:.0f} %"
        )
        assert torch.equal(panel.activation, result.activation[index])
        assert panel.units == (128,)
        if TECHNIQUES[name].drops == "units":
            assert torch.equal(panel.fallen, result.fallen[index])
            assert f"{int(panel.fallen.sum())} of 128 units fell" in panel.alt
        else:
            assert panel.fallen is None
            assert torch.equal(panel.factor, result.factor[index])
    assert reply.panels[3].title.startswith("Typical: pass")


def test_without_dropout_there_are_no_outliers(net: Checkpoint) -> None:
    assert [panel.title[:8] for panel in section.asked(question(net, p=0.0)).panels] == ["Typical:"]


def test_what_is_kept_does_not_hold_all_passes(net: Checkpoint) -> None:
    for technique in ("standard", "gaussian"):
        for panel in section.asked(question(net, technique)).panels:
            kept = [tensor for tensor in panel[3:] if tensor is not None]
            assert all(tensor.untyped_storage().nbytes() == 128 * tensor.element_size() for tensor in kept)


def test_equal_questions_are_answered_once(net: Checkpoint) -> None:
    first = section.asked(question(net))
    assert section.asked(question(net)) is first
    others = [
        question(net, "dropact"), question(net, p=0.4), question(net, passes=21), question(net, position=0),
        question(net, options=(("vanilla", True),)), question(load("digits-none")),
    ]  # fmt: skip
    assert all(section.asked(other) is not first for other in others)


def test_masks_of_millions_of_weights_are_drawn_less_often(net: Checkpoint) -> None:
    assert section.affordable(net.model("dropconnect"), 1000) == 1000
    assert section.affordable(net.model("standard"), 1000) == 1000
    large = build("mnist", factory("dropconnect"))
    passes = section.affordable(large, 1000)
    assert 20 <= passes < 50
    assert passes * (6272 * 1000 + 1000 * 1000) <= section.MOST_DRAWN < 1000 * 6272 * 1000


# On a page


def test_the_address_carries_technique_and_passes() -> None:
    test = opened(mc="DropCorr", passes="50")
    assert not test.exception
    assert test.selectbox(key="mc").value == "dropcorr"
    assert test.get("button_group")[0].value == "50"
    assert "passes it says" in test.markdown[0].value
    assert "50 passes" in test.markdown[0].value
    assert not test.warning


def test_fewer_passes_than_asked_for_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(section, "MOST_DRAWN", 30 * (512 * 128 + 128 * 128))
    test = AppTest.from_function(page, default_timeout=60)
    test.session_state["names"] = ["dropconnect"]
    test.run()
    assert not test.exception
    assert "so 30 were made, not 200" in test.caption[1].value
    assert "30 passes it says" in test.markdown[0].value


def test_a_wrong_address_is_named_and_changes_nothing() -> None:
    test = opened(mc="Foo", passes="7")
    assert not test.exception
    assert "“Foo” in the address is no choice" in test.warning[0].value
    assert "“7” in the address is no choice" in test.warning[0].value
    assert test.selectbox(key="mc").value == "standard"
    assert "200 passes" in test.markdown[0].value


def test_a_technique_that_the_page_no_longer_shows_gives_way_quietly() -> None:
    test = opened(mc="DropCorr")
    test.session_state["names"] = ["gaussian", "dropact"]
    test.run()
    assert not test.exception
    assert not test.warning
    assert test.selectbox(key="mc").value == "gaussian"


def test_without_a_technique_there_is_no_section() -> None:
    test = AppTest.from_function(page, default_timeout=60)
    test.session_state["names"] = ["none"]
    test.run()
    assert not test.exception
    assert not test.header


def test_every_technique_can_be_asked_on_the_page() -> None:
    test = AppTest.from_function(page, default_timeout=60)
    test.session_state["names"] = list(TECHNIQUES)
    test.run()
    for name in TECHNIQUES:
        test.selectbox(key="mc").set_value(name).run()
        assert not test.exception
        assert test.selectbox(key="mc").value == name
        assert TECHNIQUES[name].title in test.caption[0].value
