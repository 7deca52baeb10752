"""What a benchmark found, as a table for a terminal, JSON lines, or a page to open in a browser."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from core.bench.budgets import Finding, Verdict
from core.bench.results import Growth, Result


def as_row(finding: Finding) -> tuple[str, ...]:
    """A finding as cells: what, where, time, ratio, interval, memory."""
    if isinstance(finding, Growth):
        sizes = f"{finding.over} {finding.low:,}–{finding.high:,}"
        return finding.case, sizes, "", f"time ∝ {finding.over}^{finding.exponent:.2f}", "", ""
    peak = "" if finding.peak_bytes is None else f"{finding.peak_bytes / 1e6:.2f} MB"
    interval = f"{times(finding.low)} to {times(finding.high)}"
    return finding.case, where(finding), duration(finding.seconds), times(finding.ratio), interval, peak


HEADER = ("what", "where", "time", "ratio", "95 %", "memory")


def verdict_row(verdict: Verdict) -> tuple[str, ...]:
    """A verdict as cells: budget, limit, measured, interval, met."""
    sign = "≥" if verdict.budget.at_least else "≤"
    measured = "" if verdict.measured is None else times(verdict.measured)
    interval = "" if verdict.low is None or verdict.high is None else f"{times(verdict.low)} to {times(verdict.high)}"
    said = {True: "met", False: "not met", None: "not measured"}[verdict.met]
    return verdict.budget.what, f"{sign} {times(verdict.budget.limit)}", measured, interval, said


VERDICT_HEADER = ("budget", "limit", "measured", "95 %", "")


def as_json(finding: Finding | Verdict) -> dict[str, Any]:
    """As plain values, with ``kind``: "result", "growth" or "budget"."""
    if isinstance(finding, Verdict):
        values = asdict(finding.budget) | {"measured": finding.measured, "low": finding.low, "high": finding.high}
        return {"kind": "budget", **values, "met": finding.met}
    return {"kind": type(finding).__name__.lower(), **asdict(finding)}


def where(result: Result) -> str:
    """Sizes and device, in words."""
    return ", ".join(
        f"{key} {value:,}" if isinstance(value, int) else str(value) for key, value in result.where.items()
    )


def duration(seconds: float) -> str:
    """A time with the unit that suits it."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def times(ratio: float) -> str:
    """A ratio with three digits."""
    return f"{ratio:.0f}×" if ratio >= 100 else f"{ratio:.3g}×"


def write_page(path: Path, findings: Sequence[Finding], judged: Sequence[Verdict], about: dict[str, Any]) -> None:
    """One HTML file that opens without a network: the budgets, and ratios over sizes."""
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=1, specs=[[{"type": "table"}], [{"type": "xy"}]], row_heights=[0.45, 0.55])
    columns = list(zip(*(verdict_row(v) for v in judged), strict=True)) or [()] * len(VERDICT_HEADER)
    figure.add_trace(go.Table(header={"values": VERDICT_HEADER}, cells={"values": columns}), row=1, col=1)
    for case, points in _over_units(findings).items():
        sizes, ratios = zip(*sorted(points), strict=True)
        figure.add_trace(go.Scatter(x=sizes, y=ratios, name=case, mode="lines+markers"), row=2, col=1)
    title = "Time against nn.Dropout: " + ", ".join(f"{key} {value}" for key, value in about.items() if value)
    figure.update_xaxes(type="log", title="N, units", row=2, col=1)
    figure.update_yaxes(type="log", title="ratio", row=2, col=1)
    figure.update_layout(title=title, height=1000)
    figure.write_html(path, include_plotlyjs=True)


def _over_units(findings: Sequence[Finding]) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for finding in findings:
        if isinstance(finding, Result) and finding.against == "nn.Dropout" and finding.where.get("B") == 100:
            found.setdefault(finding.case, []).append((finding.where["N"], finding.ratio))
    return found
