"""Compare: what the finished runs say, and what they do not."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import pandas as pd
import streamlit as st

from app import charts, epoch_curves, services
from app.compare_table import shown_summary
from app.components.plot import plot
from app.controls import Choice, Choices, Text, address, html_text, notices, plain_text, warn
from app.names import techniques
from core import baseline, comparison, report, selection, variants
from core.data import DATASETS
from core.runs import STATUSES, Run
from models import NETWORKS

TITLES = techniques()
PIN = "All others are compared with it, seed by seed. Choose it before you see the results."

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
    groups = variants.comparable(runs)
    group = choose_group(groups)
    lead = st.empty()
    chosen = groups[group]
    listed = variants.table(chosen, TITLES)
    # The list of runs stands below, but what is selected in it decides what is drawn above.
    above = st.container()
    st.header("Runs", anchor=False)
    shown = filters(chosen)
    if not shown:
        lead.html('<p class="ds-lead">No run matches these filters: take one away to compare again.</p>')
        return
    selected = run_list(shown, listed[listed["id"].isin([run.id for run in shown])])
    rows = listed[listed["id"].isin(selected or [run.id for run in shown])]
    lead.html(f'<p class="ds-lead">{html_text(comparison.verdict(rows))}</p>')
    with above:
        curves = figures(rows, {run.id: run.seq for run in shown})
        numbers(rows, listed, curves)


def empty() -> None:
    st.html(EMPTY)
    with st.container(horizontal_alignment="center"):
        if st.button("Train the first runs", type="primary", key="first"):
            st.switch_page("app_pages/train.py")


def choose_group(groups: dict[tuple[str, str], list[Run]]) -> tuple[str, str]:
    """Only runs of one data set and network compare; the newest group is shown first."""
    names = {f"{data}|{network}": group_title(data, network, len(groups[data, network])) for data, network in groups}
    named, gone = named_runs([run for runs in groups.values() for run in runs])
    home = next((f"{d}|{n}" for (d, n), runs in groups.items() if named & {run.id for run in runs}), next(iter(names)))
    control = Choice("group", "Data set and network", names, home)
    some = "a run that is" if gone == 1 else f"{gone} runs that are"
    missing = [f"The address names {some} not here: deleted, or of another machine."] if gone else []
    warn([*notices(address(), [control]), *missing])
    if len(names) == 1:
        return next(iter(groups))
    place, _ = st.columns([2, 3])
    with place:
        data, _, network = control.draw().partition("|")
    return data, network


def named_runs(runs: Sequence[Run]) -> tuple[set[str], int]:
    """The ids that the address selects, and how many it names that are not there."""
    found, gone = selection.parse(st.query_params.get("runs", ""), {run.id for run in runs})
    return set(found), gone


def group_title(data: str, network: str, runs: int) -> str:
    title = DATASETS[data].title if data in DATASETS else data
    name, comma, width = network.partition(",")
    shown = NETWORKS[name].title if name in NETWORKS else name
    return f"{title} · {shown}{comma}{width}"


def figures(rows: pd.DataFrame, seqs: Mapping[str, int]) -> pd.DataFrame:
    """Accuracy per epoch, and accuracy against time; returns the curves."""
    finished = rows.dropna(subset=["test_accuracy"])
    curves = epoch_curves.curves(rows, seqs)
    summary = comparison.summary(rows)
    left, right = st.columns(2, gap="large")
    if not curves.empty:
        with left:
            plot(charts.accuracy_per_epoch(curves, list(summary["variant"])), key="per-epoch")
            if (curves["n"] > 1).any():
                st.caption("Line: mean over seeds. Band: ± one standard deviation.")
    if finished.empty:
        return curves
    base = comparison.reference(rows)
    with right:
        plot(charts.accuracy_against_time(summary, f"× {base}"), key="against-time")
        st.caption(time_note(rows, str(base)))
    return curves


def numbers(rows: pd.DataFrame, listed: pd.DataFrame, curves: pd.DataFrame) -> None:
    """The table: what was reached and at what cost, and the difference to a pinned baseline, selected or not."""
    summary = comparison.summary(rows)
    if summary.empty:
        return
    st.header("Test accuracy and time", anchor=False)
    pinned = choose_baseline(listed)
    tests = baseline.against(pd.concat([rows, listed[listed["variant"] == pinned]]).drop_duplicates("id"), pinned)
    with st.container(key="compare-table"):
        shown = shown_summary(summary, tests, pinned)
        st.table(shown, border="horizontal", hide_index=True, alt="Test accuracy and time")
    st.markdown(plain_text(baseline.verdict(tests, pinned)))
    st.caption(plain_text(difference_note(tests, pinned)))
    with st.container(horizontal=True):
        download(summary.merge(tests, how="left", on="variant"), "Table as CSV", "dropscope-summary.csv")
        download(curves, "Curves as CSV", "dropscope-curves.csv")
        caption = f"{group_title(*rows.iloc[0][['dataset', 'network']], len(rows))}."
        offer(report.latex(summary, tests, pinned, caption), "Table as LaTeX", "dropscope-summary.tex", "text/x-tex")
        content = report.as_json(summary, tests, pinned, curves, list(rows["id"]))
        offer(content, "All as JSON", "dropscope-comparison.json", "application/json")


def choose_baseline(listed: pd.DataFrame) -> str:
    """The variant that all others are compared with; kept whatever is selected."""
    tested = listed.dropna(subset=["test_accuracy"])
    names = {str(variant): str(variant) for variant in sorted(tested["variant"].unique())}
    control = Choice("baseline", "Baseline", names, baseline.default(listed) or "", help=PIN)
    warn(notices(address(), [control]))
    place, _ = st.columns([2, 3])
    with place:
        return control.draw()


def difference_note(tests: pd.DataFrame, pinned: str) -> str:
    """How the differences are to be read, and what they do not say."""
    if tests.empty:
        return f"There is no other technique to compare with {pinned}."
    number = baseline.judged(tests)
    said = f"Difference: in percentage points, mean over the seeds that both have, paired by seed, less {pinned}."
    if not number:
        return said
    count = "one comparison" if number == 1 else f"{number} comparisons"
    together = "95 % interval" if number == 1 else "intervals that hold all at once with 95 % (Bonferroni)"
    ranked = (
        " This holds for a baseline chosen before the results were seen; the sentence at the top of the page, "
        "on the best of all, counts every pair instead."
        if number > 1
        else ""
    )
    how = "paired t test" + ("" if number == 1 else f", corrected for {count} (Holm)")
    return f"{said} In brackets: {together}. p: {how}.{ranked}"


def time_note(rows: pd.DataFrame, base: str) -> str:
    """To what times relate, and whether they were taken under like conditions."""
    plain = rows.loc[rows["variant"] == base, "technique"].eq("none").any()
    why = "" if plain else ", the fastest, as no run without dropout is here"
    devices = rows["device"].dropna().unique()
    mixed = "" if len(devices) < 2 else " These runs were trained on different devices: their times do not compare."
    return plain_text(f"Time of an epoch relative to {base}{why}. Bars: ± one standard deviation.{mixed}")


def filters(runs: Sequence[Run]) -> list[Run]:
    """Which runs are listed; nothing chosen lists all."""
    there = {str(run.config.get("technique")) for run in runs}
    titles = {name: title for name, title in TITLES.items() if name in there}
    titles |= {name: name for name in sorted(there - set(titles))}
    states = {status: status for status in STATUSES if status in {run.status for run in runs}}
    technique = Choices("technique", "Technique", titles, ())
    status = Choices("status", "Status", states, ())
    find = Text("find", "Find", placeholder="name, seed 3, run …")
    warn(notices(address(), [technique, status]))
    with st.container(horizontal=True, gap="large"):
        return selection.matching(runs, techniques=technique.draw(), statuses=status.draw(), text=find.draw())


def run_list(runs: Sequence[Run], listed: pd.DataFrame) -> list[str]:
    """The runs of the group that pass the filters; returns the ids of those selected, which the address keeps."""
    st.caption("All of these are compared. Select some to compare only them; the address of the page keeps which.")
    shown = pd.DataFrame(
        {
            "Technique": listed["variant"],
            "Seed": listed["seed"],
            "Status": [status_text(run) for run in runs],
            "Test accuracy": 100 * listed["test_accuracy"],
            "Training time": listed["train_seconds"],
            "Epochs": listed["epochs"],
            "Started": [datetime.fromtimestamp(created) for created in listed["created"]],
            "Run": listed["id"],
        }
    )
    key = f"runs-{hash(tuple(run.id for run in runs))}"
    if key not in st.session_state:
        named, _ = named_runs(runs)
        at = [place for place, run in enumerate(runs) if run.id in named]
        st.session_state[key] = {"selection": {"rows": at}}
    event = st.dataframe(
        shown, hide_index=True, on_select="rerun", selection_mode="multi-row", placeholder="–", key=key,
        column_config={
            "Test accuracy": st.column_config.NumberColumn(format="%.1f %%"),
            "Training time": st.column_config.NumberColumn(format="%.1f s"),
            "Epochs": st.column_config.NumberColumn(format="%.3g"),
            "Started": st.column_config.DatetimeColumn(format="D MMM, HH:mm"),
        },
    )  # fmt: skip
    chosen = [str(listed["id"].iloc[row]) for row in event.selection.rows if row < len(listed)]
    keep_selection(chosen)
    with st.container(horizontal=True):
        word = "Delete" if not chosen else "Delete 1 run" if len(chosen) == 1 else f"Delete {len(chosen)} runs"
        if st.button(word, disabled=not chosen, key="delete"):
            delete(chosen)
        download(listed, "Runs as CSV", "dropscope-runs.csv")
    return chosen


def keep_selection(ids: Sequence[str]) -> None:
    """Write the selected runs into the address, so that it brings back what is seen."""
    if ids:
        st.query_params["runs"] = ",".join(ids)
    elif "runs" in st.query_params:
        del st.query_params["runs"]


def status_text(run: Run) -> str:
    return f"{run.status}: {run.reason}" if run.reason and run.status in ("failed", "lost") else run.status


def delete(ids: Sequence[str]) -> None:
    """Asks nothing, as it can be undone."""
    with services.guard():
        services.delete(ids)
    st.query_params.pop("runs", None)
    st.rerun()


def undo() -> None:
    """What was deleted last, and a button that brings it back."""
    gone = services.deleted()
    if not gone:
        return
    with st.container(horizontal=True, vertical_alignment="center", key="undo-bar"):
        what = "1 run" if len(gone) == 1 else f"{len(gone)} runs"
        st.markdown(f"{what} deleted; gone for good after {services.UNDO_SECONDS / 60:g} minutes.", width="content")
        with services.guard():
            if st.button("Undo", key="undo", icon=":material/undo:"):
                services.undo_delete([run.id for run in gone])
                st.rerun()


def download(frame: pd.DataFrame, label: str, name: str) -> None:
    offer(frame.to_csv(index=False), label, name, "text/csv")


def offer(content: str, label: str, name: str, kind: str) -> None:
    st.download_button(label, content, name, kind, on_click="ignore", key=name)


page()
