"""Navigation, and what all pages share."""

from pathlib import Path

import streamlit as st

from app.admission import admission
from app.services import guard, tell_of_damage

HERE = Path(__file__).parent

page = st.navigation(
    [
        st.Page(HERE / "app_pages" / "explore.py", title="Explore", default=True),
        st.Page(HERE / "app_pages" / "covariance.py", title="Covariance"),
        st.Page(HERE / "app_pages" / "train.py", title="Train"),
        st.Page(HERE / "app_pages" / "compare.py", title="Compare"),
        st.Page(HERE / "app_pages" / "paper.py", title="Paper"),
    ],
    position="top",
)
st.set_page_config(page_title=f"{page.title} · Dropscope", page_icon=str(HERE / "icon.svg"), layout="wide")
st.logo(str(HERE / "logo.svg"), size="large")
st.html(HERE / "style.css")
admission()
with guard():
    tell_of_damage()
    page.run()
