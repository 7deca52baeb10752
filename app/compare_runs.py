"""The list of runs of Compare: which are shown, which are selected, and what can be done with those."""

from collections.abc import Sequence
from datetime import datetime

import pandas as pd
import streamlit as st

from app import services
from app.compare_files import download
from app.controls import Choices, Picks, Text, address, misfits, plain_text, warn
from app.names import techniques
from core import selection, variants
from core.runs import STATUSES, Run
from core.runs.labels import tags_of
from core.runs.schema import default_name

TITLES = techniques()
# More runs than this side by side, and what differs is not read but searched for.
MOST_SIDE_BY_SIDE = 40
MOST_TOLD = 12
_COLUMNS = {
    "Test accuracy": st.column_config.NumberColumn(format="%.1f %%"),
    "Training time": st.column_config.NumberColumn(format="%.1f s"),
    "Epochs": st.column_config.NumberColumn(format="%.3g"),
    "Why it ended": st.column_config.TextColumn(width="large"),
    "Started": st.column_config.DatetimeColumn(format="D MMM, HH:mm"),
}


def filters(runs: Sequence[Run]) -> list[Run]:
    """Which runs are listed; nothing chosen lists all."""
    there = {str(run.config.get("technique")) for run in runs}
    titles = {name: title for name, title in TITLES.items() if name in there}
    titles |= {name: plain_text(name) for name in sorted(there - set(titles))}
    states = {status: status for status in STATUSES if status in {run.status for run in runs}}
    technique = Choices("technique", "Technique", titles, ())
    status = Choices("status", "Status", states, ())
    find = Text("find", "Find", placeholder="name, tag, seed 3, run …")
    tag = _words("tag", "Tags", {word for run in runs for word in run.tags}, "all of these")
    experiment = _words("experiment", "Experiments", {run.experiment for run in runs if run.experiment}, "any of these")
    warn(misfits(address(), [technique, status, tag, experiment]))
    with st.container(horizontal=True, gap="large"):
        return selection.matching(
            runs,
            techniques=technique.draw(),
            statuses=status.draw(),
            tags=tag.draw() if tag.options else (),
            experiments=experiment.draw() if experiment.options else (),
            text=find.draw(),
        )


def run_list(runs: Sequence[Run], listed: pd.DataFrame) -> list[str]:
    """The runs of the group that pass the filters; returns the ids of those selected, which the address keeps.

    ``listed``: their rows of ``core.variants.table``.
    """
    st.caption(
        "All of these are compared. Select some to compare only them (by keys: arrows, then Shift + Space); the "
        "address of the page keeps which."
    )
    key = f"runs-{hash(tuple(run.id for run in runs))}"
    if key not in st.session_state:
        named, _ = named_runs(runs)
        at = [place for place, run in enumerate(runs) if run.id in named]
        st.session_state[key] = {"selection": {"rows": at}}
    # Above the list, so that what opens below a button is on the screen.
    actions = st.container(horizontal=True, vertical_alignment="center")
    with st.container(key="compare-runs"):
        event = st.dataframe(
            shown_runs(runs, listed), hide_index=True, on_select="rerun", selection_mode="multi-row", placeholder="–",
            key=key, column_config=_COLUMNS,
        )  # fmt: skip
    chosen = [runs[row] for row in event.selection.rows if row < len(runs)]
    keep_selection([run.id for run in chosen])
    with actions:
        rename(chosen)
        tag(chosen, runs)
        delete(chosen)
        download(listed, "Runs as CSV", "dropscope-runs.csv")
    why_ended(chosen)
    what_differs(chosen)
    return [run.id for run in chosen]


def shown_runs(runs: Sequence[Run], listed: pd.DataFrame) -> pd.DataFrame:
    """The runs as a person reads them; columns that hold nothing are left out."""
    grouped = not listed["variant"].equals(listed["setting"])
    columns = {
        "Group": listed["variant"] if grouped else None,
        "Technique": listed["setting"],
        "Seed": listed["seed"],
        "Status": listed["status"],
        "Test accuracy": 100 * listed["test_accuracy"],
        "Training time": listed["train_seconds"],
        "Epochs": listed["epochs"],
        "Why it ended": _said([run.reason if run.ended else None for run in runs]),
        "Name": _said([None if run.name == default_name(run.config) else run.name for run in runs]),
        "Tags": _said([", ".join(run.tags) for run in runs]),
        "Experiment": _said([run.experiment for run in runs]),
        "Started": [datetime.fromtimestamp(created) for created in listed["created"]],
        "Run": listed["id"],
    }
    return pd.DataFrame({name: values for name, values in columns.items() if values is not None})


def named_runs(runs: Sequence[Run]) -> tuple[set[str], int]:
    """The ids that the address selects, and how many it names that are not there."""
    found, gone = selection.parse(st.query_params.get("runs", ""), {run.id for run in runs})
    return set(found), gone


def keep_selection(ids: Sequence[str]) -> None:
    """Write the selected runs into the address, so that it brings back what is seen."""
    if ids:
        st.query_params["runs"] = ",".join(ids)
    elif "runs" in st.query_params:
        del st.query_params["runs"]


def why_ended(chosen: Sequence[Run]) -> None:
    """The whole sentence, of which the list shows the beginning."""
    told = [f"{run.name}: {run.reason}" for run in chosen if run.ended and run.reason]
    if told:
        st.caption("  \n".join(plain_text(sentence) for sentence in told[:MOST_TOLD]))


def what_differs(chosen: Sequence[Run]) -> None:
    """The settings that are not the same in all selected runs, side by side."""
    if len(chosen) < 2:
        return
    st.subheader("What differs", anchor=False)
    told = variants.differences(chosen[:MOST_SIDE_BY_SIDE])
    if told.empty:
        st.caption("Nothing: these runs have the same settings, seed included, and the same machine.")
        return
    if len(chosen) > MOST_SIDE_BY_SIDE:
        st.caption(f"The first {MOST_SIDE_BY_SIDE} of the selected runs.")
    names = [run.name for run in chosen]
    heads = {run.id: run.name if names.count(run.name) == 1 else f"{run.name} · {run.id}" for run in chosen}
    with st.container(key="compare-differs"):
        st.dataframe(told.rename(columns=heads).rename_axis("Setting"), width="content", alt="Settings that differ")


def rename(chosen: Sequence[Run]) -> None:
    """A field for the name of the one selected run."""
    only = chosen[0] if len(chosen) == 1 else None
    able = only is not None and services.may_change()
    told = hint(only is not None, "Select one run in the list.")
    with st.popover("Rename", disabled=not able, help=told, key=f"rename-{saves()}"):
        if only is None or not able:
            return
        with st.form(f"rename-{only.id}", border=False):
            name = st.text_input("Name", only.name, key=f"name-{only.id}-{only.name}")
            saved = st.form_submit_button("Save name")
        if saved:
            with services.guard():
                services.rename(only.id, name)
                close()


def tag(chosen: Sequence[Run], runs: Sequence[Run]) -> None:
    """The tags that all selected runs have: some may go, others, also new ones, come."""
    able = bool(chosen) and services.may_change()
    told = hint(bool(chosen), "Select runs in the list.")
    with st.popover("Tags", disabled=not able, help=told, key=f"tags-{saves()}"):
        if not able:
            return
        shared = [word for word in chosen[0].tags if all(word in run.tags for run in chosen)]
        whose = "this run" if len(chosen) == 1 else f"all {len(chosen)} runs"
        key = f"tags-{hash((*(run.id for run in chosen), *shared))}"
        with st.form(f"form-{key}", border=False):
            text = st.text_input(f"Tags of {whose}, with commas between", ", ".join(shared), key=key)
            known = sorted({word for run in runs for word in run.tags} - set(shared))
            if known:
                st.caption(plain_text(f"Others in use: {', '.join(known[:MOST_TOLD])}"))
            saved = st.form_submit_button("Save tags")
        if saved:
            with services.guard():
                wanted = tags_of([text])
                services.tag([run.id for run in chosen], add=wanted, remove=set(shared) - set(wanted))
                close()


def saves() -> int:
    """How often this visitor has saved a name or tags: a popover under a new key is a closed one."""
    return int(st.session_state.get("saves", 0))


def close() -> None:
    """Run the page again with what was saved, and with the popover closed."""
    st.session_state["saves"] = saves() + 1
    st.rerun()


def delete(chosen: Sequence[Run]) -> None:
    """Asks nothing, as it can be undone."""
    word = "Delete" if not chosen else "Delete 1 run" if len(chosen) == 1 else f"Delete {len(chosen)} runs"
    able = bool(chosen) and services.may_change()
    if st.button(word, disabled=not able, key="delete", help=hint(bool(chosen), "Select runs in the list.")):
        with services.guard():
            services.delete([run.id for run in chosen])
            st.query_params.pop("runs", None)
            st.rerun()


def hint(selected: bool, select: str) -> str | None:
    """Why a button cannot be pressed, None where it can."""
    if not services.may_change():
        return "This needs the access code: enter it at the top of the page."
    return None if selected else select


def undo() -> None:
    """What was deleted last, and a button that brings it back."""
    gone = services.deleted()
    if not gone or not services.may_change():
        return
    with st.container(horizontal=True, vertical_alignment="center", key="undo-bar"):
        what = "1 run" if len(gone) == 1 else f"{len(gone)} runs"
        st.markdown(f"{what} deleted; gone for good after {services.UNDO_SECONDS / 60:g} minutes.", width="content")
        with services.guard():
            if st.button("Undo", key="undo", icon=":material/undo:"):
                services.undo_delete([run.id for run in gone])
                st.rerun()


def _words(key: str, label: str, words: set[str], which: str) -> Picks:
    return Picks(key, label, {word: word for word in sorted(words)}, (), placeholder=which)


def _said(texts: Sequence[str | None]) -> list[str] | None:
    """The texts as a column, or None where there are none."""
    return [text or "" for text in texts] if any(texts) else None
