"""What a network takes for what, against scikit-learn's count of its answers."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix

from core import confusion
from core.checkpoints import CheckpointError, load
from core.config import Config
from core.data import DataError
from core.data import load as load_data
from core.jobs.processes import owner_of
from core.jobs.worker import carry_out
from core.runs import Run, RunStore
from core.training import Trainer, evaluate

DIGITS = load_data("digits")


def kept(dataset: str = "digits", shipped: str = "digits-none") -> tuple[RunStore, Run]:
    """A finished run with the weights of a shipped network."""
    store, checkpoint = RunStore(), load(shipped)
    config = Config(dataset=dataset, technique="none", network=checkpoint.network, width=checkpoint.width).to_dict()
    run = store.create(config)
    facts = {name: getattr(checkpoint, name) for name in ("shape", "classes", "mean", "std")}
    store.save_weights(run, checkpoint.weights, config | {"images": facts})
    store.finish(run, "done")
    return store, store.get(run)


@pytest.mark.parametrize("name", ["digits-none", "digits-dropconnect", "digits-standout"])
def test_every_answer_is_counted_once_in_the_row_of_its_true_class(name: str) -> None:
    model = load(name).model()
    found = confusion.confusion(model, DIGITS, DIGITS.test)
    with torch.no_grad():
        answers = model(DIGITS.normalise(DIGITS.test.x)).argmax(1)
    assert (found.counts == confusion_matrix(DIGITS.test.y, answers, labels=range(10))).all()
    assert found.accuracy == pytest.approx(evaluate(model, DIGITS, DIGITS.test)[1])
    assert not model.training


def test_a_technique_that_draws_in_evaluation_gives_the_same_each_time_and_draws_for_nobody_else() -> None:
    model = load("digits-dropconnect").model("dropconnect", draws=2)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    counts = [confusion.confusion(model, DIGITS, DIGITS.test).counts for _ in range(2)]
    assert (counts[0] == counts[1]).all()
    assert (torch.rand(3) == expected).all()


def test_mistakes_come_by_how_often_and_what_never_happened_is_none() -> None:
    counts = np.array([[5, 2, 0], [1, 7, 3], [0, 0, 9]])
    found = confusion.Confusion(("a", "b", "c"), counts)
    assert found.mistakes(2) == [("b", "c", 3, 11), ("a", "b", 2, 7)]
    assert len(found.mistakes(9)) == 3
    assert found.accuracy == pytest.approx(21 / 27)


def test_it_is_computed_once_kept_beside_the_weights_and_again_for_other_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store, run = kept()
    first = confusion.of_run_on_test(store, run)
    assert (first.counts == confusion.confusion(load("digits-none").model(), DIGITS, DIGITS.test).counts).all()
    calls: list[str] = []
    real = confusion.of_run
    monkeypatch.setattr(confusion, "of_run", lambda *given: (calls.append(given[1].id), real(*given))[1])
    again = confusion.of_run_on_test(store, run)
    assert (again.counts == first.counts).all()
    assert again.classes == first.classes
    assert calls == []
    store.save_weights(run.id, load("digits-dropact").weights, store.load_weights_and_config(run.id)[1])
    assert (confusion.of_run_on_test(store, run).counts != first.counts).any()
    assert calls == [run.id]


@pytest.mark.parametrize("technique", ["dropconnect", "standout", "variational", "none"])
def test_it_is_right_as_often_as_the_test_of_the_run_was_under_a_schedule(technique: str) -> None:
    p = None if technique == "none" else 0.8
    config = Config(technique=technique, p=p, schedule="alternate", epochs=2, width=0.25, device="cpu")
    store = RunStore()
    run_id = store.create(config.to_dict(), owner=owner_of())
    run = carry_out(store, store.get(run_id), lambda: Trainer(config, DIGITS))
    assert confusion.of_run_on_test(store, run).accuracy == pytest.approx(run.final["test_accuracy"])


@pytest.mark.parametrize("content", ["", "{}", '{"classes": ["a"], "counts": [[1, 2]], "weights": ""}', "[1]"])
def test_a_damaged_file_is_computed_anew(content: str) -> None:
    store, run = kept()
    first = confusion.of_run_on_test(store, run)
    path = store.folder(run.id) / confusion.FILE
    path.write_text(content)
    assert (confusion.of_run_on_test(store, run).counts == first.counts).all()
    assert json.loads(path.read_text())["counts"] == first.counts.tolist()


def test_without_images_or_weights_one_sentence_says_so() -> None:
    store, run = kept("mnist", "mnist-none")
    with pytest.raises(DataError, match="MNIST"):
        confusion.of_run_on_test(store, run)
    (store.folder(run.id) / "weights.safetensors").unlink()
    with pytest.raises(CheckpointError, match="no weights"):
        confusion.of_run_on_test(store, run)


def test_images_of_other_classes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    store, run = kept()
    other = replace(DIGITS, classes=tuple("abcdefghij"))
    monkeypatch.setattr(confusion, "load", lambda *_, **__: other)
    with pytest.raises(CheckpointError, match="not those of"):
        confusion.of_run_on_test(store, run)
