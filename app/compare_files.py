"""What leaves Compare as a file."""

from collections.abc import Callable

import pandas as pd
import streamlit as st

from core import report


def download(frame: pd.DataFrame, label: str, name: str) -> None:
    """A button for a table as CSV."""
    offer(report.csv(frame), label, name, "text/csv")


def offer(content: str | Callable[[], str], label: str, name: str, kind: str) -> None:
    """A button for a file; one that is made by a function is made when it is pressed."""
    st.download_button(label, content, name, kind, on_click="ignore", key=name)
