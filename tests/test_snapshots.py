"""Snapshots of a training: what they hold, that they change nothing, and that they are whole."""

import errno
import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest
from torch.nn import functional as F

from core.__main__ import run as command
from core.config import Config, ConfigError
from core.data import Dataset, Split, load
from core.jobs import LocalEngine
from core.jobs.keeper import Keeper
from core.jobs.processes import owner_of
from core.jobs.worker import carry_out, take
from core.references import REFERENCE_IMAGES, fixed_order, reference_images
from core.runs import Run, RunStore, StoreError, snapshots, weights
from core.training import Trainer

SMALL = Config(technique="dropcorr", epochs=3, width=0.25, device="cpu", snapshots=True, record_every=1e9)


@pytest.fixture(scope="module")
def few() -> Dataset:
    """230 training digits: two batches of 100 and one of 30."""
    digits = load("digits")
    return replace(digits, train=Split(digits.train.x[:230], digits.train.y[:230]))


def trained(store: RunStore, data: Dataset, **settings: Any) -> Run:
    config = Config(**{**SMALL.to_dict(), **settings})
    run = store.get(store.create(config.to_dict(), owner=owner_of()))
    return carry_out(store, run, lambda: Trainer(config, data))


def files(store: RunStore, run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (store.folder(run.id) / "snapshots").iterdir()}


def by_hand(state: dict[str, torch.Tensor], x: torch.Tensor) -> list[torch.Tensor]:
    """The two hidden layers of the digits network, straight from its weights."""

    def layer(name: str) -> tuple[torch.Tensor, torch.Tensor]:
        return state[f"{name}.weight"], state[f"{name}.bias"]

    x = F.relu(F.conv2d(x, *layer("features.0"), padding=1))
    x = F.max_pool2d(F.relu(F.conv2d(x, *layer("features.2"), padding=1)), 2).flatten(1)
    first = F.relu(F.linear(x, *layer("hidden_1.layer")))
    return [first, F.relu(F.linear(first, *layer("hidden_2.layer")))]


@pytest.mark.parametrize("technique", ["none", "dropcorr", "standout", "dropconnect", "variational"])
def test_training_is_the_same_to_the_bit_with_and_without(store: RunStore, few: Dataset, technique: str) -> None:
    kept, plain = (trained(store, few, technique=technique, snapshots=on) for on in (True, False))
    states = store.load_weights(kept.id), store.load_weights(plain.id)
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[1])
    columns = ["loss", "accuracy", "train_eval_loss", "val_loss", "val_accuracy", "test_loss", "test_accuracy"]
    tables = [store.metrics(run.id)[columns] for run in (kept, plain)]
    assert tables[0].equals(tables[1])
    assert not (store.folder(plain.id) / "snapshots").exists()


@pytest.mark.parametrize("technique", ["none", "standard", "dropconnect", "standout"])
def test_they_hold_what_enters_each_position_without_noise(store: RunStore, few: Dataset, technique: str) -> None:
    run = trained(store, few, technique=technique, seed=4)
    kept = snapshots.found(store.folder(run.id))
    assert kept.epochs == (0.0, 1.0, 2.0, 3.0)
    x = few.normalise(reference_images(few))
    start = Trainer(Config(**{**SMALL.to_dict(), "technique": technique, "seed": 4}), few).model.state_dict()
    for index, state in ((0, start), (3, store.load_weights(run.id))):
        for position, expected in enumerate(by_hand(state, x)):
            seen = kept.activations(index, position)
            assert seen.shape == (REFERENCE_IMAGES, 32)
            assert seen.dtype == torch.float32
            torch.testing.assert_close(seen, expected, rtol=2**-10, atol=1e-4)


def test_the_batch_is_the_same_for_every_seed_and_of_many_classes(few: Dataset) -> None:
    order = fixed_order(len(few.train))
    assert sorted(order.tolist()) == list(range(230))
    torch.manual_seed(99)
    assert torch.equal(fixed_order(230), order)
    assert torch.equal(reference_images(few), few.train.x[order[:200]])
    by_class = Split(few.train.x[few.train.y.argsort()], few.train.y.sort().values)
    assert len(by_class.y[order[:50]].unique()) == 10
    assert len(reference_images(replace(few, train=Split(few.train.x[:2], few.train.y[:2])))) == 2


def test_a_resumed_run_has_each_epoch_once_and_as_if_undisturbed(store: RunStore, few: Dataset) -> None:
    whole = trained(store, few)
    config = SMALL.validated()
    run = store.get(store.create(config.to_dict(), owner=owner_of()))
    trainer, keeper = Trainer(config, few), Keeper(store, run)
    keeper.restore(trainer)
    for progress in itertools.islice(trainer.run(), 2):
        keeper.take(progress, trainer)
    keeper.save(trainer)
    # The process dies after the file of the next epoch, before the state.
    snapshots.save(store.folder(run.id), 3, [torch.zeros(200, 32)])
    store.set_status(run.id, "lost", attempt=run.attempt)
    carry_out(store, take(store, run.id), lambda: Trainer(config, few))
    assert files(store, store.get(run.id)) == files(store, whole)
    assert len(files(store, whole)) == 4


def test_they_go_with_their_run(store: RunStore, few: Dataset) -> None:
    run = trained(store, few, epochs=1)
    assert len(snapshots.found(store.folder(run.id))) == 2
    store.delete(run.id)
    assert not store.folder(run.id).exists()


def test_a_full_disk_fails_the_run_in_one_sentence_and_leaves_the_others_whole(
    store: RunStore, few: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = weights._write_synced

    def small_disk(path: Path, content: bytes) -> None:
        if "000002" in path.name:
            path.write_bytes(content[:100])
            raise OSError(errno.ENOSPC, "No space left on device")
        written(path, content)

    monkeypatch.setattr(weights, "_write_synced", small_disk)
    run = trained(store, few)
    assert run.status == "failed"
    assert run.reason is not None
    assert run.reason.startswith("The disk is full, ")
    assert run.reason.endswith("free some space and try again; what it held is whole.")
    assert sorted(files(store, run)) == ["000000.safetensors", "000001.safetensors"]


def test_a_damaged_or_missing_one_is_a_sentence(store: RunStore, few: Dataset) -> None:
    run = trained(store, few, epochs=1)
    kept = snapshots.found(store.folder(run.id))
    first, second = (kept.folder / f"00000{epoch}.safetensors" for epoch in (0, 1))
    first.write_bytes(first.read_bytes()[:500])
    second.unlink()
    for index in (0, 1):
        with pytest.raises(StoreError, match=rf"^The snapshot of epoch {index} is damaged or missing: choose another"):
            kept.activations(index, 0)


def test_a_folder_with_other_files_shows_only_snapshots(tmp_path: Path) -> None:
    assert len(snapshots.found(tmp_path)) == 0
    assert not snapshots.found(tmp_path)
    snapshots.save(tmp_path, 10, [torch.ones(2, 3)])
    snapshots.save(tmp_path, 9, [torch.ones(2, 3)])
    (tmp_path / "snapshots" / ".000011.safetensors.1.tmp").write_bytes(b"half")
    (tmp_path / "snapshots" / "notes.safetensors").write_bytes(b"")
    assert snapshots.found(tmp_path).epochs == (9.0, 10.0)


def test_a_copy_replaces_what_the_folder_had(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    snapshots.save(ours, 1, [torch.ones(2, 3)])
    for epoch in (1, 2):
        snapshots.save(theirs, epoch, [torch.zeros(2, 3)])
    snapshots.copy(snapshots.found(ours), theirs)
    copied = snapshots.found(theirs)
    assert copied.epochs == (1.0,)
    assert torch.equal(copied.activations(0, 0), torch.ones(2, 3))


def test_the_command_line_keeps_them_where_asked(store: RunStore, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "--epochs", "1", "--width", "0.25", "--device", "cpu"]
    assert command([*words, "--snapshots"]) == 0
    assert command(words) == 0
    capsys.readouterr()
    plain, kept = store.list()
    assert (kept.config["snapshots"], plain.config["snapshots"]) == (True, False)
    assert snapshots.found(store.folder(kept.id)).epochs == (0.0, 1.0)
    assert not snapshots.found(store.folder(plain.id))


def test_a_run_of_before_there_were_snapshots_goes_on(few: Dataset) -> None:
    config = Config(**{**SMALL.to_dict(), "snapshots": False})
    trainer = Trainer(config, few)
    next(trainer.run())
    state = trainer.state()
    del state["config"]["snapshots"]
    resumed = Trainer(config, few)
    resumed.load_state(state)
    assert resumed.step == trainer.step


def test_a_switch_is_on_or_off() -> None:
    with pytest.raises(ConfigError, match=r"^snapshots is True or False, got 1\.$"):
        Config(snapshots=1).validated()  # type: ignore[arg-type]


def test_the_train_page_has_the_switch(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalEngine, "advance", lambda self: None)
    page = Path(__file__).parent.parent / "app" / "app_pages" / "train.py"
    for asked, kept in (("true", True), (None, False)):
        test = AppTest.from_file(page, default_timeout=60)
        if asked:
            test.query_params["snapshots"] = asked
        test.run()
        assert not test.exception
        test.button(key="start").click().run()
        assert {run.config["snapshots"] for run in store.list()[:2]} == {kept}
