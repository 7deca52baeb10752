"""What the paper leaves open, and what each choice does."""

import pandas as pd
import streamlit as st

from app import paper_figures, paper_tables
from app.components.plot import plot
from app.controls import plain_text
from app.html_table import html_table
from app.paper_data import TITLES, command, measured
from app.paper_words import title
from core.comparison import seeds_of
from core.reproduce import choices

LEAD = """The paper fixes k = ⌊pN⌋, and of DropAct and DropInv it says that only active units fall; after a ReLU many
rest at 0. Three questions remain, and each answer is another technique."""
QUESTIONS = {
    "Fewer than k units are active": """`count="layer"` takes the paper at its word: min(k, active) fall, and a
sparse layer can lose every active unit. Such an example is *dead*: nothing of it reaches the layers behind.
`count="active"` lets the share p of the active units fall.""",
    "Are the survivors scaled?": """Standard dropout divides them by 1 − p, so that the next layer gets as much on
average with dropout as without. The paper's formula y = f(Wx) ∘ m has no such factor. `rescale="none"` follows it;
`"uniform"` divides by the share of units that stayed; `"mass"` makes the sum of the activations what it was.""",
    "And at test time?": """The paper does not say; ours returns the input unchanged. Without scaling, then, the
layers behind get more in testing than in training, above all after DropAct, which takes the largest.""",
}


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
    found = measured(dataset)
    st.subheader(TITLES[dataset], anchor=False)
    made = None if found is None else choices.choices(found)
    if found is None or made is None or set(made["setting"]) <= set(made["technique"]):
        st.markdown("Not run here yet:")
        st.code(f"{command(dataset)} --groups 'drop count'", language="sh", wrap_lines=True)
        return
    st.markdown(plain_text(finding(dataset, made)))
    st.html(html_table(paper_tables.choices_made(made), "Drop counts and scaling"))
    epoch = int(made["epoch"].iloc[0])
    for technique, column in zip(made["technique"].unique(), st.columns(3, gap="large"), strict=False):
        with column:
            chart = paper_figures.dead_over_epochs(found, technique, epoch)
            plot(paper_figures.named(chart, found), key=f"paper-dead-{dataset}-{technique}", height=260)
    st.caption("Dead: no unit is active any more. Of the masks of one step an epoch, mean over seeds ± one standard "
               "deviation; in the table the worst layer and epoch.")  # fmt: skip


def finding(dataset: str, made: pd.DataFrame) -> str:
    """What the choices come to, in two sentences."""
    epoch, fewest = int(made["epoch"].iloc[0]), int(made["n"].min())
    literal = made[(made["count"] == "layer") & (made["rescale"] == "none")]
    told = ", ".join(f"{title(row.technique)} {100 * row.accuracy:.2f} %" for row in literal.itertuples(index=False))
    first = f"After epoch {epoch}, with {seeds_of(fewest)} at least, the literal reading validates at {told}."
    near = choices.closest(dataset, made)
    if near.empty:
        return first
    best = near.iloc[0]
    place = (
        list(zip(near["count"], near["rescale"], strict=True)).index(choices.LITERAL)
        if (choices.LITERAL in set(zip(near["count"], near["rescale"], strict=True)))
        else None
    )
    second = (
        f" Closest to the paper's test accuracies is count={best['count']}, rescale={best['rescale']}: "
        f"{100 * best['off']:.2f} points off on average"
    )
    if place:
        second += f"; the literal reading is {100 * near.iloc[place]['off']:.2f} points off"
    return f"{first}{second}."
