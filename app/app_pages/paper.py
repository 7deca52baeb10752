"""Paper: what the paper proposes and claims, and what our runs say of it. All numbers are computed from the runs."""

import pandas as pd
import streamlit as st

from app import paper_claims, paper_cost, paper_figures, paper_open, paper_tables, paper_techniques, services
from app.components.plot import plot
from app.controls import html_text, plain_text
from app.html_table import html_table
from app.paper_data import NAMES, TITLES, Compared, command, compared, measured, verdicts
from app.paper_words import title
from core import comparison
from core.reproduce.paper import EPOCHS, TEST_ACCURACY
from core.reproduce.plan import MAIN
from core.significance import FEWEST_PAIRS

LEAD = """<p class="ds-lead">“Activation Dropout, Inverse Dropout and Correlated Dropout” by I. M. Gavier proposes three
techniques and compares them on two data sets, with one run each. Here are the techniques, the same experiments, seed by
seed, and what they allow to say about each claim.</p>"""
ON = "This goes on with them:"
ANEW = "This makes them, and all others, of the original images:"


def page() -> None:
    st.title("The paper, reproduced", anchor=False)
    st.html(LEAD)
    with services.guard():
        overview()
        paper_techniques.section()
        for dataset in TITLES:
            experiment(dataset)
        paper_open.section()
        paper_cost.section()


def overview() -> None:
    """How the claims stand, in a line a data set."""
    lines = []
    for dataset, name in TITLES.items():
        found = verdicts(dataset)
        said = paper_claims.summary(found) if found else "not run here yet."
        lines.append(f"<li><strong>{name}</strong>: {html_text(said)}</li>")
    st.html(f'<ul class="ds-lead">{"".join(lines)}</ul>')


def experiment(dataset: str) -> None:
    """A data set: what was run, the claims, the figures and the table."""
    st.header(TITLES[dataset], anchor=False)
    found, judged, drawn = measured(dataset), verdicts(dataset), compared(dataset)
    if found is None or judged is None or drawn is None:
        absent(dataset)
        return
    st.markdown(plain_text(protocol(dataset, found)))
    if any(verdict.n < FEWEST_PAIRS for verdict in judged):
        st.markdown(f"Some runs of the plan are missing. {ON if original(found, dataset) else ANEW}")
        st.code(command(dataset), language="sh", wrap_lines=True)
    st.subheader("What the paper claims, and how it stands", anchor=False)
    with st.expander("The rule behind every verdict"):
        st.markdown(paper_claims.RULE)
    paper_claims.show(judged)
    st.subheader("The paper's figures and table, from these runs", anchor=False)
    figures(dataset, drawn)


def original(found: pd.DataFrame, dataset: str) -> bool:
    """Whether the runs are of the data set itself, not of a re-encoding."""
    return paper_figures.data_of(found) == TITLES[dataset]


def absent(dataset: str) -> None:
    st.info("Nothing was run here yet, so nothing is shown. This runs it, and goes on where it was interrupted:",
            icon=":material/science:")  # fmt: skip
    st.code(command(dataset), language="sh", wrap_lines=True)
    shown = paper_tables.accuracies(_NOTHING, TEST_ACCURACY[dataset])
    st.html(html_table(shown, f"{NAMES[dataset][2]} of the paper"))


_NOTHING = pd.DataFrame({"technique": pd.Series(dtype=str), "n": [], "accuracy": [], "accuracy_sd": [], "ratio": []})


def protocol(dataset: str, found: pd.DataFrame) -> str:
    """What was run, and in what it departs from the paper."""
    main = found[found["group"] == MAIN]
    runs = found.drop_duplicates(["setting", "seed"])
    counts = main.groupby("setting")["seed"].nunique()
    seeds = comparison.seeds_of(counts.max())
    seeds = f"{seeds} each" if counts.min() == counts.max() else f"up to {seeds}"
    epochs = " and ".join(str(number) for number in sorted(main["epochs"].unique()))
    machines = runs[["device_name", "threads", "precision"]].drop_duplicates().itertuples(index=False)
    where = comparison.listed(
        sorted(f"{name}, {counted(threads)}, {precision}" for name, threads, precision in machines)
    )
    torch = comparison.listed(sorted(set(runs["torch"])))
    return (
        f"{len(runs)} runs on {paper_figures.data_of(found)}: the paper's network and settings, {epochs} epochs of its "
        f"techniques with {seeds}; its curves have about {EPOCHS[dataset]} epochs, of one run. Its own three are taken "
        f"at their word, k of all units and nothing rescaled; the other readings stand further down. Trained on "
        f"{where}; PyTorch {torch}."
    )


def counted(threads: str) -> str:
    return "1 thread" if threads == "1" else f"{threads} threads"


def figures(dataset: str, found: Compared) -> None:
    """Validation accuracy over the epochs, test accuracy beside the paper's and against time, and the table."""
    paper = TEST_ACCURACY[dataset]
    over_epochs, against_time, table = NAMES[dataset]
    left, right = st.columns(2, gap="large")
    with left:
        others = [name for name in found.over_epochs.legend if name not in [title(known) for known in paper]]
        plot(found.over_epochs, key=f"paper-epochs-{dataset}", hidden=others)
        st.caption(f"{over_epochs}. Line: mean over seeds. Band: ± one standard deviation. {switched_off(others)}")
    with right:
        plot(found.beside_the_paper, key=f"paper-test-{dataset}")
        st.caption(
            f"{table} as a figure. Mean over seeds, ± one standard deviation. Open diamond: the paper's single run."
        )
    with left:
        plot(found.against_time, key=f"paper-time-{dataset}")
        st.caption(f"{against_time or 'As Figure 2'}. Times of runs that were trained one after another: what else the "
                   "machine did shows in them. `python -m core bench training` takes them in turn.")  # fmt: skip
    with right:
        st.html(html_table(paper_tables.accuracies(found.summary, paper), f"{table} beside ours"))


def switched_off(others: list[str]) -> str:
    """What the legend can switch on."""
    return f"{comparison.listed(others)}, which the paper's figure has not, can be switched on." if others else ""


page()
