"""The watching half of Train: which runs are shown, and what a person wishes of them."""

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from app import services
from app.components.live_curves import field, live_curves
from app.controls import Number, knob_control
from app.names import techniques
from app.theme import style
from core.config import Config
from core.dropout import TECHNIQUES
from core.runs import Run
from models import NETWORKS

TITLES = techniques()
P = Number("p", "Drop probability p", None, 0.0, 1.0, 0.05)
LEARNING_RATE = Number("lr", "Learning rate", Config.lr, 1e-6, 1.0, 1e-4)
# More curves than this at once cannot be told apart.
MOST_SHOWN = 24
# Runs whose starts lie closer together than this were started together (seconds).
TOGETHER = 10.0
# A refusal is told for so long: a person who comes back to the page later is not to meet it again.
REFUSED_SECONDS = 10.0

EMPTY = """
<div class="ds-empty ds-empty-train">
<h2>Nothing has been trained yet</h2>
<p>Press Start: a small network learns 1,797 real handwritten digits once with each technique you chose,
here on this machine, in seconds. Its curves appear in this place and move while it learns.</p>
</div>
"""


def watch() -> None:
    """The curves of the runs in the address, and of whatever trains now; else of those trained last.

    No fragment: a restarted server does not know the fragments of pages that were open before, only whole pages.
    """
    with services.guard():
        runs = shown_runs(st.query_params.get_all("run"), services.store().list())
        # Mounted before there is anything to draw: loading the charts' library would delay the first point.
        wish = live_curves(
            [described(run, runs) for run in runs],
            able=services.may_change(),
            started=st.session_state.get("started"),
            refused=recently_refused(),
        )
        if wish:
            carry_out(wish, [run.id for run in runs])
        if not runs:
            st.html(EMPTY)


def carry_out(wish: Mapping[str, Any], shown: Sequence[str]) -> None:
    """Do what a person wishes of runs that are shown; what cannot be done is said at these runs."""
    asked = wish.get("ids")
    ids = [key for key in shown if isinstance(asked, list) and key in asked]
    try:
        if wish.get("verb") == "adjust":
            services.adjust(ids, changes_of(wish.get("changes")))
        else:
            services.act(str(wish.get("verb")), ids)
    except services.REFUSALS as error:
        refused = {"turn": secrets.token_hex(4), "ids": ids, "sentence": str(error)}
        st.session_state["refused"] = (time.monotonic(), refused)
        st.rerun()


def recently_refused() -> dict[str, Any] | None:
    """Why the last wish of this visitor could not be met, unless that is past and gone."""
    at, refused = st.session_state.get("refused", (0.0, None))
    return refused if time.monotonic() - at < REFUSED_SECONDS else None


def changes_of(wished: Any) -> dict[str, Any]:
    """What a browser sent as changes, with what is no list of settings at all left out: the engine checks the rest."""
    if not isinstance(wished, dict):
        return {}
    changes = {str(name): tuple(value) if isinstance(value, list) else value for name, value in wished.items()}
    return changes | ({"knobs": {}} if not isinstance(changes.get("knobs", {}), dict) else {})


def shown_runs(asked: list[str], runs: list[Run]) -> list[Run]:
    """Which of ``runs`` (newest first) to draw, oldest first."""
    chosen = [run for run in runs if run.id in asked or run.status in services.ACTIVE]
    if not chosen and runs:
        chosen = runs[:1]
        for run in runs[1:]:
            if chosen[-1].created - run.created > TOGETHER:
                break
            chosen.append(run)
    return sorted(chosen[:MOST_SHOWN], key=lambda run: run.created)


def described(run: Run, among: list[Run]) -> dict[str, Any]:
    """A run as the component shows it, with what tells it from the others."""
    name = str(run.config.get("technique"))
    detail = [] if run.config.get("p") is None else [f"p {p_text(run.config['p'])}"]
    for key, word in (("dataset", ""), ("network", "")):
        if len({other.config.get(key) for other in among}) > 1:
            detail.append(f"{word}{run.config.get(key)}")
    detail.append(f"seed {run.config.get('seed')}")
    return {
        "id": run.id,
        "name": TITLES.get(name, name),
        "detail": " · ".join(detail),
        "technique": name,
        "style": style(name).to_dict(),
        "fields": [] if run.ended else fields(run),
    }


def fields(run: Run) -> list[dict[str, Any]]:
    """What may change of a run while it trains; without dropout that is the learning rate alone."""
    lr = field(LEARNING_RATE, "lr", run.config.get("lr", Config.lr))
    technique = TECHNIQUES.get(str(run.config.get("technique")))
    if technique is None:
        return [lr]
    chosen = run.config.get("knobs") or {}
    knobs = [
        field(knob_control(technique.name, knob), knob.name, chosen.get(knob.name, knob.default), knob=True)
        for knob in technique.knobs
        if not knob.structural
    ]
    return [field(P, "p", first_p(run)), lr, *knobs]


def first_p(run: Run) -> float | list[float] | None:
    """p as the run was begun: one number, or one a layer where they differ."""
    p = run.config.get("p")
    if p is None:
        # A run that waits has not been given its network yet: that of its data set fits.
        names = (run.environment.get("network"), run.config.get("network"), run.config.get("dataset"))
        p = next((NETWORKS[name].default_p for name in names if name in NETWORKS), None)
    if isinstance(p, list | tuple):
        return p[0] if len(set(p)) == 1 else list(p)
    return p


def p_text(p: Any) -> str:
    return ", ".join(f"{value:g}" for value in p) if isinstance(p, list | tuple) else f"{p:g}"
