"""What the paper leaves open, and what each choice does."""

import pandas as pd
import streamlit as st

from app import paper_tables
from app.components.plot import plot
from app.controls import plain_text
from app.html_table import html_table
from app.paper_data import TITLES, choices_made, command, deaths
from app.paper_words import title
from core.comparison import seeds_of
from core.reproduce import choices
from core.reproduce.plan import LITERAL

LEAD = """The paper fixes k = ⌊pN⌋, and of DropAct and DropInv it says that only active units fall; after a ReLU many
rest at 0. Three questions remain, and each answer is another technique."""
QUESTIONS = {
    "Fewer than k units are active": """`count="layer"` takes the paper at its word: min(k, active) fall, and a
sparse layer can lose every active unit. Such an example is *dead*: nothing of it reaches the layers behind.
`count="active"` lets the share p of the active units fall. It is the default of DropAct and DropInv here; the
numbers below say why.""",
    "Are the survivors scaled?": """Standard dropout divides them by 1 − p, so that the next layer gets as much on
average with dropout as without. The paper's formula y = f(Wx) ∘ m has no such factor. `rescale="none"` follows it;
`"uniform"` divides by the share of units that stayed; `"mass"` makes the sum of the activations what it was.""",
    "And at test time?": """The paper does not say; ours returns the input unchanged. Without scaling, then, the
layers behind get more in testing than in training, above all after DropAct, which takes the largest.""",
}

DEAD = """Dead: no unit is active any more. Of the masks of one step an epoch, mean over seeds ± one standard deviation;
in the table the worst layer and epoch. Layers that are not drawn left no example dead."""
NONE_DEAD = """No example was dead: no mask that was looked at, those of one step an epoch, took all active units of a
layer."""


def section() -> None:
    st.header("What the paper leaves open", anchor=False)
    st.markdown(LEAD)
    for (question, answer), column in zip(QUESTIONS.items(), st.columns(3, gap="large"), strict=True):
        with column:
            st.markdown(f"**{question}**  \n{answer}")
    for dataset in TITLES:
        choice(dataset)


def choice(dataset: str) -> None:
    """What each choice did on a data set."""
    made = choices_made(dataset)
    st.subheader(TITLES[dataset], anchor=False)
    if made is None or set(made["setting"]) <= set(made["technique"]):
        st.markdown("Not run here yet:")
        st.code(f"{command(dataset)} --groups 'drop count'", language="sh", wrap_lines=True)
        return
    st.markdown(plain_text(finding(dataset, made)))
    st.html(html_table(paper_tables.choices_made(made), "Drop counts and scaling"))
    dead_examples(dataset, made)


def dead_examples(dataset: str, made: pd.DataFrame) -> None:
    """Dead examples by layer over the epochs, where there are any."""
    drawn = deaths(dataset)
    if not drawn:
        if made["dead"].max() == 0:  # else it was not told
            st.markdown(NONE_DEAD)
        return
    for (technique, chart), column in zip(drawn.items(), st.columns(3, gap="large"), strict=False):
        with column:
            plot(chart, key=f"paper-dead-{dataset}-{technique}", height=260)
    st.caption(DEAD)


def finding(dataset: str, made: pd.DataFrame) -> str:
    """What the choices come to, in a few sentences."""
    epoch, fewest = int(made["epoch"].iloc[0]), int(made["n"].min())
    literal = made[(made["count"] == LITERAL["count"]) & (made["rescale"] == LITERAL["rescale"])]
    told = ", ".join(f"{title(row.technique)} {100 * row.accuracy:.2f} %" for row in literal.itertuples(index=False))
    first = f"After epoch {epoch}, with {seeds_of(fewest)} at least, the literal reading validates at {told}."
    near = choices.closest(dataset, made)
    if near.empty:
        return first
    best = near.iloc[0]
    second = (
        f" Closest to the paper's test accuracies is count={best['count']}, rescale={best['rescale']}: "
        f"{100 * best['off']:.2f} points off on average"
    )
    ours = near[(near["count"] == LITERAL["count"]) & (near["rescale"] == LITERAL["rescale"])]
    if not ours.empty and ours.index[0] != near.index[0]:
        second += f"; the literal reading is {100 * ours['off'].iloc[0]:.2f} points off"
    spread = made["sd"].mean()
    if spread == spread:
        second += f". From seed to seed an accuracy moves by {100 * spread:.2f} points (standard deviation)"
    return f"{first}{second}."
