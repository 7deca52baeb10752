"""What the paper proposes for later, and what DropCorr costs, before and now."""

import pandas as pd
import streamlit as st

from app.compare_table import difference
from app.controls import plain_text
from app.html_table import html_table
from app.paper_data import proposals
from app.paper_tables import share
from app.paper_words import title
from core.reproduce import cost

PROPOSED = """Section 5 proposes two remedies. p that alternates with 0 from epoch to epoch, for DropAct, which
learns slowly; here all three were tried. And a covariance that DropCorr keeps for N epochs, N growing, because to
estimate it was what made it slow."""
BEFORE = """The paper estimates an N × N covariance at every step and samples from it; it reports three orders of
magnitude more training time than other techniques. With X the batch's centred activations and z a standard normal
vector, s = Xᵀz has the same covariance. That takes one product for all examples together: time grows with N, not N³."""
COMMAND = "python -m core bench layers"


def section() -> None:
    st.header("The paper's proposals", anchor=False)
    st.markdown(PROPOSED)
    told = proposals("mnist")
    if told is None or told.empty:
        st.markdown("Not run here yet:")
        st.code("python -m core reproduce mnist --groups proposal", language="sh", wrap_lines=True)
    else:
        st.html(html_table(shown(told), "The proposals against the plain techniques"))
    dropcorr()


def shown(told: pd.DataFrame) -> pd.DataFrame:
    """``core.reproduce.proposals.proposals`` as a person reads it."""
    return pd.DataFrame(
        {
            "Setting": [title(name) for name in told["setting"]],
            "Seeds": told["n"].astype(str),
            "Epoch": told["epoch"].astype(str),
            "Validation accuracy (%)": [share(row.accuracy, row.sd) for row in told.itertuples(index=False)],
            "Less the plain": [difference(row.difference, row.low, row.high) for row in told.itertuples(index=False)],
            "Time / plain": [f"{row.ratio:.2f}" for row in told.itertuples(index=False)],
        }
    )


def dropcorr() -> None:
    """The literal algorithm against ours, as the committed benchmarks have it."""
    st.header("What DropCorr costs, before and now", anchor=False)
    st.markdown(BEFORE)
    found = cost.literal()
    if not found:
        st.markdown("No measurement is kept here. This makes one:")
        st.code(f"{COMMAND} --json > tests/benchmarks/results/layers.jsonl", language="sh", wrap_lines=True)
        return
    for each in found:
        st.markdown(plain_text(
            f"The literal algorithm by {each.how} takes {each.ratio:.3g} times as long as ours "
            f"({each.low:.3g} to {each.high:.3g}, 95 %)."
        ))  # fmt: skip
    st.caption(plain_text(f"{found[0].where}. Made by {COMMAND}."))
