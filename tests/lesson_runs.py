"""The runs that lessons need, trained in this process once, for tests that would wait for them: fixtures to import."""

from pathlib import Path

import pytest

from app.lessons.reading import lessons
from core.jobs.processes import owner_of
from core.jobs.worker import carry_out
from core.runs import RunStore
from core.training import Trainer


def train(home: Path) -> None:
    """Train what the shipped lessons need into the store of ``home``."""
    store = RunStore(home, timeout=60.0)
    for training in (lesson.training for lesson in lessons()[0] if lesson.training):
        for config in training.configs:
            run = store.create(config.to_dict(), owner=owner_of(), experiment=training.experiment.name)
            done = carry_out(store, store.get(run), lambda config=config: Trainer(config), heed_signals=False)
            assert done.status == "done", done.reason


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Dropscope home with the runs of all lessons."""
    home = tmp_path_factory.mktemp("lessons") / "home"
    train(home)
    return home


@pytest.fixture
def lesson_runs(trained_home: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    """The store with these runs, which is the home's store for the test; to be read only."""
    monkeypatch.setenv("DROPSCOPE_HOME", str(trained_home))
    return RunStore(trained_home)
