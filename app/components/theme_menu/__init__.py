"""Gives the moon in the header, which opens Streamlit's menu of the theme, the name of what it does."""

from pathlib import Path

import streamlit as st

from app.components import script

NAME = "Light or dark"

_render = st.components.v2.component(
    "dropscope_theme_menu",
    html='<span class="ds-theme-menu"></span>',
    js=script(Path(__file__).parent),
    isolate_styles=False,
)


def name_theme_menu() -> None:
    """Mount it, once on a page; it takes no room."""
    with st.container(key="theme-menu"):
        _render(key="theme-menu-name", data={"name": NAME})


__all__ = ["NAME", "name_theme_menu"]
