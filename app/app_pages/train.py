"""Train: choose, start, and watch the curves move."""

from typing import Any

import streamlit as st

from app import services
from app.controls import Choice, Choices, Control, Number, Switch, Text, address, notices, warn
from app.experiment import FOLDER, Experiment
from app.names import techniques
from app.options import option_controls, technique_options
from app.watching import watch
from core.config import Config
from core.data import DATASETS
from core.dropout import TECHNIQUES
from core.dropout.schedules import SCHEDULES
from models import NETWORKS

TITLES = techniques()
DEFAULTS = Config()


def page() -> None:
    services.expect_start()
    st.title("Train", anchor=False)
    st.html('<p class="ds-lead">Train one network with several kinds of dropout and watch them learn side by side. '
            "Runs go on when this tab is closed.</p>")  # fmt: skip
    warnings = st.container()
    left, right = st.columns([3, 8], gap="large")
    with left, services.guard():
        settings(warnings)
    with right:
        watch()


def settings(warnings: Any) -> None:
    """The column of choices, and Start."""
    main = main_controls()
    rare = rare_controls()
    with warnings:
        warn(notices(address(), [*main, *rare, *option_controls(TECHNIQUES)]))

    values = {control.key: draw(control) for control in main[:1]}
    folder = values["data"] == FOLDER
    if folder:
        values["folder"] = draw(FOLDER_PATH)
    elif not DATASETS[values["data"]].available():
        st.caption("Not on this machine yet: the first run downloads it, which needs the internet.")
    values["technique"] = draw(main[1])
    values["p"] = draw(main[2])
    for place, control in zip(st.columns(2, wrap=False), main[3:], strict=True):
        with place:
            values[control.key] = draw(control)

    button = st.container()
    with st.expander("More settings"):
        values |= {control.key: draw(control) for control in rare}
        knobs = {name: technique_options(name) for name in values["technique"] if name in TECHNIQUES}
    experiment = Experiment(
        dataset=values["folder"] if folder else values["data"],
        techniques=values["technique"],
        first_seed=values["seed"],
        repeats=values["repeats"],
        knobs=knobs,
        shared={key: values[key] for key in ("p", "epochs", *(control.key for control in rare[1:]))},
    )
    with button:
        start(experiment)


def start(experiment: Experiment) -> None:
    """The one button; what it starts is kept in the address, so that a reload shows it again."""
    number = len(experiment.techniques) * experiment.repeats
    label = "Choose a technique" if not number else "Start" if number == 1 else f"Start {number} runs"
    if st.button(label, type="primary", width="stretch", disabled=not number, key="start"):
        ids = services.start(experiment.configs())
        st.query_params["run"] = ids
        st.session_state["started"] = ids[0]


def main_controls() -> list[Control]:
    data = {**{name: info.title for name, info in DATASETS.items()}, FOLDER: "A folder of images"}
    chosen = st.session_state.get("data", DEFAULTS.dataset)
    return [
        Choice("data", "Data", data, DEFAULTS.dataset),
        Choices("technique", "Techniques", TITLES, ("standard", "dropcorr")),
        Number("p", "Drop probability p", None, 0.0, 1.0, 0.05, "%.2f", optional=True, placeholder=own_p(chosen),
               help="The probability of dropping a unit, at every dropout layer. Empty: the values that the network "
                    "was designed with, one for each of its layers."),
        Number("epochs", "Epochs", 30, 1, 10_000, integer=True,
               help="How many times the network sees every training image."),
        Number("repeats", "Repeats", 1, 1, 50, integer=True,
               help="How often each technique is trained, each time with the next seed. Three allow a ranking."),
    ]  # fmt: skip


FOLDER_PATH = Text(
    "folder", "Folder", placeholder="/path/to/images",
    help="A folder on this machine that holds one folder of images for each class, or train and test folders of these.",
)  # fmt: skip


def rare_controls() -> list[Control]:
    networks = {"auto": "Fitting the data", **{name: cls.title for name, cls in NETWORKS.items()}}
    return [
        Number("seed", "First seed", DEFAULTS.seed, 0, 1_000_000, integer=True,
               help="The same seed gives every technique the same initial weights and the same order of images."),
        Choice("network", "Network", networks, DEFAULTS.network),
        Number("width", "Width", DEFAULTS.width, 0.05, 4.0, 0.05, "%.2f",
               help="The number of units in every layer relative to the paper's network."),
        Number("lr", "Learning rate", DEFAULTS.lr, 1e-6, 1.0, 1e-4, "%.5f"),
        Number("batch_size", "Batch size", DEFAULTS.batch_size, 1, 10_000, integer=True),
        Number("weight_decay", "Weight decay", DEFAULTS.weight_decay, 0.0, 1.0, 1e-4, "%.5f"),
        Choice("schedule", "Schedule of p", {name: name for name in SCHEDULES}, DEFAULTS.schedule,
               help="How p changes from epoch to epoch."),
        Choice("precision", "Precision", {"fp32": "32 bit", "bf16": "bfloat16"}, DEFAULTS.precision),
        Number("early_stop", "Stop early after", None, 1, 10_000, integer=True, optional=True, placeholder="never",
               help="Epochs without a lower validation loss after which a run ends. It then has the weights of the "
                    "epoch with the lowest one."),
        Number("time_budget", "Seconds of training", None, 1.0, 1_000_000.0, 10.0, "%.0f", optional=True,
               placeholder="no limit", help="A run ends after so much time of training, evaluation not counted."),
        Switch("snapshots", "Keep snapshots", DEFAULTS.snapshots,
               help="What 200 training images make of every dropout layer, kept at each epoch: Covariance then shows "
                    "how it moves."),
    ]  # fmt: skip


def own_p(dataset: str) -> str:
    """The drop probabilities that the network of a data set was designed with, as shown in the empty field."""
    network = NETWORKS.get(dataset)
    return "the network's own" + ("" if network is None else ": " + ", ".join(f"{p:g}" for p in network.default_p))


def draw(control: Control) -> Any:
    return control.draw()


page()
