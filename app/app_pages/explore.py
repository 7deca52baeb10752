"""Explore: which neurons each technique masks on one image, and what that does to the answer."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from app import looks, mask_view, monte_carlo, networks, pictures, services
from app.components.diagram import diagram
from app.components.masks import masks, pack
from app.controls import Choice, Choices, Number, Segments, address, html_text, misfits, plain_text, warn
from app.looks import Scene
from app.mask_view import DRAW, MOST_DRAWS, ORDER, UNIT, P
from app.names import techniques
from app.options import option_controls, technique_options
from core.checkpoints import Checkpoint
from core.dropout import TECHNIQUES, Dropout
from core.inspection import Field, Position

TITLES = {name: title for name, title in techniques().items() if name in TECHNIQUES}
DEFAULT = ("standard", "dropact", "dropinv", "dropcorr")
VIEW = "masks"
LEAD = """<p class="ds-lead">One trained network, one image, one random draw: every technique masks the same layer. Each
cell is a unit<span class="ds-wide">; move p and see which fall and what the network then answers</span>.</p>"""
NO_REFERENCE = (
    "DropCorr has no covariance to go by here: this network's training images are not on this machine, and one image "
    "alone has none. It drops units evenly."
)
ACTS = Segments(
    "acts", "Dropout acts", {"here": "in this layer", "onward": "here and behind"}, "here",
    "Only in the layer that is shown, or in that layer and all dropout layers behind it. Those before it are off.",
)  # fmt: skip


def page() -> None:
    st.title("Which neurons fall?", anchor=False)
    st.html(LEAD)
    warnings = st.container()
    given = address()  # before the widgets are made, which drop what does not fit
    with st.container(key="explore-choices"):
        net, layer, chosen = st.columns([3, 3, 6], gap="medium")
    with services.guard():
        network = networks.network_control()
        with net:
            name = network.draw()
        checkpoint = networks.network(name)
        places = looks.layers(name, networks.stamp(name))
        where = layer_control(places)
        with layer:
            place = places[int(where.draw())]
        with_ = Choices("with", "Techniques", TITLES, DEFAULT)
        with chosen:
            names = with_.draw()
        with warnings:
            unit = UNIT if VIEW in st.session_state else unit_control(name, place)
            warn(misfits(given, [network, where, with_, P, DRAW, unit, ORDER, ACTS, *option_controls(TITLES)]))
        look(checkpoint, place, names)


def layer_control(places: Sequence[Position]) -> Choice:
    options = {str(place.index): networks.layer_title(place) for place in places}
    help_ = "The layer whose units are shown, and where dropout acts, with the number or shape of its units."
    return Choice("layer", "Layer", options, "0", help_)


def unit_control(name: str, place: Position) -> Number:
    """The choice of a unit of this layer, for an address; later the view itself keeps to what there is."""
    return replace(UNIT, high=looks.most_units(name, networks.stamp(name), place.index))


def look(checkpoint: Checkpoint, place: Position, names: Sequence[str]) -> None:
    """The image, the masks beside it, and below them what else there is to know."""
    with st.container(key="explore-stage"):
        sight = st.container(key="explore-sight")
        field = st.container(key="explore-masks")
        with st.container(key="explore-source"):
            st.html('<span id="another-image"></span>')
            picture = pictures.choose(checkpoint, sight)
    rest = st.container(key="explore-rest")
    with rest:
        onward, options = settings(names)
    if picture is None or not names:
        with field:
            missing = "an image: bring or draw one" if picture is None else "a technique: choose one"
            st.info(f"The masks appear here as soon as there is {missing}.", icon=":material/grid_view:")
        return
    scene = Scene(checkpoint.name, networks.stamp(checkpoint.name), place.index, picture.key, onward, picture.x)
    with field, st.spinner("Drawing masks …", show_time=False):
        shown = [looks.field_of(scene, name, options.get(name, {})) for name in names]
        told = draw(scene, place, checkpoint, shown, options)
        if (draws := len(shown[0].answers)) < MOST_DRAWS:
            st.caption(f"A large layer: {draws} draws, p in steps of {shown[0].grid[1]:g}.")
        if "dropcorr" in names and not checkpoint.references:
            st.caption(NO_REFERENCE)
    with sight:
        st.html(answer(checkpoint, shown[0], picture))
    with rest:
        explanations(names)
        monte_carlo.section(checkpoint, picture, names, told["p"], place.index, options=options)
    mask_view.remember(told)


def draw(
    scene: Scene, place: Position, checkpoint: Checkpoint, shown: Sequence[Field], options: Mapping[str, dict[str, Any]]
) -> dict[str, Any]:
    """The masks; returns p, draw, unit and order as the person has them."""
    names = [field.technique for field in shown]
    counted = {name: looks.kept_of(scene, name, options.get(name, {})) for name in names}
    if VIEW not in st.session_state:  # the view is new: at first, or back from another page
        again = "explore-seen" in st.session_state and P.key not in st.query_params
        st.session_state["explore-start"] = st.session_state["explore-seen"] if again else mask_view.asked()
        st.session_state.pop("explore-seen", None)
    start = st.session_state["explore-start"]
    seen = st.session_state.get("explore-seen", start)
    payload = pack(
        shown, {name: kept for name, kept in counted.items() if kept is not None},
        layer=f"{checkpoint.name} {place.title}",
        classes=checkpoint.classes, frequency_draws=looks.draws_behind(scene), onward=scene.onward, start=start,
        unit=max(0, seen["unit"]),
    )  # fmt: skip
    st.session_state["explore-seen"] = seen = mask_view.checked(masks(payload, key=VIEW), seen)
    return seen


def answer(checkpoint: Checkpoint, field: Field, picture: pictures.Picture) -> str:
    """What the network says without dropout."""
    best = int(field.clean.argmax())
    share = float(field.clean[best])
    name = checkpoint.classes[best]
    right = "" if picture.label is None else ", which is right" if picture.label == name else ", which is wrong"
    return (
        f'<p class="ds-says">Without dropout the network says <strong>{html_text(name)}</strong>, '
        f'{html_text(percent(share))}{right}. <a class="ds-narrow-only" href="#another-image">Another image</a></p>'
    )


def percent(share: float) -> str:
    """As the bars beside it have it: a chance is never quite 1, though its last digits may round so."""
    return ">99 %" if share > 0.99 else f"{100 * share:.0f} %"


def explanations(names: Sequence[str]) -> None:
    """How each technique works: a diagram of the numbers above, its formula, its cost and its paper."""
    st.header("How each one decides", anchor=False)
    for name, column in zip(names, in_rows(len(names), 2, "large"), strict=True):
        cls = TECHNIQUES[name]
        with column.container(key=f"how-{name}"):
            drawn, told = st.columns([4, 5], gap="medium")
            with drawn:
                diagram(name, key=f"diagram-{name}")
            with told:
                st.markdown(f"**{TITLES[name]}**  \n{plain_text(cls.mechanism)}")
                if cls.formula:
                    st.latex(on_lines(cls.formula))
                st.caption(" ".join(filter(None, [plain_text(cls.cost), paper(cls)])))


def on_lines(formula: str) -> str:
    """A formula with its parts below each other, which fits a narrow column."""
    lines = formula.replace(r"\quad", r"\\")
    return rf"\begin{{array}}{{l}}{lines}\end{{array}}"


def paper(cls: type[Dropout]) -> str:
    """Where the technique comes from, as a link where there is one."""
    return f"[{plain_text(cls.paper)}]({cls.url})" if cls.url else plain_text(cls.paper)


def settings(names: Sequence[str]) -> tuple[bool, dict[str, dict[str, Any]]]:
    """Where dropout acts, and the options of the techniques; rarely changed, so behind a fold."""
    with st.expander("Options of the techniques"):
        onward = ACTS.draw() == "onward"
        options = {}
        for name, column in zip(names, in_rows(len(names), 4, "medium"), strict=True):
            with column:
                options[name] = technique_options(name)
    return onward, options


def in_rows(count: int, across: int, gap: Literal["medium", "large"]) -> list[DeltaGenerator]:
    """A place for each of ``count`` things, row by row, so that a phone stacks them in their order."""
    places: list[DeltaGenerator] = []
    while len(places) < count:
        places += st.columns(min(across, count), gap=gap)
    return places[:count]


page()
