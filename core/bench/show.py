"""What a benchmark found, as a table for a terminal, JSON lines, or a page to open in a browser."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from core.bench.budgets import Verdict
from core.bench.results import Agreement, Amount, Finding, Growth, Paired, Result


def as_row(finding: Finding) -> tuple[str, ...]:
    """A finding as cells: what, where, time, ratio, interval, memory."""
    if isinstance(finding, Growth):
        sizes = f"{finding.over} {finding.low:,}–{finding.high:,}"
        return finding.case, sizes, "", f"time ∝ {finding.over}^{finding.exponent:.2f}", "", ""
    if isinstance(finding, Agreement):
        return finding.case, where(finding), "", f"within {finding.largest:.1g} of {finding.against}", "", ""
    if isinstance(finding, Amount):
        value, low, high = (quantity(v, finding.unit) for v in (finding.value, finding.low, finding.high))
        return finding.case, where(finding), value, "", f"{low} to {high}", ""
    if isinstance(finding, Paired):
        base = f"{100 * finding.base:.2f} ± {100 * finding.spread:.2f} %"
        change = f"{100 * finding.difference:+.2f} points of {base} with {finding.against}"
        return finding.case, where(finding), "", change, f"{100 * finding.low:+.2f} to {100 * finding.high:+.2f}", ""
    peak = "" if finding.peak_bytes is None else f"{finding.peak_bytes / 1e6:.2f} MB"
    interval = f"{times(finding.low)} to {times(finding.high)}"
    return finding.case, where(finding), duration(finding.seconds), times(finding.ratio), interval, peak


UNITS = ("MB", "a second")
HEADER = ("what", "where", "time", "ratio", "95 %", "memory")


def verdict_row(verdict: Verdict) -> tuple[str, ...]:
    """A verdict as cells: budget, limit, measured, interval, met."""
    sign = "≥" if verdict.budget.at_least else "≤"
    limit, measured, low, high = (
        "" if value is None else quantity(value, verdict.budget.against)
        for value in (verdict.budget.limit, verdict.measured, verdict.low, verdict.high)
    )
    said = {True: "met", False: "not met", None: "not measured"}[verdict.met]
    return verdict.budget.what, f"{sign} {limit}", measured, f"{low} to {high}" if low else "", said


VERDICT_HEADER = ("budget", "limit", "measured", "95 %", "")


def as_json(finding: Finding | Verdict) -> dict[str, Any]:
    """As plain values, with ``kind``: "result", "growth", "agreement", "amount" or "budget"."""
    if isinstance(finding, Verdict):
        values = asdict(finding.budget) | {"measured": finding.measured, "low": finding.low, "high": finding.high}
        return {"kind": "budget", **values, "met": finding.met}
    return {"kind": type(finding).__name__.lower(), **asdict(finding)}


def where(result: Result | Agreement | Amount | Paired) -> str:
    """Sizes and device, in words."""
    return ", ".join(
        f"{key} {value:,}" if isinstance(value, int) else str(value) for key, value in result.where.items()
    )


def duration(seconds: float) -> str:
    """A time with the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= 0.9995 * size:  # what three digits round up to it
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def quantity(value: float, unit: str) -> str:
    """A number as its unit is read; what is no unit is what a ratio was taken to."""
    if unit == "s":
        return duration(value)
    if unit == "cores":
        return f"{value:.1%} of a core".replace("%", " %")
    return f"{value:.3g} {unit}" if unit in UNITS else times(value)


def times(ratio: float) -> str:
    """A ratio with three digits."""
    return f"{ratio:.0f}×" if ratio >= 100 else f"{ratio:.3g}×"


def write_page(path: Path, findings: Sequence[Finding], judged: Sequence[Verdict], about: Mapping[str, Any]) -> None:
    """One HTML file that opens without a network: the budgets, the ratios over N, and every result."""
    here = files("core.bench").joinpath("page.html").read_text(encoding="utf-8")
    page = Template(here).substitute(
        about=html.escape(", ".join(f"{key} {value}" for key, value in about.items() if value)),
        budgets=_table([VERDICT_HEADER, *map(verdict_row, judged)]),
        results=_table([HEADER, *map(as_row, findings)]),
        plotly=files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8"),
        figure=json.dumps(_figure(findings)).replace("<", "\\u003c"),
    )
    path.write_text(page, encoding="utf-8")


def _table(rows: Sequence[Sequence[str]]) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return "<table>" + row(rows[0], "th") + "".join(row(cells, "td") for cells in rows[1:]) + "</table>"


def _figure(findings: Sequence[Finding]) -> dict[str, Any]:
    """Ratio over N, a line a layer, as plotly.js takes it."""
    lines: dict[str, list[tuple[int, float]]] = {}
    for finding in findings:
        if isinstance(finding, Result) and finding.against == "nn.Dropout" and finding.where.get("B") == 100:
            lines.setdefault(finding.case, []).append((finding.where["N"], finding.ratio))
    data = []
    for case, points in lines.items():
        sizes, ratios = zip(*sorted(points), strict=True)
        data.append({"type": "scatter", "mode": "lines+markers", "name": case, "x": sizes, "y": ratios})
    axes = {
        "xaxis": {"type": "log", "title": {"text": "N, units"}},
        "yaxis": {"type": "log", "title": {"text": "ratio"}},
    }
    return {"data": data, "layout": axes}
