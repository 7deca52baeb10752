"""The watching half of Train: which runs are shown, and what a person wishes of them."""

from typing import Any

import streamlit as st

from app import services
from app.components.live_curves import live_curves
from app.names import techniques
from app.theme import style
from core.runs import Run

TITLES = techniques()
# More curves than this at once cannot be told apart.
MOST_SHOWN = 24
# Runs whose starts lie closer together than this were started together (seconds).
TOGETHER = 10.0

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
        wish = live_curves([described(run, runs) for run in runs], started=st.session_state.get("started"))
        if wish:
            services.act(str(wish.get("verb")), {run.id for run in runs} & set(map(str, wish.get("ids", ()))))
        if not runs:
            st.html(EMPTY)


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
    return {"id": run.id, "name": TITLES.get(name, name), "detail": " · ".join(detail), "style": style(name).to_dict()}


def p_text(p: Any) -> str:
    return ", ".join(f"{value:g}" for value in p) if isinstance(p, list | tuple) else f"{p:g}"
