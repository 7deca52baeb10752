"""The paper's claims, each with how it stands."""

from collections.abc import Sequence

import streamlit as st

from app.controls import html_text
from app.html_table import html_table
from app.paper_tables import differences
from app.paper_words import sentence
from core.comparison import LEVEL, seeds_of
from core.reproduce.measured import MEASURES
from core.reproduce.verdicts import FAILS, HOLDS, OPEN, Verdict

SURE = f"{1 - LEVEL:.0%}".replace("%", " %")
RULE = f"""The rule was set before the results. A claim is a set of differences, each of which has to lie above a
bound. They are taken seed by seed, because runs of one seed share their first weights and the order of images. A
claim **holds** if every difference lies above its bound by its own {SURE} interval. It **does not hold** if one
lies below, by intervals that hold all at once with {SURE} (Bonferroni). Otherwise, and with fewer than three seeds,
it **cannot be told**. Claims are judged one by one: of twenty that are false, one may pass."""
MARKS = {HOLDS: "holds", FAILS: "fails", OPEN: "open"}


def summary(verdicts: Sequence[Verdict]) -> str:
    """How many claims stand how, in a sentence."""
    counts = {word: sum(verdict.word == word for verdict in verdicts) for word in (HOLDS, FAILS, OPEN)}
    hold = "holds" if counts[HOLDS] == 1 else "hold"
    fail = "does not hold" if counts[FAILS] == 1 else "do not hold"
    return f"Of {len(verdicts)} claims, {counts[HOLDS]} {hold}, {counts[FAILS]} {fail}, {counts[OPEN]} cannot be told."


def show(verdicts: Sequence[Verdict]) -> None:
    """All of them in one element: the page is drawn anew, and sent, as often as somebody turns to it."""
    st.html("".join(f'<div class="ds-claims">{head(verdict)}{judged(verdict)}</div>' for verdict in verdicts))


def judged(verdict: Verdict) -> str:
    """How it is judged, folded away: what is measured, and every difference."""
    claim = verdict.claim
    told = f"{claim.reading} Measured: {MEASURES[claim.measure]}{when(verdict)}."
    return (
        f"<details><summary>How it is judged · {seeds_of(verdict.n)}</summary><p>{html_text(told)}</p>"
        f"{html_table(differences(verdict), claim.text)}</details>"
    )


def head(verdict: Verdict) -> str:
    """Verdict, claim and the sentence on it."""
    claim = verdict.claim
    return (
        f'<div class="ds-claim"><span class="ds-verdict-{MARKS[verdict.word]}">{verdict.word}</span>'
        f"<div><strong>{html_text(claim.text)}</strong> <small>{html_text(claim.where)}</small>"
        f"<p>{html_text(sentence(verdict))}</p></div></div>"
    )


def when(verdict: Verdict) -> str:
    """Which epochs were looked at."""
    if not verdict.epoch or verdict.claim.measure == "test":
        return ""
    return f", epochs 1 to {verdict.epoch}" if verdict.claim.measure != "validation" else f", epoch {verdict.epoch}"
