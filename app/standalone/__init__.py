"""One HTML file that opens anywhere, without a network: figures that can be zoomed and saved, tables, words."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from string import Template

import pandas as pd

from app.charts import Chart
from app.components import script, stylesheet
from app.components.plot import figure_data
from app.html_table import html_table, text

_HERE = Path(__file__).parent
_PLOT = _HERE.parent / "components" / "plot"


@dataclass(frozen=True)
class Section:
    """A heading, a table and notes; ``folded`` away where it is long."""

    title: str
    table: pd.DataFrame | None = None
    notes: Sequence[str] = ()
    folded: bool = False


def document(title: str, lead: str, charts: Sequence[Chart], sections: Sequence[Section]) -> str:
    """The file. All text is shown as text, whatever it holds; the file may run only its own scripts and load nothing.

    plotly.js is inside, so it has some 5 MB.
    """
    data = json.dumps([figure_data(chart) for chart in charts])
    return Template((_HERE / "page.html").read_text(encoding="utf-8")).substitute(
        nonce=secrets.token_urlsafe(16),
        title=text(title),
        when=text(f"Made with Dropscope on {datetime.now().strftime('%d %B %Y, %H:%M')}."),
        lead=text(lead),
        style=f"{(_HERE / 'style.css').read_text(encoding='utf-8')}\n{stylesheet(_PLOT)}",
        figures="\n".join('<figure class="ds-figure"></figure>' for _ in charts),
        sections="\n".join(map(_section, sections)),
        # A figure holds names, and "</script>" in one would end the data.
        data=data.replace("<", "\\u003c"),
        plotly=_inside(files("plotly").joinpath("package_data", "plotly.min.js").read_text(encoding="utf-8")),
        script=_inside(f"{script(_PLOT)}\n{(_HERE / 'script.js').read_text(encoding='utf-8')}"),
    )


def _section(section: Section) -> str:
    body = "" if section.table is None else html_table(section.table, section.title)
    body += "".join(f'\n<p class="note">{text(note)}</p>' for note in section.notes if note)
    if section.folded:
        return f"<details>\n<summary>{text(section.title)}</summary>\n{body}\n</details>"
    return f"<h2>{text(section.title)}</h2>\n{body}"


def _inside(code: str) -> str:
    """A script that may stand within a page's script element."""
    return code.replace("</script", "<\\/script")
