"""The paper's three techniques, explained beside what they do to a layer of a trained network."""

import streamlit as st

from app import looks, networks, pictures
from app.components.diagram import diagram
from app.components.masks import MASKS_ALONE, masks, pack
from app.controls import plain_text
from app.looks import Scene
from core.dropout import TECHNIQUES
from core.reproduce.plan import LITERAL, PAPERS_OWN

NETWORK, POSITION, IMAGE = "digits-dropcorr", 0, 1
START = {"p": 0.2, "draw": 0, "unit": -1}
LEAD = """Standard dropout lets every unit fall on its own, with probability p. The paper fixes *how many* fall, k =
⌊pN⌋ of a layer's N units, and asks *which*. Each of its three techniques gives the same rule another score: **the k
units with the smallest score fall**. Move p, or turn to another draw: below is one layer of a trained network, one
image, and the same random numbers for all three."""
STORIES = {
    "dropact": """Takes away what the network relies on: the larger an activation, the likelier it falls. A unit
that rests at 0 cannot fall, so no drop is wasted. The paper draws k times without replacement, with chances ∝ x.
The same as a race: every unit draws a time from an exponential distribution with rate x, and the k fastest fall.""",
    "dropinv": """Takes away what hardly speaks: chances ∝ 1/x over the active units. The large activations stay,
which makes the layer sparser; the paper calls it attention to the most important neurons. It is the same race with
rate 1/x.""",
    "dropcorr": """Takes away what speaks together. A random vector s is drawn with the covariance S of the units
over the batch, and the k units with the largest s fall, their score being −s: correlated units are large together,
so they fall together. The paper builds S, N × N numbers, at every step. A random mix of the batch's own centred
activations has exactly that covariance, and no matrix is built.""",
}


def section() -> None:
    st.header("Three ways to choose who falls", anchor=False)
    st.markdown(LEAD)
    checkpoint = networks.network(NETWORK)
    gallery = pictures.gallery_of(checkpoint)
    x = gallery.x[IMAGE : IMAGE + 1]
    scene = Scene(checkpoint.name, networks.stamp(checkpoint.name), POSITION, pictures.digest(x), False, x)
    place = looks.layers(scene.net, scene.stamp)[POSITION]
    shown = [looks.field_of(scene, name, LITERAL) for name in PAPERS_OWN]
    payload = pack(
        shown, {}, layer=f"paper {checkpoint.name} {place.title}", classes=checkpoint.classes,
        frequency_draws=looks.draws_behind(scene), start=START, parts=MASKS_ALONE,
    )  # fmt: skip
    with st.container(key="paper-masks"):
        masks(payload, key="paper-masks-view")
    st.caption(
        f"{plain_text(checkpoint.title)}, layer {plain_text(networks.layer_title(place))}; {gallery.title.lower()} "
        f"{IMAGE}: {plain_text(gallery.labels[IMAGE])}. Bars: the likeliest classes with the masks; mark: without."
    )
    for name, column in zip(PAPERS_OWN, st.columns(3, gap="large"), strict=True):
        with column:
            story(name)


def story(name: str) -> None:
    """One technique: what it looks for, the numbers of the masks above, and its formula."""
    cls = TECHNIQUES[name]
    st.subheader(cls.title or name, anchor=False)
    st.markdown(STORIES[name])
    diagram(name, key=f"paper-{name}")
    st.latex(cls.formula.replace(r"\quad", r"\\").join([r"\begin{array}{l}", r"\end{array}"]))
