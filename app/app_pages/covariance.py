"""Covariance: which units vary together, and which fall together."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
import streamlit as st

from app import covariance_charts as charts
from app import pair_tables as tables
from app import pairs, services
from app.components.plot import plot
from app.controls import (
    Choice,
    Choices,
    Control,
    Segments,
    Slider,
    Steps,
    address,
    html_text,
    misfits,
    plain_text,
    warn,
)
from app.names import techniques
from app.networks import layer_title, network, network_control, stamp
from app.pair_panels import UNITS, Panel, figures, panels
from app.pairs import AROUND, FALLING, Shown, Source, UnavailableError
from app.theme import style
from core.checkpoints import Checkpoint
from core.dropout import TECHNIQUES
from core.inspection.covariance import Matrix
from core.inspection.together import Agreement

TITLES = {name: title for name, title in techniques().items() if name in TECHNIQUES}
NEVER = "0"
PARTS = ("warnings", "main", "techniques", "ways", "picture", "refresh", "rest")
# Snapshots between two estimates of the covariance.
REFRESHES = (1, 2, 4, 8)
AGREEMENT = (
    "Agreement: how a pair's value goes along with how often the pair falls together, as a correlation over all pairs "
    "of units that change, with its 95 % interval. Pairs that share a unit are not independent, so the interval comes "
    "from leaving out one unit at a time with all its pairs: it says how far another choice of such units might move "
    "the number."
)
CHANGE = (
    "Variance: of all units together, against that without dropout. Mean |r|: of the correlations of all pairs. "
    "Directions: in how many the units vary, (Σλ)² / Σλ² over the eigenvalues λ of the covariance."
)
A_ROW = 3

LEAD = """<p class="ds-lead">Each cell is a pair of units. Units that are active on the same images have a covariance
above 0. DropCorr drops such units together; Standard drops each on its own. Compare the patterns.</p>"""


def page() -> None:
    st.title("Covariance", anchor=False)
    st.html(LEAD)
    # On a phone the techniques come after the picture: the style sheet knows these containers by their keys.
    parts = {part: st.container(key=f"covariance-{part}") for part in PARTS}
    with services.guard():
        shown, net = choose(parts)
        try:
            draw(parts, shown, net)
        except UnavailableError as reason:
            say(reason)


def choose(parts: dict[str, Any]) -> tuple[Shown, Checkpoint]:
    """The controls, and before them what does not fit them in the address."""
    first = network_control()
    given = address()
    with parts["main"]:
        what, how = st.columns(2, gap="medium")
        columns = [*what.columns(2), *how.columns(2, wrap=False)]  # names need a phone's width
    with columns[0]:
        name = first.draw()
    state = stamp(name)
    net = network(name, state)
    controls = controls_for(net, state)
    with parts["warnings"]:
        warn(misfits(given, [first, *controls.values()]))
    chosen = {}
    for column, key in zip(columns[1:], ("layer", "p"), strict=False):
        with column:
            chosen[key] = controls[key].draw()
    with parts["techniques"]:
        chosen["with"] = controls["with"].draw()
    with parts["ways"], st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        for key in ("view", "measure", "order"):
            chosen[key] = controls[key].draw()
        with st.popover("More", icon=":material/tune:"):
            for key in ("batch", "count", "scale"):
                chosen[key] = controls[key].draw()
    source = Source(name, state, int(chosen["layer"]), chosen["batch"])
    if "epoch" in controls and source.batch == "reference":
        with columns[3]:
            epoch = int(controls["epoch"].draw())
        with parts["refresh"]:
            every = controls["refresh"].draw()
        source = replace(source, epoch=epoch, refresh=len(net.snapshots) if every == NEVER else int(every))
    return Shown(
        source, tuple(sorted(chosen["with"], key=lambda technique: technique != "dropcorr")), chosen["p"],
        chosen["view"], chosen["measure"], chosen["order"], chosen["count"] == "excess", chosen["scale"] == "one",
    ), net  # fmt: skip


def controls_for(net: Checkpoint, state: int) -> dict[str, Any]:
    """Key → control, for a network with its layers and snapshots."""
    layers = {str(place.index): layer_title(place) for place in pairs.places(net.name, state)}
    controls: list[Control] = [
        Choice("layer", "Layer", layers, "0"),
        Slider("p", "Drop probability p", 0.2, 0.0, 1.0, 0.05, "%.2f",
               help="The share of units that fall on average. The random numbers stay the same when p changes."),
        Choices("with", "Techniques", TITLES, ("standard", "dropcorr")),
        Segments("view", "Show", {FALLING: "Falling together", AROUND: "Before and after"}, FALLING,
                 help="Which pairs fall in the same mask; or what dropout makes of the activations' covariance."),
        Segments("measure", "Of the activations", {"covariance": "Covariance", "correlation": "Correlation"},
                 "covariance", help="Correlation is covariance after scaling every unit to variance 1."),
        Segments("order", "Order of units", {"index": "Index", "variance": "Variance", "cluster": "Clustering"},
                 "cluster", help="Clustering makes neighbours of units that correlate. The order is that of the final "
                                 "weights: units stay in place when the epoch changes."),
        Choice("batch", "Images", {"reference": "Training images", "test": "Test images"}, "reference",
               help="200 images, always the same ones. For the training images the network brings its activations; "
                    "test images need the data set on this machine."),
        Segments("count", "Falling together", {"all": "How often", "excess": "More than by chance"}, "all",
                 help="By chance, a pair falls together as often as one falls times as often as the other falls."),
        Segments("scale", "Colours", {"one": "One scale", "each": "A scale each"}, "one",
                 help="Matrices in the same unit share their colours, or not. Colours end where the largest half per "
                      "cent of the pairs begin."),
    ]  # fmt: skip
    if len(net.snapshots) > 1:
        controls += over_time(net.snapshots.epochs)
    return {control.key: control for control in controls}


def over_time(epochs: Sequence[float]) -> list[Control]:
    """The controls of a network that kept snapshots at these epochs."""
    names = {str(index): f"{epoch:g}" for index, epoch in enumerate(epochs)}
    step = epochs[1] - epochs[0]
    refreshes = {str(count): f"{count * step:g}" for count in REFRESHES if count < len(epochs)} | {NEVER: "never"}
    return [
        Steps("epoch", "Epoch of training", names, str(len(epochs) - 1),
              help="The same images at every epoch: the covariance moves as the weights do."),
        Segments("refresh", "Epochs between two estimates of DropCorr's covariance", refreshes,
                 "4" if "4" in refreshes else "1",
                 help="The paper proposes to estimate it less often as training goes on. DropCorr's masks on this page "
                      "are drawn with the last estimate up to the epoch shown."),
    ]  # fmt: skip


def draw(parts: dict[str, Any], shown: Shown, net: Checkpoint) -> None:
    """The matrices, what they say in words, and what stands behind them."""
    with parts["picture"]:
        if not shown.techniques:
            raise UnavailableError("Choose a technique to see which units it drops together.")
        able, reasons = possible(shown)
        lead(tables.agreement_in_words(shown, able) if shown.view == FALLING else tables.change_in_words(shown, able))
        matrices(shown, panels(shown, able))
        for reason in reasons:
            say(reason)
        st.caption(plain_text(tables.remarks(shown)))
    with parts["rest"]:
        curves(shown, net, able)
        numbers(shown, net, able)


def possible(shown: Shown) -> tuple[list[str], list[UnavailableError]]:
    """The chosen techniques that the view can show, and why it cannot show the others."""
    compute = pairs.falling if shown.view == FALLING else pairs.after
    able, reasons = [], []
    for name in shown.techniques:
        try:
            compute(shown.source, name, shown.p)
            able.append(name)
        except UnavailableError as reason:
            reasons.append(reason)
    return able, reasons


def matrices(shown: Shown, panels: Sequence[Panel]) -> None:
    """Panels side by side."""
    across = 2 if len(panels) in (2, 4) else A_ROW
    drawn = list(zip(panels, figures(shown, panels), strict=True))
    for start in range(0, len(drawn), across):
        for column, (panel, chart) in zip(st.columns(across, gap="medium"), drawn[start:], strict=False):
            with column:
                plot(chart, key=panel.key)


def curves(shown: Shown, net: Checkpoint, able: Sequence[str]) -> None:
    """What pairs are to each other against how often they fall together; the spectrum; the drift over epochs."""
    drawn = [(spectrum(shown, able), "spectrum")]
    if shown.view == FALLING and able:
        trends = {name: pairs.trend_of(shown.source, name, shown.p, shown.measure) for name in able}
        drawn.insert(0, (charts.falling_over(trends, TITLES, shown.measure, UNITS[shown.measure]), "trend"))
    if shown.source.epoch is not None:
        drawn.append(
            (
                charts.drift_curve(net.snapshots.epochs, drifted(shown), shown.source.epoch, shown.source.refresh),
                "drift",
            )
        )
    for column, (chart, key) in zip(st.columns(max(2, len(drawn)), gap="medium"), drawn, strict=False):
        with column:
            plot(chart, key=key, height=320)
            if key == "drift":
                st.caption(tables.drift_in_words(net.snapshots.epochs, drifted(shown), shown.source.refresh))


def spectrum(shown: Shown, able: Sequence[str]) -> charts.Chart:
    lines = {"Without dropout": (pairs.eigenvalues(shown.source, None, 0.0), style("none"))}
    if shown.view == AROUND:
        lines |= {TITLES[name]: (pairs.eigenvalues(shown.source, name, shown.p), style(name)) for name in able}
    return charts.spectra(lines)


def drifted(shown: Shown) -> Matrix:
    return pairs.drifting(shown.source.net, shown.source.stamp, shown.source.position, shown.source.refresh)


def numbers(shown: Shown, net: Checkpoint, able: Sequence[str]) -> None:
    """The numbers of each technique, and files of all that is drawn."""
    st.header("In numbers", anchor=False)
    frame = tables.agreement_table(shown, able) if shown.view == FALLING else tables.change_table(shown, able)
    words = frame.map(lambda value: tables.interval(value) if isinstance(value, Agreement) else value)
    st.table(words, border="horizontal", hide_index=True, alt="The numbers of each technique")
    st.caption(AGREEMENT if shown.view == FALLING else f"{CHANGE} {AGREEMENT}")
    with st.container(horizontal=True):
        download("Numbers as CSV", "dropscope-agreement.csv", lambda: tables.spread_out(frame))
        download("Pairs as CSV", "dropscope-pairs.csv", lambda: tables.pair_table(shown, able))
        download("Spectrum as CSV", "dropscope-spectrum.csv", lambda: tables.spectrum_table(shown, able))
        if shown.source.epoch is not None:
            drift = drifted(shown)
            download("Drift as CSV", "dropscope-drift.csv",
                     lambda: pd.DataFrame({"epoch": net.snapshots.epochs, "drift": drift}))  # fmt: skip


def lead(words: str) -> None:
    st.html(f'<p class="ds-lead">{html_text(words)}</p>')


def say(reason: UnavailableError) -> None:
    st.info(plain_text(reason), icon=":material/info:")


def download(label: str, name: str, frame: Callable[[], pd.DataFrame]) -> None:
    # Made when it is asked for: a thousand units have half a million pairs.
    st.download_button(label, lambda: frame().to_csv(index=False), name, "text/csv", on_click="ignore", key=name)


page()
