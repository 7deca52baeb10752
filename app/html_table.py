"""A table as HTML: one that is wider than the screen is moved sideways, by keys too, which Streamlit's own is not."""

from html import escape

import pandas as pd

from core.runs.schema import plain_name


def html_table(frame: pd.DataFrame, label: str = "Table") -> str:
    """All of ``frame`` but its index; whatever it holds is shown as text. ``label`` is said by screen readers."""
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in frame.columns)
    rows = (
        "".join(f"<td>{'' if pd.isna(cell) else text(cell)}</td>" for cell in row)
        for row in frame.itertuples(index=False, name=None)
    )
    body = "\n".join(f"<tr>{cells}</tr>" for cells in rows)
    whole = f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"
    return f'<div class="ds-table" role="region" aria-label="{text(label)}" tabindex="0">{whole}</div>'


def text(value: object) -> str:
    """Text safe in HTML, on one line and without what turns the direction of writing."""
    return escape(plain_name(str(value)))
