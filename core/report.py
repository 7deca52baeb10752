"""A comparison as files for others: CSV for a spreadsheet, LaTeX for a paper, JSON for a program.

The last two take ``core.comparison.summary`` and the differences of ``core.baseline.against``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from core import baseline
from core.runs.schema import plain_name

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "·": r"\textperiodcentered{}", "×": r"$\times$",
}  # fmt: skip


def csv(frame: pd.DataFrame) -> str:
    """A table as CSV without its index, in which no cell is a formula to the spreadsheet that opens it.

    Text that begins as a formula does, blanks aside, gets an apostrophe before it; numbers stay as they are.
    """
    safe = frame.rename(columns=_no_formula)
    text = [place for place, kind in enumerate(safe.dtypes) if not pd.api.types.is_numeric_dtype(kind)]
    parts = {place: safe.iloc[:, place].map(_no_formula) for place in text}
    columns = [parts.get(place, safe.iloc[:, place]) for place in range(safe.shape[1])]
    return str(pd.concat(columns, axis=1).to_csv(index=False)) if columns else ""


def latex(summary: pd.DataFrame, tests: pd.DataFrame, pinned: str, caption: str) -> str:
    """A table for ``\\usepackage{booktabs}``: n, accuracy ± sd in %, paired difference in points, p, relative time.

    Names and ``caption`` are text, not LaTeX: what LaTeX would read as a command is escaped.
    """
    rows = [_latex_row(row, pinned) for row in summary.merge(tests, how="left", on="variant").to_dict("records")]
    head = ["Technique", "$n$", r"Test accuracy (\%)", f"Difference to {_escaped(pinned)}", "$p$", "Relative time"]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{_escaped(caption)} {_latex_note(tests)}}}",
            r"  \begin{tabular}{lrlllr}",
            r"    \toprule",
            *(f"    {' & '.join(cells)} \\\\" for cells in [head]),
            r"    \midrule",
            *(f"    {' & '.join(cells)} \\\\" for cells in rows),
            r"    \bottomrule",
            r"  \end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def as_json(
    summary: pd.DataFrame, tests: pd.DataFrame, pinned: str, curves: pd.DataFrame, run_ids: Sequence[str]
) -> str:
    """Runs, baseline, a technique a row with its difference, and the curves; what is missing is null.

    Accuracies and differences are shares of 1, times seconds.
    """
    merged = summary.merge(tests, how="left", on="variant")
    content = {
        "baseline": pinned,
        "comparisons": baseline.judged(tests),
        "techniques": [_plain(row) for row in merged.to_dict("records")],
        "curves": [_plain(row) for row in curves.to_dict("records")],
        "runs": list(run_ids),
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1)


def _no_formula(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    # A lone carriage return would begin another row, whose first cell nobody has looked at.
    line = cell.replace("\r", " ")
    return f"'{line}" if line.lstrip().startswith(("=", "+", "-", "@")) else line


def _latex_row(row: dict[Any, Any], pinned: str) -> list[str]:
    return [
        _escaped(row["variant"]),
        str(row["n"]),
        _number(100 * row["accuracy"], 2) + ("" if _missing(row["accuracy_sd"]) else _around(100 * row["accuracy_sd"])),
        "baseline" if row["variant"] == pinned else _interval(row),
        "--" if _missing(row["p_value"]) else "$< 0.001$" if row["p_value"] < 0.001 else f"{row['p_value']:.3f}",
        _number(row["ratio"], 2),
    ]


def _latex_note(tests: pd.DataFrame) -> str:
    number = baseline.judged(tests)
    if not number:
        return r"Mean $\pm$ sd over $n$ seeds; difference in percentage points, paired by seed."
    how = "" if number == 1 else f", Holm-corrected for {number} comparisons"
    held = r"95\,\% confidence interval" if number == 1 else r"intervals holding all at once with 95\,\%"
    return (
        rf"Mean $\pm$ sd over $n$ seeds; difference in percentage points, paired by seed, with {held}; "
        f"$p$ of paired $t$ tests{how}."
    )


def _interval(row: dict[Any, Any]) -> str:
    if _missing(row["difference"]):
        return "--"
    mean = f"${100 * row['difference']:+.2f}$"
    return mean if _missing(row["low"]) else f"{mean} [${100 * row['low']:+.2f}$, ${100 * row['high']:+.2f}$]"


def _number(value: float, digits: int) -> str:
    return "--" if _missing(value) else f"{value:.{digits}f}"


def _around(sd: float) -> str:
    return rf" $\pm$ {sd:.2f}"


def _escaped(text: object) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(plain_name(str(text)).split()))


def _plain(row: dict[Any, Any]) -> dict[str, Any]:
    return {str(key): None if _missing(value) else value for key, value in row.items()}


def _missing(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
