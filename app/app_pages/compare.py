"""Compare: what the finished runs say, and what they do not."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import PurePath

import pandas as pd
import streamlit as st

from app import services
from app.charts import Chart
from app.compare_confusion import confusions
from app.compare_document import comparison_document
from app.compare_files import download, offer
from app.compare_runs import TITLES, filters, named_runs, run_list, undo
from app.compare_table import difference_note, pooled_note, shown_summary, time_note
from app.compared import Compared, compared
from app.components.plot import plot
from app.controls import Choice, address, html_text, misfits, plain_text, warn
from app.html_table import html_table
from app.lessons.training import of_a_lesson
from core import baseline, report, variants
from core.data import DATASETS
from core.runs import Run
from models import NETWORKS

PIN = "All others are compared with it, seed by seed. Choose it before you see the results."
GROUP_BY = "What is averaged over seeds and compared: runs of one technique and its settings, or of one tag, say."
# What a line and a row of the page stand for.
KINDS = {"setting": "technique", "technique": "technique"}

EMPTY = """
<div class="ds-empty ds-empty-compare">
<h2>Nothing to compare yet</h2>
<p>This page shows the accuracy of each technique over the epochs, what it costs in time, and whether the differences
are more than chance. It needs runs that have finished.</p>
</div>
"""


def page() -> None:
    st.title("Compare", anchor=False)
    undo()
    runs = services.store().list()
    if not runs:
        empty()
        return
    chosen, by = choose(runs)
    lead = st.empty()
    listed = variants.table(chosen, TITLES, by)
    # The list of runs stands below, but what is selected in it decides what is drawn above.
    above = st.container()
    st.header("Runs", anchor=False)
    shown = filters(chosen)
    if not shown:
        lead.html('<p class="ds-lead">No run matches these filters: take one away to compare again.</p>')
        return
    selected = run_list(shown, listed[listed["id"].isin([run.id for run in shown])])
    matrices = confusions([run for run in shown if run.id in selected])
    rows = listed[listed["id"].isin(selected or [run.id for run in shown])]
    found = compared(rows, {run.id: run.seq for run in shown}, KINDS.get(by, "group"))
    lead.html(f'<p class="ds-lead">{html_text(found.verdict)}</p>')
    with above:
        drawn = figures(rows, found)
        there = set(rows["id"])
        numbers([run for run in shown if run.id in there], rows, found, listed, drawn + matrices, by)


def empty() -> None:
    st.html(EMPTY)
    with st.container(horizontal_alignment="center"):
        if st.button("Train the first runs", type="primary", key="first"):
            st.switch_page("app_pages/train.py")


def choose(runs: list[Run]) -> tuple[list[Run], str]:
    """The runs of one data set that are compared, the newest first, and what they are grouped by."""
    scopes = scopes_of(runs)
    named, gone = named_runs(runs)
    home = next((key for key, (_, found) in scopes.items() if named & {run.id for run in found}), next(iter(scopes)))
    scope = Choice("group", "Data set and network", titled(scopes), home, help=folders(runs))
    by = Choice("by", "Group by", variants.GROUPINGS, "setting", help=GROUP_BY)
    some = "a run that is" if gone == 1 else f"{gone} runs that are"
    missing = [f"The address names {some} not here: deleted, or of another machine."] if gone else []
    warn([*misfits(address(), [scope, by]), *missing])
    left, right, _ = st.columns([2, 1.2, 1.8])
    with left if len(scopes) > 1 else right:
        chosen = scope.draw() if len(scopes) > 1 else home
    with right if len(scopes) > 1 else left:
        return scopes[chosen][1], by.draw()


def scopes_of(runs: list[Run]) -> dict[str, tuple[str, list[Run]]]:
    """What can be compared: key → title and runs. A network of a data set, the newest first; then all of its networks.

    Runs of several data sets never compare. Those that a lesson had trained stand apart from what people train.
    """
    lessons = [run for run in runs if of_a_lesson(run)]
    groups = variants.comparable([run for run in runs if not of_a_lesson(run)])
    found = {f"{data}|{network}": (group_title(data, network), own) for (data, network), own in groups.items()}
    for data in dict.fromkeys(data for data, _ in groups):
        own = [run for (other, _), members in groups.items() for run in members if other == data]
        if len(own) > len(next(members for (other, _), members in groups.items() if other == data)):
            own.sort(key=lambda run: run.created, reverse=True)
            found[f"{data}|"] = (f"{data_title(data)} · all networks", own)
    for name in dict.fromkeys(run.experiment or "" for run in lessons):
        found[name] = (name, [run for run in lessons if run.experiment == name])
    return found


def titled(scopes: Mapping[str, tuple[str, list[Run]]]) -> dict[str, str]:
    """Key → title; folders of one name are told apart by their paths."""
    titles = {key: title for key, (title, _) in scopes.items()}
    names = list(titles.values())
    return {
        key: title if names.count(title) == 1 else f"{title} ({key.partition('|')[0]})" for key, title in titles.items()
    }


def folders(runs: Sequence[Run]) -> str | None:
    """Where the folders lie whose names are shown, None where there are none."""
    paths = dict.fromkeys(str(run.config.get("dataset")) for run in runs)
    return "  \n".join(plain_text(path) for path in paths if path not in DATASETS) or None


def group_title(data: str, network: str) -> str:
    name, comma, width = network.partition(",")
    shown = NETWORKS[name].title if name in NETWORKS else PurePath(name).name
    return f"{data_title(data)} · {shown}{comma}{width}"


def data_title(data: str) -> str:
    """A data set as a person reads it: of a folder its name alone."""
    return DATASETS[data].title if data in DATASETS else PurePath(data).name or data


def figures(rows: pd.DataFrame, found: Compared) -> list[Chart]:
    """Accuracy per epoch, and accuracy against time; returns what was drawn."""
    left, right = st.columns(2, gap="large")
    if found.over_epochs is not None:
        with left:
            plot(found.over_epochs, key="per-epoch")
            if (found.curves["n"] > 1).any():
                st.caption("Line: mean over seeds. Band: ± one standard deviation.")
    if found.against_time is not None:
        with right:
            plot(found.against_time, key="against-time")
            st.caption(plain_text(time_note(rows, found.summary, str(found.reference))))
    return [chart for chart in (found.over_epochs, found.against_time) if chart is not None]


def numbers(
    runs: list[Run],
    rows: pd.DataFrame,
    found: Compared,
    listed: pd.DataFrame,
    drawn: list[Chart],
    by: str,
) -> None:
    """The table: what was reached and at what cost, and the difference to a pinned baseline, selected or not."""
    summary, curves = found.summary, found.curves
    if summary.empty:
        return
    st.header("Test accuracy and time", anchor=False)
    pinned = choose_baseline(listed, by)
    tests = baseline.against(pd.concat([rows, listed[listed["variant"] == pinned]]).drop_duplicates("id"), pinned)
    kind = "Technique" if by == "setting" else variants.GROUPINGS[by]
    st.html(html_table(shown_summary(summary, tests, pinned, kind), "Test accuracy and time"))
    st.markdown(plain_text(baseline.verdict(tests, pinned)))
    st.caption(plain_text(" ".join(filter(None, [difference_note(tests, pinned), pooled_note(rows)]))))
    title = " and ".join(group_title(*names) for names in rows[["dataset", "network"]].drop_duplicates().to_numpy())
    with st.container(horizontal=True):
        download(summary.merge(tests, how="left", on="variant"), "Table as CSV", "dropscope-summary.csv")
        download(curves, "Curves as CSV", "dropscope-curves.csv")
        latex = partial(report.latex, summary, tests, pinned, f"{title}.")
        offer(latex, "Table as LaTeX", "dropscope-summary.tex", "text/x-tex")
        everything = partial(report.as_json, summary, tests, pinned, curves, list(rows["id"]))
        offer(everything, "All as JSON", "dropscope-comparison.json", "application/json")
        page = partial(comparison_document, title, runs, rows, tests, pinned, kind, drawn)
        offer(page, "All as a web page", "dropscope-comparison.html", "text/html")


def choose_baseline(listed: pd.DataFrame, by: str) -> str:
    """The variant that all others are compared with; kept whatever is selected, one for each way of grouping."""
    tested = listed.dropna(subset=["test_accuracy"])
    names = {str(variant): str(variant) for variant in sorted(tested["variant"].unique())}
    key = "baseline" if by == "setting" else f"baseline-{by}"
    control = Choice(key, "Baseline", names, baseline.default(listed) or "", help=PIN)
    warn(misfits(address(), [control]))
    place, _ = st.columns([2, 3])
    with place:
        return control.draw()


page()
