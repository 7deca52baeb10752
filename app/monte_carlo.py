"""A section of Explore: the answers of many passes under dropout, and the masks behind the strangest of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from torch import Tensor, nn

from app.components.plot import plot
from app.components.stills import Still, stills
from app.controls import Choice, Segments, address, misfits, plain_text, warn
from app.monte_carlo_charts import chart, height
from app.names import techniques as technique_titles
from app.pictures import Picture
from core.checkpoints import Checkpoint
from core.dropout import TECHNIQUES, DropConnect, dropouts
from core.inspection import Answers, MonteCarlo, monte_carlo
from core.inspection.monte_carlo import BY_ACTIVATION, IMPROPER, POSTERIOR

PASSES = {"50": "50", "200": "200", "1000": "1000"}
# Numbers drawn for masks of weights: what takes a few seconds.
MOST_DRAWN, FEWEST_PASSES = 300_000_000, 20
OUTLIERS = 3
IMPROPER_URL = "https://arxiv.org/abs/1807.01969"
# Below this a pass differs from the mean by rounding alone.
ROUNDING = 1e-6
CELLS = {
    "units": "Each cell is a unit of the layer, the stronger coloured the more active; crossed ones fell.",
    "weights": "Each cell is a unit of the layer; its colour is the factor by which the weights that fell changed it.",
    "": "Each cell is a unit of the layer; its colour is the factor by which the noise multiplied it.",
}

LEAD = """Leave dropout on and ask again and again: every pass draws new masks at all dropout layers. If the answers
agree, the network can do without any few of its units; if they scatter, its answer hangs on some. The masks of
the outliers show which."""

Options = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Question:
    """What the passes depend on; ``key`` stands for the image, and one read of a network equals no other."""

    checkpoint: Checkpoint
    key: str
    technique: str
    options: tuple[tuple[str, Any], ...]
    p: float
    passes: int
    position: int
    x: Tensor = field(compare=False, repr=False)


@dataclass(frozen=True)
class Reply:
    """The answers of all passes, and the panels of the few that are shown."""

    answers: Answers
    panels: Sequence[Still]


def section(
    checkpoint: Checkpoint,
    picture: Picture,
    techniques: Sequence[str],
    p: float,
    position: int,
    *,
    key: str = "mc",
    options: Options | None = None,
) -> None:
    """Ask for a technique, one of ``techniques``, and a number of passes; draw what these answer.

    ``key`` and "passes" carry the choices in the address. ``options`` are those of the techniques, by name.
    """
    names = [name for name in techniques if name in TECHNIQUES]
    if not names:
        return
    st.header("How sure is it?", anchor=False)
    st.html(f'<p class="ds-lead">{LEAD}</p>')
    _ask(checkpoint, picture, tuple(names), p, position, key, options or {})


@st.fragment
def _ask(
    checkpoint: Checkpoint,
    picture: Picture,
    names: Sequence[str],
    p: float,
    position: int,
    key: str,
    options: Options,
) -> None:
    technique, passes = _choose(names, key)
    own = tuple(sorted(options.get(technique, {}).items()))
    question = Question(checkpoint, picture.key, technique, own, p, passes, position, picture.x)
    with st.spinner("Asking again and again …", show_time=False):
        reply = asked(question)
    left, right = st.columns([5, 4], gap="large")
    with left:
        plot(chart(reply.answers, checkpoint.classes, technique), key=f"{key}-answers", height=height(reply.answers))
        st.markdown(sentence(reply.answers, checkpoint.classes, technique))
        st.caption(meaning(technique, p, checkpoint))
        if (made := len(reply.answers.probabilities)) < passes:
            st.caption(f"Every pass draws a mask of millions of weights here, so {made} were made, not {passes}.")
        st.download_button(
            "Passes as CSV",
            lambda: table(reply.answers, checkpoint.classes).to_csv(index=False),
            "dropscope-passes.csv",
            "text/csv",
            on_click="ignore",
            key=f"{key}-csv",
        )
    with right:
        _masks(reply.panels, technique, key)


def _choose(names: Sequence[str], key: str) -> tuple[str, int]:
    titles = {name: title for name, title in technique_titles().items() if name in TECHNIQUES}
    passes = Segments("passes", "Passes", PASSES, "200", "More passes show rarer answers, and take longer.")
    # A technique that the page has just stopped showing is no mistake of the address.
    warn(misfits(address(), [Choice(key, "Technique that acts", titles, names[0]), passes]))
    technique = Choice(key, "Technique that acts", {name: titles[name] for name in names}, names[0])
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        with st.container(width=240):
            name = technique.draw()
        return name, int(passes.draw())


def _masks(panels: Sequence[Still], technique: str, key: str) -> None:
    far = len(panels) > 1
    st.markdown("**Furthest from the mean, and most typical**" if far else "**A typical pass**")
    stills(panels, key=f"{key}-masks")
    st.caption(CELLS[TECHNIQUES[technique].drops])


@lru_cache(maxsize=16)
def asked(question: Question) -> Reply:
    """The passes of a question; what is kept is small, whatever the layer's size."""
    checkpoint = question.checkpoint
    model = checkpoint.model(question.technique, **dict(question.options))
    result = monte_carlo(
        model,
        checkpoint.normalise(question.x),
        passes=affordable(model, question.passes),
        # As it was trained, it acts with the noise that it learned.
        p=None if as_trained(checkpoint, question.technique, question.p) else question.p,
        position=question.position,
    )
    return Reply(Answers(result.probabilities), panels(result, checkpoint.classes))


def affordable(model: nn.Module, passes: int) -> int:
    """``passes``, or fewer where each draws a mask of millions of weights: a page is not to stand still for minutes."""
    weights = sum(layer.layer.weight.numel() for layer in dropouts(model) if isinstance(layer, DropConnect))
    return min(passes, max(FEWEST_PASSES, MOST_DRAWN // max(1, weights)))


def panels(result: MonteCarlo, classes: Sequence[str]) -> list[Still]:
    """The passes furthest from the mean answer, as far as they differ from it, and the most typical one."""
    far = [index for index in result.outliers(OUTLIERS) if result.distance[index] > ROUNDING]
    titles = {index: f"Pass {index + 1}" for index in far}
    titles.setdefault(result.typical, f"Typical: pass {result.typical + 1}")
    return [_panel(result, index, title, classes) for index, title in titles.items()]


def _panel(result: MonteCarlo, index: int, title: str, classes: Sequence[str]) -> Still:
    p = result.probabilities[index]
    title = f"{title}: {classes[int(p.argmax())]}, {100 * float(p.max()):.0f} %"
    activation = result.activation[index].clone()  # not a view, which would keep all passes
    if result.fallen is None:
        factor = result.factor[index].clone()
        alt = f"{title}. Units are multiplied by {float(factor.min()):.2f} to {float(factor.max()):.2f}."
        return Still(title, alt, result.units, activation, factor=factor)
    fallen = result.fallen[index].clone()
    active = int((fallen & (activation != 0)).sum())
    alt = f"{title}. {int(fallen.sum()):,} of {len(fallen):,} units fell, {active:,} of them active."
    return Still(title, alt, result.units, activation, fallen=fallen)


def sentence(answers: Answers, classes: Sequence[str], technique: str) -> str:
    """Votes and doubt in plain words, as Markdown."""
    passes = len(answers.probabilities)
    order = answers.votes.argsort(descending=True, stable=True).tolist()
    said = [(plain_text(classes[k]), int(answers.votes[k])) for k in order if answers.votes[k]]
    if len(said) == 1:
        votes = f"In all {passes} passes it says **{said[0][0]}**."
    else:
        named = [f"**{name}** in {count}" for name, count in said[:3]]
        if rest := sum(count for _, count in said[3:]):
            named.append(f"something else in {rest}")
        votes = f"In {passes} passes it says {', '.join(named[:-1])} and {named[-1]}."
    cause = "masks" if TECHNIQUES[technique].drops else "noise"
    return (
        f"{votes} Its doubt, the entropy of the mean answer, is **{answers.predictive_entropy:.2f} bit**, of which "
        f"**{answers.mutual_information:.2f} bit** come from the {cause}. With 0 it would be certain, with "
        f"{math.log2(len(classes)):.2f} it would know nothing."
    )


def meaning(technique: str, p: float, checkpoint: Checkpoint) -> str:
    """What the spread of the passes stands for, and what it does not."""
    title = plain_text(TECHNIQUES[technique].title)
    if technique in BY_ACTIVATION:
        return (
            f"{title}'s masks depend on the activations, so this is no probability of being wrong: it shows how much "
            "the answer depends on the units that fall."
        )
    if technique in POSTERIOR and as_trained(checkpoint, technique, p):
        source, url = POSTERIOR[technique]
        improper = "" if technique not in IMPROPER else f", with [an improper prior]({IMPROPER_URL})"
        return (
            f"The network was trained with {title}: its passes approximate draws from a distribution over networks "
            f"that fit the training images ([{source}]({url})){improper}."
        )
    if technique != checkpoint.technique:
        why = f"The network was not trained with {title}"
    elif not as_trained(checkpoint, technique, p):
        why = f"The network was trained with {title} at another p"
    else:
        why = f"No posterior is known behind {title}"
    return f"{why}, so this is no probability of being wrong: it shows how much the answer depends on the noise."


def as_trained(checkpoint: Checkpoint, technique: str, p: float) -> bool:
    """Whether a network was trained with this technique at this p."""
    return technique == checkpoint.technique and all(abs(own - p) < 1e-9 for own in checkpoint.p)


def table(answers: Answers, classes: Sequence[str]) -> pd.DataFrame:
    """One row a pass: what it says, the total variation between it and the mean, and all probabilities."""
    p = answers.probabilities.numpy()
    columns: dict[str, Any] = {
        "pass": np.arange(1, len(p) + 1),
        "says": [classes[k] for k in answers.says.tolist()],
        "total variation from the mean": answers.distance.numpy(),
    }
    return pd.DataFrame(columns | {f"probability of {name}": p[:, k] for k, name in enumerate(classes)})
