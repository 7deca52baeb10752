"""The comparison as one HTML file: what the page shows, what it was made of, and how it was measured."""

from collections.abc import Sequence

import pandas as pd

from app import standalone
from app.charts import Chart
from app.compare_runs import shown_runs
from app.compare_table import difference_note, pooled_note, shown_summary, time_note
from app.standalone import Section
from core import baseline, comparison, variants
from core.data.splits import VALIDATION_FRACTION
from core.runs import Run

MEASURED = (
    "Test accuracy: measured once, after the last epoch that counts, on images that neither training nor validation "
    f"has seen, in evaluation mode. Validation accuracy: after each epoch, on {VALIDATION_FRACTION:.0%} of the "
    "training images, held back from training.",
    "Time: of training alone, without evaluation and loading.",
    "Mean and standard deviation: over seeds. Runs of one seed repeat each other, so their mean counts as one value. "
    "The same seed gives every technique the same initial weights and the same order of images, which is why "
    "differences are taken seed by seed.",
)


def comparison_document(
    title: str,
    runs: Sequence[Run],
    rows: pd.DataFrame,
    tests: pd.DataFrame,
    pinned: str,
    kind: str,
    charts: Sequence[Chart],
) -> str:
    """The file for ``rows`` of ``core.variants.table`` and their ``runs``, in one order; ``pinned`` is the baseline."""
    summary = comparison.summary(rows)
    base = comparison.reference(rows)
    told = variants.settings(runs)
    same = told.nunique(axis=1) <= 1
    shared = pd.DataFrame({"Setting": told.index[same], "Value": told[same].iloc[:, 0]})
    apart = told[~same].T.rename_axis("Run").reset_index()
    word = "technique" if kind.startswith("Technique") else "group"
    notes = [baseline.verdict(tests, pinned), difference_note(tests, pinned), pooled_note(rows)]
    sections = [
        Section("Test accuracy and time", shown_summary(summary, tests, pinned, kind), notes),
        Section("How it was measured", None, [*MEASURED, "" if base is None else time_note(rows, summary, base)]),
        Section(f"Settings that all {len(rows)} runs share", shared, folded=len(shared) > 8),
        Section("Settings that differ", apart, folded=True),
        Section(f"The {len(rows)} runs", _legible(shown_runs(runs, rows)), folded=True),
    ]
    return standalone.document(title, comparison.verdict(rows, word), charts, sections)


def _legible(runs: pd.DataFrame) -> pd.DataFrame:
    """The list of runs with its numbers as a person reads them."""
    forms = {
        "Test accuracy": "{:.2f} %",
        "Training time": "{:.1f} s",
        "Epochs": "{:.3g}",
        "Started": "{:%d %B %Y, %H:%M}",
    }
    shown = runs.astype(object)
    for name, form in forms.items():
        shown[name] = ["–" if pd.isna(value) else form.format(value) for value in runs[name]]
    return shown
