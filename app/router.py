"""Navigation, and what all pages share."""

from pathlib import Path

import streamlit as st

from app.admission import admission
from app.components.theme_menu import name_theme_menu
from app.services import guard, tell_of_damage

HERE = Path(__file__).parent
# Streamlit draws its menu, in which the theme is chosen, only for a page that has something of its own to put there.
ABOUT = """**Dropscope** shows what dropout does: which neurons fall, how training goes on without them, and what is
left of the answer. Everything is computed on the machine that serves this page."""

page = st.navigation(
    [
        st.Page(HERE / "app_pages" / "explore.py", title="Explore", default=True),
        st.Page(HERE / "app_pages" / "covariance.py", title="Covariance"),
        st.Page(HERE / "app_pages" / "train.py", title="Train"),
        st.Page(HERE / "app_pages" / "compare.py", title="Compare"),
        st.Page(HERE / "app_pages" / "lessons.py", title="Lessons"),
        st.Page(HERE / "app_pages" / "paper.py", title="Paper"),
    ],
    position="top",
)
st.set_page_config(
    page_title=f"{page.title} · Dropscope",
    page_icon=str(HERE / "icon.svg"),
    layout="wide",
    menu_items={"About": ABOUT},
)
st.logo(str(HERE / "logo.svg"), size="large")
st.html(HERE / "style.css")
admission()
name_theme_menu()
with guard():
    tell_of_damage()
    page.run()
