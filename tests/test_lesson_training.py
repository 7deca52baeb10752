"""What a lesson trains: once, for everybody, by whoever comes first; and nothing else without the code."""

import threading
from pathlib import Path

import pytest

from app import access, services
from app.access import AccessError
from app.lessons import reading
from app.lessons.lesson import LessonError
from app.lessons.reading import from_yaml, lessons
from app.lessons.training import Training, Wait
from core.jobs import LocalEngine
from core.runs import RunStore
from core.sweep import Experiment

TEXT = """\
title: A lesson
about: What it is about.
minutes: 3
training:
  techniques: [none, standard]
  p: [0.2, 0.5]
  epochs: 1
steps:
  - title: First
    text: Something.
    picture: {kind: masks, techniques: [standard], p: 0}
    question: {ask: "Which?", answers: [one, two], right: 1}
    explain: Because.
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only lesson, ``mine``, on a server where no worker starts, for a visitor from the network."""
    folder = tmp_path / "lessons"
    folder.mkdir()
    monkeypatch.setattr(reading, "SHIPPED", folder)
    monkeypatch.setattr(LocalEngine, "advance", lambda self: None)
    monkeypatch.setattr(access, "permitted", lambda: False)
    path = folder / "9-mine.yaml"
    path.write_text(TEXT)
    return path


def training() -> Training:
    found = lessons()[0][0].training
    assert found is not None
    return found


def said() -> str:
    wait = training().look().wait
    return wait.sentence if wait else ""


def end(store: RunStore, run_id: str, status: str, reason: str | None = None) -> None:
    store.finish(run_id, status, reason)


@pytest.mark.usefixtures("file")
def test_many_who_come_at_once_have_each_run_trained_once(store: RunStore) -> None:
    looks: list[int] = []
    crowd = [threading.Thread(target=lambda: looks.append(len(training().look().runs))) for _ in range(8)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    assert looks == [3] * 8
    runs = store.list()
    assert [(run.config["technique"], run.config["p"]) for run in reversed(runs)] == [
        ("none", None), ("standard", 0.2), ("standard", 0.5),
    ]  # fmt: skip
    assert {run.experiment for run in runs} == {"Lesson: mine"}


def test_without_the_code_nothing_else_is_trained(file: Path, store: RunStore) -> None:
    experiment = training().experiment
    with pytest.raises(AccessError):
        services.start(experiment)
    for key in ("", "other", "../mine", experiment.name):
        with pytest.raises(LessonError, match=r"no lesson .* that trains"):
            services.train_lesson(key)
    # What a page was given does not count, but what the file says.
    other = Training("mine", Experiment(techniques=("dropact",), name="Lesson: mine"))
    assert {run.config["technique"] for run in other.look().runs} == {"none", "standard"}
    file.write_text(TEXT.replace("training:", "trainings:"))
    with pytest.raises(LessonError):
        services.train_lesson("mine")
    assert len(store.list()) == 3


def test_a_file_that_was_changed_has_what_is_new_trained(file: Path, store: RunStore) -> None:
    first = {run.id for run in training().look().runs}
    file.write_text(TEXT.replace("[0.2, 0.5]", "[0.2, 0.5, 0.8]"))
    second = {run.id for run in training().look().runs}
    assert first < second
    assert len(second) == 4
    file.write_text(TEXT.replace("epochs: 1", "epochs: 2"))
    assert not second & {run.id for run in training().look().runs}
    assert len(store.list()) == 7


@pytest.mark.usefixtures("file")
def test_it_says_how_it_stands(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [run.id for run in training().look().runs]
    assert said() == "Training now: 0 of 3 networks are done. The explanation follows."
    end(store, ids[0], "done")
    wait = training().look().wait
    assert wait
    assert "1 of 3 networks are done" in wait.sentence
    assert wait.active
    end(store, ids[1], "failed", "The loss is not a number.")
    wait = training().look().wait
    assert wait
    assert wait.sentence == "The training of this lesson ended before its time: The loss is not a number."
    assert not wait.active
    first, _, third = training().configs
    assert training().look([first]).wait is None
    assert training().look([first, third]).wait == Wait(
        "Training now: 1 of 2 networks are done. The explanation follows.", active=True
    )
    assert store.get(ids[1]).status == "failed", "nobody may begin again what failed"
    for run_id in ids[1:]:
        end(store, run_id, "done")
    assert training().look().wait is None


@pytest.mark.usefixtures("file")
def test_a_run_whose_process_was_lost_goes_on_once(store: RunStore) -> None:
    first = training().look().runs[0]
    for attempt in (1, 2):
        store.change(first.id, lambda _, attempt=attempt: {"status": "lost", "attempt": attempt, "reason": "Killed."})
        training().look()
        assert store.get(first.id).status == ("queued" if attempt == 1 else "lost")
    assert "Killed." in said()


@pytest.mark.usefixtures("file")
def test_behind_other_runs_it_waits_in_the_queue(store: RunStore) -> None:
    from core.config import Config
    from core.jobs.processes import owner_of

    busy = store.create(Config(epochs=100).to_dict(), owner=owner_of())
    store.change(busy, lambda _: {"latest": {"epoch": 10.0, "train_seconds": 100.0, "eval_seconds": 0.0}})
    assert (
        said()
        == "Other runs are training on this machine, so this lesson's wait, about 15 min. You can go on meanwhile."
    )


@pytest.mark.usefixtures("file")
def test_a_store_that_cannot_be_written_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = training()
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("DROPSCOPE_HOME", str(tmp_path / "file"))
    look = found.look()
    assert look.wait
    assert look.wait.sentence.startswith("Nothing is trained: ")
    assert not look.wait.active
    assert len(look.planned) == 3
    assert look.runs == []


@pytest.mark.parametrize(
    ("old", "new", "line", "sentence"),
    [
        ("  epochs: 1", "  epochs: few", 7, "epochs must be a whole number"),
        ("[none, standard]", "[none, standart]", 5, "no technique 'standart'"),
        ("  epochs: 1", "  epoch: 1", 7, "did you mean epochs?"),
        ("  epochs: 1", "  name: Mine", 7, "has no name"),
        ("  epochs: 1", "  dataset: mnist", 4, "trains on digits alone"),
        ("  epochs: 1", "  seeds: 0-9", 4, "These are 30 runs; a lesson has at most 12."),
        ("training:\n", "training: []\nrest:\n", 4, "written as settings"),
    ],
)  # fmt: skip
def test_a_mistake_in_it_is_named_with_its_line(old: str, new: str, line: int, sentence: str) -> None:
    with pytest.raises(LessonError) as caught:
        from_yaml(TEXT.replace(old, new, 1), "9-mine.yaml")
    assert f"9-mine.yaml, line {line}: " in str(caught.value)
    assert sentence in str(caught.value)
