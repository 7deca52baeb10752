"""What a person changes in the masks, as the view tells it and the address keeps it: p, draw, unit and order."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from app.controls import Choice, Control, Number, address
from core.inspection.fields import COUNTS_OF_DRAWS

MOST_DRAWS = max(COUNTS_OF_DRAWS)
MOST_UNITS = 1_000_000
P = Number("p", "Drop probability p", 0.2, 0.0, 1.0)
DRAW = Number("draw", "Draw", 1, 1, MOST_DRAWS, integer=True)
UNIT = Number("unit", "Unit", None, 1, MOST_UNITS, integer=True)
ORDER = Choice("order", "Units", {word: word for word in ("layer", "activation")}, "layer")
CONTROLS: tuple[Control, ...] = (P, DRAW, UNIT, ORDER)

# p; draw and unit from 0, -1 leaves the unit to the view; sorted: whether units stand by activation.
Seen = dict[str, Any]
START: Seen = {"p": P.default, "draw": 0, "unit": -1, "sorted": False}


def asked(start: Seen = START, controls: Sequence[Control] = CONTROLS) -> Seen:
    """What the address asks for by these controls; from ``start`` what it does not say, or says badly."""
    given = {c.key: values[0] for c in controls if (values := address().get(c.key)) and not c.problem(values)}
    found = dict(start)
    if P.key in given:
        found["p"] = float(given[P.key])
    for key in (DRAW.key, UNIT.key):
        if key in given:
            found[key] = int(given[key]) - 1
    if ORDER.key in given:
        found["sorted"] = given[ORDER.key] == "activation"
    return found


def checked(wish: Mapping[str, Any] | None, before: Seen) -> Seen:
    """What the view says it shows, if that can be."""
    if wish is None:
        return before
    p, draw, unit = (wish.get(name) for name in ("p", "draw", "unit"))
    numbers = all(isinstance(value, int | float) and math.isfinite(value) for value in (p, draw, unit))
    if not numbers or not 0 <= p <= 1 or not 0 <= draw < MOST_DRAWS or not 0 <= unit < MOST_UNITS:
        return before
    return {"p": float(p), "draw": int(draw), "unit": int(unit), "sorted": wish.get("sorted") is True}


def remember(seen: Seen, start: Seen = START, controls: Sequence[Control] = CONTROLS) -> None:
    """Keep in the address what the person has changed, of what these controls change."""
    keys = {control.key for control in controls}
    if seen == asked(start, controls) and not keys & set(st.query_params):
        return
    now = {P.key: f"{seen['p']:g}", DRAW.key: str(seen["draw"] + 1)}
    if seen["unit"] >= 0:
        now[UNIT.key] = str(seen["unit"] + 1)
    if seen["sorted"] != start["sorted"] or ORDER.key in st.query_params:
        now[ORDER.key] = "activation" if seen["sorted"] else "layer"
    st.query_params.update({key: value for key, value in now.items() if key in keys})
