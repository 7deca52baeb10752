"""What leaves Compare as a file. Each is made when it is asked for: of a thousand runs that takes a while."""

from collections.abc import Callable
from functools import partial

import pandas as pd
import streamlit as st

from core import report


def download(frame: pd.DataFrame, label: str, name: str) -> None:
    """A button for a table as CSV."""
    offer(partial(report.csv, frame), label, name, "text/csv")


def offer(content: Callable[[], str], label: str, name: str, kind: str) -> None:
    """A button for a file that ``content`` makes."""
    st.download_button(label, content, name, kind, on_click="ignore", key=name)
