"""The watching half of Train: which runs are shown, and what a person wishes of them."""

import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import streamlit as st

from app import services
from app.components.live_curves import field, live_curves
from app.controls import Choice, Number, address, knob_control, misfits, warn
from app.lessons.training import of_a_lesson
from app.names import techniques
from app.theme import style_of_variant
from core import variants
from core.config import Config
from core.dropout import TECHNIQUES
from core.runs import Run
from models import NETWORKS

TITLES = techniques()
PART = "part"
P = Number("p", "Drop probability p", None, 0.0, 1.0, 0.05)
LEARNING_RATE = Number("lr", "Learning rate", Config.lr, 1e-6, 1.0, 1e-4)
# More curves than this at once cannot be told apart: of more runs, one part at a time is shown.
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
        found = watched_runs(st.query_params.get_all("run"), services.store().list())
        looks = described(found)
        runs = one_part(found)
        # Mounted before there is anything to draw: loading the charts' library would delay the first point.
        wish = live_curves(
            [looks[run.id] for run in runs],
            able=services.may_change(),
            started=st.session_state.get("started"),
            refused=recently_refused(),
        )
        if wish:
            carry_out(wish, [run.id for run in (found if wish.get("all") is True else runs)])
        if not runs:
            st.html(EMPTY)


def carry_out(wish: Mapping[str, Any], shown: Sequence[str]) -> None:
    """Do what a person wishes of runs that are shown, or of all; what cannot be done is said at these runs."""
    asked = list(shown) if wish.get("all") is True else wish.get("ids")
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


def watched_runs(asked: list[str], runs: list[Run]) -> list[Run]:
    """Those of ``runs`` (newest first) that a person wants to watch, oldest first."""
    chosen = [run for run in runs if run.id in asked or run.status in services.ACTIVE]
    if not chosen and runs:
        # A lesson's runs are shown while they train; then the person's own come first.
        last = [run for run in runs if not of_a_lesson(run)] or runs
        chosen = last[:1]
        for run in last[1:]:
            if chosen[-1].created - run.created > TOGETHER:
                break
            chosen.append(run)
    return sorted(chosen, key=lambda run: run.created)


def one_part(runs: list[Run]) -> list[Run]:
    """As many of ``runs`` as can be told apart: the part that a person chose, at first the one where something runs."""
    if len(runs) <= MOST_SHOWN:
        return runs
    firsts = range(0, len(runs), MOST_SHOWN)
    parts = {str(i): f"{i + 1} to {min(i + MOST_SHOWN, len(runs))}" for i in firsts}
    ranks = {"running": 0, "paused": 1, "queued": 2}
    liveliest = min(range(len(runs)), key=lambda i: ranks.get(runs[i].status, 3))
    control = Choice(PART, f"Runs shown, of {len(runs):,}", parts, str(liveliest // MOST_SHOWN * MOST_SHOWN))
    warn(misfits(address(), [control]))
    with st.container(width=220):
        first = int(control.draw())
    return runs[first : first + MOST_SHOWN]


def described(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Run → what the component shows of it: what tells it from the others, and a look that only its seeds share."""
    apart = variants.distinctions(runs)
    mixed = [key for key in ("dataset", "network") if len({str(run.config.get(key)) for run in runs}) > 1]
    widths = {run.id: float(run.config.get("width", Config.width)) for run in runs}
    mixed_widths = len(set(widths.values())) > 1
    settings: dict[str, list[tuple[str, ...]]] = {}
    shown = {}
    for run in runs:
        name = str(run.config.get("technique"))
        setting = (
            *([] if run.config.get("p") is None else [f"p {p_text(run.config['p'])}"]),
            *(PurePath(str(run.config.get(key))).name for key in mixed),
            *([f"width {widths[run.id]:g}"] if mixed_widths else []),
            *(f"{key} {value}" for key, value in apart[run.id].items() if key not in ("p", "network")),
        )
        known = settings.setdefault(name, [])
        if setting not in known:
            known.append(setting)
        shown[run.id] = {
            "id": run.id,
            "name": TITLES.get(name, name),
            "detail": " · ".join((*setting, f"seed {run.config.get('seed')}")),
            "technique": name,
            "style": style_of_variant(name, known.index(setting)).to_dict(),
            "fields": [] if run.ended else fields(run),
        }
    return shown


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
