"""Which classes the networks of the selected runs take for which."""

from collections.abc import Sequence

import streamlit as st

from app import services
from app.charts import Chart
from app.compare_charts import confusion_chart
from app.components.plot import plot
from app.controls import Switch, address, misfits, plain_text, warn
from core.confusion import Confusion
from core.data import DataError
from core.runs import Run, StoreError

SIDE_BY_SIDE = 2
SHOW = Switch("confusion", "Confusion matrix", False, "Which classes of the test set the selected runs take for which.")
# The smallest difference of accuracies that is not rounding: one image of a hundred thousand.
SAME = 1e-5


def confusions(chosen: Sequence[Run]) -> list[Chart]:
    """A switch, and the matrices of one or two selected runs side by side; returns those that are drawn."""
    warn(misfits(address(), [SHOW]))
    if not SHOW.draw():
        return []
    if not 1 <= len(chosen) <= SIDE_BY_SIDE:
        st.caption("Select one run in the list, or two to compare them.")
        return []
    drawn = []
    for place, run in zip(st.columns(SIDE_BY_SIDE, gap="large"), chosen, strict=False):
        with place:
            drawn.append(matrix(run))
    return [chart for chart in drawn if chart is not None]


def matrix(run: Run) -> Chart | None:
    """Draws a run's confusion matrix with its most frequent mistakes in words, or says why there is none."""
    if not run.ended:
        st.caption(plain_text(f"{run.name} is still {run.status}: its network is tested when it has ended."))
        return None
    try:
        with st.spinner("Testing the network …"):
            found = services.confusion(run)
    except (DataError, StoreError) as error:
        st.caption(plain_text(f"{run.name}: {error}"))
        return None
    chart = confusion_chart(found, run.name)
    plot(chart, key=f"confusion-{run.id}")
    st.caption(plain_text(told(found, run.final.get("test_accuracy"))))
    return chart


def told(found: Confusion, recorded: float | None) -> str:
    """The most frequent mistakes, and how the accuracy stands to that which the run recorded."""
    worst = [f"{true} taken for {answer} ({n} of {of})" for true, answer, n, of in found.mistakes(3)]
    mistakes = f" Most often: {', '.join(worst)}." if worst else ""
    if recorded is None or abs(found.accuracy - recorded) < SAME:
        return f"{100 * found.accuracy:.1f} % are right.{mistakes}"
    anew = f"Tested anew on the CPU in 32 bit, {100 * found.accuracy:.2f} % are right; the run recorded"
    return f"{anew} {100 * recorded:.2f} %.{mistakes}"
