"""The shipped networks and those of runs: what they are, under every technique, and what is said of broken ones."""

import json
import math
import shlex
import shutil
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from core import checkpoints
from core.__main__ import main
from core.__main__ import run as command
from core.checkpoints import Checkpoint, CheckpointError, files
from core.checkpoints import trained as from_runs
from core.cli.values import knobs_of, probabilities
from core.config import Config, ConfigError
from core.data import DATASETS, Dataset, Split, load
from core.dropout import TECHNIQUES, DropCorr, Standout, Variational, dropouts
from core.dropout.dropcorr import centre
from core.references import reference_images
from core.runs import RunStore, snapshots
from core.training import evaluate
from tests.test_standard_sets import MNIST_PLACES

ROOT = Path(__file__).resolve().parent.parent
SHIPPED = checkpoints.shipped()
NAMES = [info.name for info in SHIPPED]
EVERY = ("none", *TECHNIQUES)
LIMIT = 15_000_000
TRAIN = ["train", "--dataset", "digits", "--epochs", "2", "--width", "0.25", "--device", "cpu", "--seed", "3"]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of two shipped checkpoints that may be damaged."""
    for name in ("digits-none", "digits-dropcorr"):
        shutil.copytree(files.SHIPPED / name, tmp_path / "shelf" / name)
    monkeypatch.setattr(files, "SHIPPED", tmp_path / "shelf")
    return tmp_path / "shelf"


def network(weights: dict[str, Tensor], x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Logits and both hidden layers of a digits or MNIST network without noise, straight from its weights."""

    def layer(name: str) -> tuple[Tensor, Tensor]:
        return weights[f"{name}.weight"], weights[f"{name}.bias"]

    x = F.relu(F.conv2d(x, *layer("features.0"), padding=1))
    x = F.max_pool2d(F.relu(F.conv2d(x, *layer("features.2"), padding=1)), 2).flatten(1)
    first = F.relu(F.linear(x, *layer("hidden_1.layer")))
    second = F.relu(F.linear(first, *layer("hidden_2.layer")))
    return F.linear(second, *layer("output")), [first, second]


def some(checkpoint: Checkpoint, count: int = 7) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, *checkpoint.shape), dtype=torch.uint8, generator=generator)


def images_of(checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """The data set that a checkpoint was trained on, where it is on disk; else the test is skipped."""
    if checkpoint.dataset == "mnist":
        if not MNIST_PLACES:
            pytest.skip("MNIST is not on disk")
        monkeypatch.setenv("DROPSCOPE_DATA", str(MNIST_PLACES[0]))
    return read_once(checkpoint.dataset)


@lru_cache
def read_once(dataset: str) -> Dataset:
    return load(dataset, download=False)


def test_digits_and_mnist_have_one_a_technique_and_one_without() -> None:
    assert [(info.dataset, info.technique) for info in SHIPPED] == [
        (dataset, technique) for dataset in ("digits", "mnist") for technique in EVERY
    ]
    assert {info.seed for info in SHIPPED if info.dataset == "digits"} == {0}
    assert {info.seed for info in SHIPPED} <= {0, 1, 2}  # of MNIST the best of three
    assert len({info.title for info in SHIPPED}) == len(SHIPPED)
    for info in SHIPPED:
        assert info.name == f"{info.dataset}-{info.technique}"
        assert info.shape == DATASETS[info.dataset].shape


def test_all_together_are_small() -> None:
    assert sum(path.stat().st_size for path in files.SHIPPED.rglob("*") if path.is_file()) < LIMIT


@pytest.mark.parametrize("name", NAMES)
def test_it_holds_weights_and_activations_and_no_images(name: str) -> None:
    folder, checkpoint = files.SHIPPED / name, checkpoints.load(name)
    kept = {path.relative_to(folder).parts[0] for path in folder.rglob("*") if path.is_file()}
    assert kept - {"snapshots"} == {"config.json", "model.safetensors", "references.safetensors"}
    units = [checkpoint.weights[f"hidden_{n}.layer.bias"].numel() for n in (1, 2)]
    assert [tuple(reference.shape) for reference in checkpoint.references] == [(200, n) for n in units]
    assert {tensor.dtype for tensor in load_file(folder / "references.safetensors").values()} == {torch.float16}


@pytest.mark.parametrize("name", NAMES)
def test_it_takes_every_technique_and_stays_the_same_network(name: str) -> None:
    checkpoint = checkpoints.load(name)
    x = checkpoint.normalise(some(checkpoint))
    expected, _ = network(checkpoint.weights, x)
    before = torch.get_rng_state()
    for technique in EVERY:
        for p in (0.0, checkpoint.p):
            model = checkpoint.model(technique, p)
            assert not model.training
            layers = dropouts(model)
            assert [layer.name for layer in layers] == ([] if technique == "none" else [technique] * 2)
            if p == 0.0 or technique not in ("dropconnect", "standout"):
                torch.testing.assert_close(model(x), expected, rtol=1e-4, atol=1e-4)
            else:
                assert not torch.allclose(model(x), expected, rtol=1e-4, atol=1e-4)
                assert [layer.p for layer in layers] == list(checkpoint.p)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("name", NAMES)
def test_its_accuracy_is_that_of_the_stored_weights(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = checkpoints.load(name)
    data = images_of(checkpoint, monkeypatch)
    assert (checkpoint.mean, checkpoint.std, checkpoint.classes) == (data.mean, data.std, data.classes)
    _, accuracy = evaluate(checkpoint.model(), data, data.test)
    assert checkpoint.accuracy is not None
    assert abs(accuracy - checkpoint.accuracy) * len(data.test) < 1.5
    least = 0.96 if checkpoint.dataset == "digits" else 0.97
    assert checkpoint.accuracy >= least


@pytest.mark.parametrize("name", NAMES)
def test_its_references_are_what_enters_the_dropout_layers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = checkpoints.load(name)
    x = checkpoint.normalise(reference_images(images_of(checkpoint, monkeypatch)))
    for reference, expected in zip(checkpoint.references, network(checkpoint.weights, x)[1], strict=True):
        torch.testing.assert_close(reference, expected, rtol=2**-10, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_the_command_it_names_trains_it(name: str) -> None:
    checkpoint = checkpoints.load(name)
    config = config_of(checkpoint.command)
    for setting in ("dataset", "technique", "knobs", "seed", "epochs", "width"):
        assert getattr(config, setting) == getattr(checkpoint, setting), setting


def config_of(text: str) -> Config:
    """The settings that a command line stands for."""
    words = shlex.split(text)
    assert words[:4] == ["python", "-m", "core", "train"]
    given = main.commands["train"].make_context("train", words[4:]).params
    told = {key: value for key, value in given.items() if value is not None and hasattr(Config, key) and key != "p"}
    knobs = knobs_of(given["technique"], given["knobs"])
    return Config(**{**told, "p": probabilities(given["p"]), "knobs": knobs})


@pytest.mark.parametrize(
    "config",
    [
        Config(),
        Config("mnist", technique="none", p=0.3, seed=5, snapshots=True),
        Config("a folder/of mine", technique="dropact", p=(0.1, 0.5), knobs={"count": "active", "clamp": 3.5}),
        Config(technique="standout", knobs={"learn": True, "beta": None}, lr=1e-5, precision="bf16", device="cuda:1"),
        Config(technique="dropcorr", refresh_epochs=0.5, refresh_growth=2.0, weight_decay=0.0, batch_size=7),
    ],
)
def test_a_config_says_its_command(config: Config) -> None:
    assert config_of(config.command()) == config


def test_a_command_names_what_matters_and_no_defaults() -> None:
    said = Config(technique="dropcorr", epochs=60, knobs={"count": "active"}).command()
    assert said == "python -m core train --dataset digits --technique dropcorr --knob count=active --epochs 60 --seed 0"


def test_the_shipped_digits_run_shows_how_it_came_about() -> None:
    for name in ("digits-none", "digits-dropcorr"):
        checkpoint = checkpoints.load(name)
        assert checkpoint.snapshots.epochs[0] == 0
        assert checkpoint.snapshots.epochs[-1] == checkpoint.epochs
        assert len(checkpoint.snapshots) > 10
        for position, reference in enumerate(checkpoint.references):
            last = checkpoint.snapshots.activations(len(checkpoint.snapshots) - 1, position)
            # The weights were rounded to fp16 in between.
            assert (last - reference).norm() < 2**-8 * reference.norm()


def test_dropcorr_takes_its_covariance_from_the_references() -> None:
    checkpoint = checkpoints.load("digits-none")
    for layer, reference in zip(dropouts(checkpoint.model("dropcorr")), checkpoint.references, strict=True):
        assert isinstance(layer, DropCorr)
        assert layer.reference is not None
        assert torch.equal(layer.reference, centre(reference))


def test_a_learned_variance_serves_its_own_technique_alone() -> None:
    learned, foreign = checkpoints.load("digits-variational"), checkpoints.load("digits-none")
    raw = [learned.weights[f"hidden_{n}.dropout.raw_alpha"] for n in (1, 2)]
    for model in (learned.model(), learned.model("variational"), learned.model("variational", p=0.7)):
        alphas = [layer.alpha.item() for layer in dropouts(model) if isinstance(layer, Variational)]
        assert alphas == pytest.approx([math.exp(value.item()) for value in raw])
    other = [foreign.model("variational", p=0.4), learned.model("variational", p=0.4, form="weight")]
    with pytest.warns(UserWarning, match="starts at"):
        other.append(learned.model("variational", p=0.6, kl="kingma"))
    for model, expected in zip(other, (2 / 3, 2 / 3, 0.95), strict=True):
        for layer in dropouts(model):
            assert isinstance(layer, Variational)
            assert layer.alpha.mean().item() == pytest.approx(expected)


def test_a_learned_slope_is_kept_with_its_own_options(store: RunStore, digits: Dataset) -> None:
    checkpoint = trained(store, "--technique", "standout", "--knob", "learn=true", "--p", "0.3")
    assert {key for key in checkpoint.weights if files_of_noise(key)} == {
        f"hidden_{n}.layer.{name}" for n in (1, 2) for name in ("alpha", "beta")
    }
    own, fixed = checkpoint.model(), checkpoint.model("standout")
    for layer, bare, n in zip(dropouts(own), dropouts(fixed), (1, 2), strict=True):
        assert isinstance(layer, Standout)
        assert isinstance(bare, Standout)
        assert isinstance(layer.beta, Tensor)
        assert torch.equal(layer.beta, checkpoint.weights[f"hidden_{n}.layer.beta"])
        assert layer.beta.item() != pytest.approx(math.log(0.7 / 0.3), abs=1e-6), "it was trained"
        assert bare.beta is None


def files_of_noise(key: str) -> bool:
    return key.rpartition(".")[2] in ("alpha", "beta", "raw_alpha")


def test_models_share_nothing_with_the_checkpoint() -> None:
    checkpoint = checkpoints.load("digits-dropcorr")
    kept = {key: value.clone() for key, value in checkpoint.weights.items()}
    model = checkpoint.model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(7.0)
        for layer in dropouts(model):
            layer.reference.fill_(7.0)  # type: ignore[operator, union-attr]
    assert all(torch.equal(checkpoint.weights[key], value) for key, value in kept.items())
    assert not any((reference == 7.0).all() for reference in checkpoint.references)


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"technique": "dropsome"}, "There is no technique 'dropsome'; choose from"),
        ({"technique": "standard", "p": 1.5}, "p is the probability of dropping and must lie in"),
        ({"technique": "standard", "p": (0.1,)}, "has 2 dropout positions, but p has 1 values; give one each."),
        ({"technique": "none", "count": "active"}, "none has no option 'count'"),
        ({"technique": "dropact", "count": "most"}, "count must be one of"),
    ],
)
def test_a_technique_that_does_not_fit_is_a_sentence(asked: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        checkpoints.load("digits-none").model(**asked)


@pytest.mark.parametrize("name", ["nothing", "", ".", "..", "../checkpoints/digits-none", "digits-none/", "README.md"])
def test_an_unknown_name_is_a_sentence(name: str, store: RunStore) -> None:
    with pytest.raises(CheckpointError, match=r"^There is no checkpoint and no run .*: choose one of those"):
        checkpoints.load(name, store)


def damage(folder: Path, what: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    if what == "no config":
        (folder / "config.json").unlink()
    elif what == "no JSON":
        (folder / "config.json").write_text("{")
    elif what == "another JSON":
        (folder / "config.json").write_text("[1]")
    elif what == "a key less":
        del config["network"]
        (folder / "config.json").write_text(json.dumps(config))
    elif what == "no weights":
        (folder / "model.safetensors").unlink()
    elif what == "half the weights":
        whole = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    elif what == "empty references":
        (folder / "references.safetensors").write_bytes(b"")


@pytest.mark.parametrize(
    ("what", "sentence", "listed"),
    [
        ("no config", "lacks config.json", False),
        ("no JSON", "has a damaged config.json", False),
        ("another JSON", "has a damaged config.json", False),
        ("a key less", "has a damaged config.json", False),
        ("no weights", "lacks model.safetensors", True),
        ("half the weights", "has a damaged model.safetensors", True),
        ("empty references", "has a damaged references.safetensors", True),
    ],
)
def test_a_broken_folder_is_a_sentence_and_hides_no_other(shelf: Path, what: str, sentence: str, listed: bool) -> None:
    damage(shelf / "digits-none", what)
    with pytest.raises(CheckpointError) as caught:
        checkpoints.load("digits-none")
    said = str(caught.value)
    assert said.startswith(f"The checkpoint checkpoints/digits-none {sentence} (")
    assert said.endswith("): put the folder back as it was shipped.")
    assert "\n" not in said
    assert str(shelf) not in said
    assert [info.name for info in checkpoints.shipped()] == ["digits-none", "digits-dropcorr"][0 if listed else 1 :]
    checkpoints.load("digits-dropcorr").model()


def test_weights_of_another_network_are_a_sentence(shelf: Path) -> None:
    path = shelf / "digits-none" / "model.safetensors"
    tensors = load_file(path)
    save_file({**tensors, "output.bias": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="do not fit the network digits: choose another"):
        checkpoints.load("digits-none").model("standard")


def test_listing_reads_no_weights(shelf: Path) -> None:
    for path in shelf.rglob("*.safetensors"):
        path.write_bytes(b"none")
    assert len(checkpoints.shipped()) == 2


def trained(store: RunStore, *words: str) -> Checkpoint:
    """The checkpoint of a run that the command line trains now."""
    assert command([*TRAIN, *words]) == 0
    return checkpoints.load(store.list()[0].id, store)


@pytest.mark.parametrize("technique", ["none", "dropcorr", "dropconnect", "variational"])
def test_a_run_is_a_checkpoint(store: RunStore, digits: Dataset, technique: str) -> None:
    checkpoint = trained(store, "--technique", technique, "--snapshots", "--name", "mine")
    run = store.list()[0]
    assert (checkpoint.name, checkpoint.title, checkpoint.command) == (run.id, "mine", "")
    assert (checkpoint.network, checkpoint.width, checkpoint.p) == ("digits", 0.25, (0.2, 0.2))
    assert (checkpoint.shape, checkpoint.classes) == (digits.shape, digits.classes)
    assert checkpoint.accuracy == run.final["test_accuracy"]
    assert evaluate(checkpoint.model(), digits, digits.test)[1] == pytest.approx(checkpoint.accuracy, abs=1e-6)
    assert torch.equal(checkpoint.normalise(digits.test.x[:3]), digits.normalise(digits.test.x[:3]))
    assert checkpoint.snapshots.epochs == (0.0, 1.0, 2.0)
    for position, reference in enumerate(checkpoint.references):
        torch.testing.assert_close(checkpoint.snapshots.activations(2, position), reference, rtol=2**-10, atol=1e-4)


def test_a_run_becomes_a_folder_like_those_that_are_shipped(
    store: RunStore,
    tmp_path: Path,
    digits: Dataset,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    measured: list[dict[str, Tensor]] = []

    def noted(model: torch.nn.Module, *data: Any) -> tuple[float, float]:
        measured.append(model.state_dict())
        return evaluate(model, *data)

    ours = trained(store, "--technique", "dropact", "--snapshots", "--p", "0.1,0.4", "--knob", "count=active")
    shelf = tmp_path / "shelf"
    snapshots.save(shelf / "digits-mine", 1, [torch.zeros(2, 3)])
    capsys.readouterr()
    monkeypatch.setattr(from_runs, "evaluate", noted)
    assert command(["runs", "checkpoint", ours.name[:8], str(shelf / "digits-mine"), "--every", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    monkeypatch.setattr(files, "SHIPPED", shelf)
    theirs = checkpoints.load("digits-mine")
    same = (
        "dataset",
        "network",
        "shape",
        "classes",
        "width",
        "technique",
        "p",
        "knobs",
        "seed",
        "epochs",
        "mean",
        "std",
    )
    assert {key: getattr(theirs, key) for key in same} == {key: getattr(ours, key) for key in same}
    assert theirs.title == "Digits, width 0.25 · DropAct"
    assert config_of(theirs.command) == Config.from_dict(store.get(ours.name).config)
    assert theirs.snapshots.epochs == (0.0, 2.0)
    for key, value in ours.weights.items():
        assert torch.equal(theirs.weights[key], value.half().float())
        assert torch.equal(measured[0][key], theirs.weights[key]), "the accuracy is that of the stored weights"
    assert said == {"checkpoint": str(shelf / "digits-mine"), "run": ours.name, "accuracy": theirs.accuracy}
    assert evaluate(theirs.model(), digits, digits.test)[1] == pytest.approx(theirs.accuracy, abs=1e-6)
    versions = json.loads((shelf / "digits-mine" / "config.json").read_text())["versions"]
    assert versions["torch"] == torch.__version__.partition("+")[0] or versions["torch"] == torch.__version__


def test_a_run_without_weights_is_a_sentence(store: RunStore) -> None:
    run_id = store.create(Config().to_dict())
    with pytest.raises(CheckpointError, match="they are written when the first epoch ends"):
        checkpoints.load(run_id, store)
    assert command(["runs", "checkpoint", run_id, "somewhere"]) == 2
    assert not Path("somewhere").exists()


def test_a_run_outlives_its_images(store: RunStore, digits: Dataset) -> None:
    ours = trained(store, "--technique", "dropcorr")
    state, config = store.load_weights_and_config(ours.name)
    store.save_weights(ours.name, state, {**config, "dataset": "/gone"})
    run = store.change(ours.name, lambda run: {"config": {**run.config, "dataset": "/gone"}})
    alone = checkpoints.of_run(store, run)
    assert (alone.dataset, alone.references) == ("/gone", ())
    x = digits.normalise(digits.test.x[:5])
    assert torch.equal(alone.model()(x), ours.model()(x))
    assert all(layer.reference is None for layer in dropouts(alone.model()) if isinstance(layer, DropCorr))

    store.save_weights(
        ours.name, state, {key: value for key, value in config.items() if key != "images"} | {"dataset": "/gone"}
    )
    with pytest.raises(CheckpointError, match="are not on this machine: put them back"):
        checkpoints.of_run(store, run)


def test_references_are_left_out_where_the_folder_holds_other_images_now(
    store: RunStore, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = trained(store, "--technique", "standard")
    larger = Split(torch.zeros(9, 1, 12, 12, dtype=torch.uint8), torch.zeros(9, dtype=torch.long))
    monkeypatch.setattr(from_runs, "load", lambda *_, **__: replace(digits, train=larger))
    now = checkpoints.load(ours.name, store)
    assert (now.shape, now.references) == ((1, 8, 8), ())


def test_weights_of_a_run_that_do_not_fit_are_a_sentence(store: RunStore) -> None:
    ours = trained(store, "--technique", "standard")
    state, config = store.load_weights_and_config(ours.name)
    store.save_weights(ours.name, state, {**config, "width": 0.5})
    with pytest.raises(CheckpointError, match="do not fit the network digits: choose another"):
        checkpoints.load(ours.name, store)


def test_an_older_run_says_its_images_through_its_data_set(store: RunStore) -> None:
    ours = trained(store, "--technique", "standard")
    state, config = store.load_weights_and_config(ours.name)
    store.save_weights(
        ours.name, state, {key: value for key, value in config.items() if key not in ("images", "snapshots")}
    )
    older = checkpoints.load(ours.name, store)
    assert all(torch.equal(a, b) for a, b in zip(older.references, ours.references, strict=True))
    kept = [key for key in asdict(replace(ours, weights={}, references=())) if key not in ("weights", "references")]
    assert {key: getattr(older, key) for key in kept} == {key: getattr(ours, key) for key in kept}


def test_weights_that_say_too_little_are_a_sentence(store: RunStore) -> None:
    ours = trained(store, "--technique", "standard")
    state, config = store.load_weights_and_config(ours.name)
    for wrong in ({"network": "resnet"}, {"images": {"shape": [1, 8, 8]}}, {"p": [0.1, 0.2, 0.3]}, {"colour": 1}):
        store.save_weights(ours.name, state, {**config, **wrong})
        with pytest.raises(CheckpointError, match="say too little of their network: train it again"):
            checkpoints.load(ours.name, store)


def test_a_narrower_network_is_named_as_such_and_all_take_little_room() -> None:
    for info in SHIPPED:
        assert (f"width {info.width:g}" in info.title) is (info.width != 1.0)
    assert sum(path.stat().st_size for path in files.SHIPPED.rglob("*") if path.is_file()) < 15_000_000


def test_the_list_of_accuracies_is_true() -> None:
    titles = {"none": "no dropout", **{name: cls.title for name, cls in TECHNIQUES.items()}}
    accuracy = {(info.dataset, info.technique): info.accuracy for info in SHIPPED}
    rows = [
        f"| {title} | {accuracy['digits', name]:.2%} | {accuracy['mnist', name]:.2%} |".replace("%", " %")
        for name, title in titles.items()
    ]
    told = (files.SHIPPED / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in told if line.startswith(tuple(f"| {title} |" for title in titles.values()))] == rows
