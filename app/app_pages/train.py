"""Train: choose, start, and watch the curves move."""

import streamlit as st

from app import services
from app.experiment_controls import experiment_controls
from app.watching import watch


def page() -> None:
    services.expect_start()
    st.title("Train", anchor=False)
    st.html(
        '<p class="ds-lead">Train one network with several kinds of dropout and watch them learn side by side. '
        'Runs go on when this tab is closed. <a class="ds-narrow-only" href="#next-runs">Choose the next runs</a></p>'
    )
    warnings = st.container()
    left, right = st.columns([3, 8], gap="large")
    with left, services.guard():
        st.html('<span id="next-runs"></span>')
        experiment_controls(warnings)
    with right:
        watch()


page()
