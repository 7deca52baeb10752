"""An experiment as a file: what the fields say, to take along, and one that somebody brings, to start from."""

import re
from collections import Counter
from collections.abc import Callable

import streamlit as st

from app import services
from app.controls import plain_text
from core.config import ConfigError
from core.data import DataError
from core.runs import StoreError
from core.sweep import Experiment, ExperimentError, from_yaml, to_yaml

EXAMPLE = "techniques: [none, standard]\np: [0.2, 0.5]\nseeds: 0-4\nepochs: 30"
LARGEST_FILE = 1  # MB
WORDS = {"start": "to start", "resume": "to go on with", "keep": "there already"}

StartButton = Callable[[Experiment | None, str], None]


def experiment_file(experiment: Experiment | None, start_button: StartButton) -> None:
    """``experiment`` as YAML to download; below it a file or text from which another one can be started."""
    st.caption("What is chosen above, as `python -m core sweep` reads it.")
    if experiment and experiment.size:
        text = to_yaml(experiment)
        st.code(text, language="yaml", wrap_lines=True)
        name = re.sub(r"[^\w-]+", "-", experiment.name).strip("-") or "experiment"
        st.download_button("Download", text, f"{name}.yaml", "application/yaml", on_click="ignore", key="spec-save")
    st.file_uploader(
        "Open a file", ["yaml", "yml"], key="spec-file", on_change=_fill_in, max_upload_size=LARGEST_FILE,
        help="It is started as it is: the fields above stay as they are.",
    )  # fmt: skip
    given = st.text_area("Or write one", key="spec", placeholder=EXAMPLE, height=160)
    if given.strip():
        _offer(given, start_button)


def _fill_in() -> None:
    """Put the file that was opened into the field for text."""
    file = st.session_state["spec-file"]
    if file is not None:
        # What is no UTF-8 shows as such, and is refused in a sentence that names its line.
        st.session_state["spec"] = file.getvalue().decode("utf-8-sig", errors="replace")


def _offer(text: str, start_button: StartButton) -> None:
    """Say what an experiment is made of, or what is wrong with it, with a button that starts it."""
    try:
        experiment = from_yaml(text)
        st.caption(plain_text(_summary(experiment)))
    except (ConfigError, DataError, ExperimentError, StoreError) as error:
        st.error(plain_text(error), icon=":material/error:")
        return
    start_button(experiment, "start-spec")


def _summary(experiment: Experiment) -> str:
    number = experiment.size
    words = [experiment.name] if experiment.name else []
    words.append("1 run" if number == 1 else f"{number:,} runs")
    # Looking for the runs that there are looks for the folder of images too, which is not everybody's business.
    if experiment.name and services.may_change():
        counts = Counter(each.action for each in services.planned(experiment))
        words += [f"{counts[action]} {what}" for action, what in WORDS.items() if counts[action]]
    return " · ".join(words)
