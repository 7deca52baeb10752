"""A comparison as CSV, LaTeX and JSON."""

import csv
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest

from core import baseline, comparison, report

EVIL = r"a_b & 50% #1 $x$ {y} \input{z} ~^<|>"


def table(pinned: str = "none") -> tuple[pd.DataFrame, pd.DataFrame]:
    scores = {"none": [0.90, 0.91, 0.92, 0.93], "dropcorr": [0.95, 0.955, 0.975, 0.98], EVIL: [0.94, 0.95]}
    parts = [
        {"variant": name, "technique": name, "seed": seed, "test_accuracy": value}
        for name, values in scores.items()
        for seed, value in enumerate(values)
    ]
    rows = pd.DataFrame(parts).assign(train_seconds=4.0, seconds_per_epoch=2.0)
    return comparison.summary(rows), baseline.against(rows, pinned)


def test_the_latex_table_has_a_row_a_technique_with_spread_n_and_the_difference() -> None:
    text = report.latex(*table(), "none", "digits · 100 %")
    rows = [line.strip() for line in text.splitlines() if line.strip().endswith(r"\\")]
    assert rows[1].startswith(r"dropcorr & 4 & 96.50 $\pm$ 1.47 & $+5.00$ [$")
    assert rows[3] == r"none & 4 & 91.50 $\pm$ 1.29 & baseline & -- & 1.00 \\"
    assert rows[2].endswith(r"2 & 94.50 $\pm$ 0.71 & $+4.00$ & -- & 1.00 \\")
    assert r"\caption{digits \textperiodcentered{} 100 \%" in text
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert all(len(re.findall(r"(?<!\\)&", row)) == 5 for row in rows)


def test_names_are_no_commands() -> None:
    text = report.latex(*table(), EVIL, EVIL)
    assert r"\input{" not in text
    assert r"a\_b \& 50\% \#1 \$x\$ \{y\} \textbackslash{}input\{z\}" in text
    assert re.sub(r"\\[{}]", "", text).count("{") == re.sub(r"\\[{}]", "", text).count("}")


def test_latex_compiles_where_it_is_installed(tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("pdflatex is not installed")
    body = report.latex(*table(), EVIL, EVIL)
    source = rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{body}\end{{document}}"
    (tmp_path / "t.tex").write_text(source, encoding="utf-8")
    made = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"], cwd=tmp_path, check=False
    )
    assert made.returncode == 0


def test_json_holds_what_the_table_holds_and_null_where_nothing_is_known() -> None:
    summary, tests = table()
    curves = pd.DataFrame({"variant": ["none"], "epoch": [1], "mean": [0.5], "sd": [0.0], "n": [1]})
    content = json.loads(report.as_json(summary, tests, "none", curves, ["a", "b"]))
    found = {row["variant"]: row for row in content["techniques"]}
    assert found["dropcorr"]["difference"] == pytest.approx(0.05)
    assert found["dropcorr"]["p_value"] == pytest.approx(tests.set_index("variant").loc["dropcorr", "p_value"])
    assert found["none"]["difference"] is None
    assert found[EVIL]["low"] is None
    assert found[EVIL]["n"] == 2
    assert (content["baseline"], content["comparisons"], content["runs"]) == ("none", 1, ["a", "b"])
    assert content["curves"] == [{"variant": "none", "epoch": 1, "mean": 0.5, "sd": 0.0, "n": 1}]


def test_no_cell_of_a_csv_is_a_formula_and_all_else_is_as_it_was() -> None:
    evil = ["=1+1", "+1", "-1", "@A1", "\t=1", "\r=1", "\n=1"]
    frame = pd.DataFrame({"=name": [*evil, 'a, "b"'], "n": [-1.5, *range(7)], "none": [None, "x"] * 4})
    rows = list(csv.reader(io.StringIO(report.csv(frame), newline="")))
    assert rows[0] == ["'=name", "n", "none"]
    assert [row[0] for row in rows[1:]] == [*("'" + cell.replace("\r", " ") for cell in evil), 'a, "b"']
    assert [row[1:] for row in rows[1:3]] == [["-1.5", ""], ["0.0", "x"]]
    assert report.csv(frame[["n"]]).startswith("n\n-1.5\n")
    assert report.csv(pd.DataFrame()) == ""
