"""The settings half of Train: an experiment from fields, and its one button."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from app import services
from app.controls import Choice, Choices, Control, Number, Switch, Text, address, misfits, plain_text, warn
from app.experiment_file import experiment_file
from app.names import techniques
from app.options import option_controls, technique_options
from app.watching import PART
from core.config import Config
from core.data import DATASETS
from core.dropout import TECHNIQUES
from core.dropout.schedules import SCHEDULES
from core.sweep import Experiment, ExperimentError, probabilities
from core.sweep.experiment import LONGEST_NAME
from models import NETWORKS

DEFAULTS = Config()
FOLDER = "folder"
# An address that names more runs than this is longer than some programs take.
MOST_NAMED = 500


def experiment_controls(warnings: Any) -> None:
    """The column of choices, and Start; what is wrong in the address is said in ``warnings``."""
    main, rare = main_controls(), rare_controls()
    with warnings:
        warn(misfits(address(), [*main, *rare, *option_controls(TECHNIQUES)]))

    values = chosen_data(main[0])
    values["technique"] = main[1].draw()
    p = chosen_p(main[2])
    for place, control in zip(st.columns(2, wrap=False), main[3:], strict=True):
        with place:
            values[control.key] = control.draw()
    button = st.container()
    with st.expander("More settings"):
        values |= {control.key: control.draw() for control in rare}
        knobs = {name: technique_options(name) for name in values["technique"] if name in TECHNIQUES}
    experiment = None if p is None else described(values, p, knobs)
    with button:
        start_button(experiment, "start")
    with st.expander("As a file"):
        experiment_file(experiment, start_button)


def chosen_data(control: Control) -> dict[str, Any]:
    """The data set as a value of a config, under "dataset"."""
    name = control.draw()
    if name == FOLDER:
        return {"dataset": FOLDER_PATH.draw()}
    if not DATASETS[name].available():
        st.caption("Not on this machine yet: the first run downloads it, which needs the internet.")
    return {"dataset": name}


def chosen_p(control: Control) -> Sequence[Any] | None:
    """The values of p to train with; None, and a sentence, where the text has none."""
    try:
        return probabilities(control.draw())
    except ExperimentError as error:
        st.error(plain_text(error), icon=":material/error:")
        return None


def described(values: dict[str, Any], p: Sequence[Any], knobs: dict[str, dict[str, Any]]) -> Experiment:
    """The experiment in the values of the fields; settings that are as in the paper are left out."""
    axes = ("name", "dataset", "technique", "network", "seed", "repeats")
    settings = {key: value for key, value in values.items() if key not in axes}
    return Experiment(
        name=values["name"],
        dataset=values["dataset"],
        networks=tuple(values["network"]),
        techniques=tuple(values["technique"]),
        p=tuple(p),
        seeds=tuple(range(values["seed"], values["seed"] + values["repeats"])),
        settings={key: value for key, value in settings.items() if value != getattr(DEFAULTS, key)},
        knobs={name: given for name, given in knobs.items() if given},
    )


def start_button(experiment: Experiment | None, key: str) -> None:
    """Start an experiment; what it starts is kept in the address, so that a reload shows it again."""
    number = experiment.size if experiment else 0
    label = "Start" if number == 1 else f"Start {number:,} runs"
    if experiment and not number:
        label = "Choose a network" if experiment.techniques else "Choose a technique"
    elif not experiment:
        label = "Start"
    able = bool(number) and services.may_change()
    if st.button(label, type="primary", width="stretch", disabled=not able, key=key) and experiment:
        ids = services.start(experiment)
        st.query_params["run"] = ids[:MOST_NAMED]
        # What was chosen of other runs.
        st.session_state.pop(PART, None)
        st.query_params.pop(PART, None)
        st.session_state["started"] = ids[0]
    if number and not able:
        st.caption("Starting runs needs the access code: enter it at the top of the page.")


def main_controls() -> list[Control]:
    data = {**{name: info.title for name, info in DATASETS.items()}, FOLDER: "A folder of images"}
    chosen = st.session_state.get("data", DEFAULTS.dataset)
    return [
        Choice("data", "Data", data, DEFAULTS.dataset),
        Choices("technique", "Techniques", techniques(), ("standard", "dropcorr")),
        Text("p", "Drop probability p", placeholder=own_p(chosen),
             help="The probability of dropping a unit, at every dropout layer. Several, as 0.2, 0.5, are each trained; "
                  "in brackets, as [0.1, 0.3], there is one for each layer. Empty: the values that the network was "
                  "designed with."),
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
        Text("name", "Name of the experiment", placeholder="none", most=LONGEST_NAME,
             help="Starting an experiment of the same name again goes on with it: runs that it has are kept, those "
                  "that ended early are resumed, missing ones start. Without a name every start is new."),
        Number("seed", "First seed", DEFAULTS.seed, 0, 1_000_000, integer=True,
               help="The same seed gives every technique the same initial weights and the same order of images."),
        Choices("network", "Networks", networks, (DEFAULTS.network,)),
        Number("width", "Width", DEFAULTS.width, 0.05, 4.0, 0.05, "%.2f",
               help="The number of units in every layer relative to the paper's network."),
        Number("lr", "Learning rate", DEFAULTS.lr, 1e-6, 1.0, 1e-4, "%.5f"),
        Number("train_size", "Training images", None, 1, 10_000_000, integer=True, optional=True, placeholder="all",
               help="Train on so many of them, the same ones for every seed; the others are added to those of "
                    "validation. Few are soon learned by heart."),
        Number("batch_size", "Batch size", DEFAULTS.batch_size, 1, 10_000, integer=True),
        Number("weight_decay", "Weight decay", DEFAULTS.weight_decay, 0.0, 1.0, 1e-4, "%.5f"),
        Choice("schedule", "Schedule of p", {name: name for name in SCHEDULES}, DEFAULTS.schedule,
               help="How p changes from epoch to epoch."),
        Choice("precision", "Precision", {"fp32": "32 bit", "bf16": "bfloat16"}, DEFAULTS.precision,
               help="bfloat16 is faster where the processor has instructions for it, as GPUs have, and many times "
                    "slower where it has none."),
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
