"""MNIST and CIFAR-10: read from disk, verified, downloaded from a server of the test's own; defects are named."""

import gzip
import hashlib
import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import torch

from core.data import DATASETS, DataError, load, standard_sets
from core.home import data_folder
from tests.data_checks import check_contract, splits

PROJECT = Path(__file__).parents[1]
MNIST_PLACES = [
    Path(place)
    for place in (os.environ.get("DROPSCOPE_DATA"), PROJECT.parent / "shared" / "data")
    if place and not standard_sets.missing_mnist(Path(place))
]

MNIST_COUNTS = {"train": 40, "t10k": 10}


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def mnist_files(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Four small IDX files whose digests are taken for the originals'."""
    random = np.random.RandomState(1)
    files = {}
    for part, count in MNIST_COUNTS.items():
        files[f"{part}-images-idx3-ubyte"] = idx(random.randint(0, 256, (count, 28, 28)).astype(np.uint8))
        files[f"{part}-labels-idx1-ubyte"] = idx(np.arange(count, dtype=np.uint8) % 10)
    digests = {name: hashlib.sha256(files[name]).hexdigest() for name in standard_sets.MNIST_SHA256}
    monkeypatch.setattr(standard_sets, "MNIST_SHA256", digests)
    return files


@pytest.fixture
def mnist_raw(mnist_files: dict[str, bytes]) -> Path:
    """The small files in their place on disk."""
    raw = standard_sets.mnist_path(data_folder())
    raw.mkdir(parents=True)
    for name, content in mnist_files.items():
        (raw / name).write_bytes(content)
    return raw


def test_mnist_is_read_from_disk(mnist_raw: Path, mnist_files: dict[str, bytes]) -> None:
    assert DATASETS["mnist"].available()
    mnist = load("mnist", download=False)
    check_contract(mnist)
    assert (mnist.name, mnist.title, mnist.shape) == ("mnist", "MNIST", (1, 28, 28))
    assert [len(split) for split in splits(mnist)] == [38, 2, 10]
    assert mnist.test.y.tolist() == list(range(10))
    assert mnist.test.x.numpy().tobytes() == mnist_files["t10k-images-idx3-ubyte"][16:]


def test_mnist_on_disk_is_read_without_torchvision(mnist_raw: Path) -> None:
    digests = dict(standard_sets.MNIST_SHA256)
    script = (
        "import sys; from core.data import sets, standard_sets; "
        f"standard_sets.MNIST_SHA256 = {digests}; sets.load('mnist'); print('torchvision' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("damage", [lambda b: b[:-1], lambda b: b"", lambda b: b[:-1] + bytes([b[-1] ^ 1])])
def test_a_damaged_mnist_file_is_named(mnist_raw: Path, damage) -> None:
    file = mnist_raw / "t10k-images-idx3-ubyte"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError) as caught:
        load("mnist")
    assert str(caught.value) == (
        f"{file} is damaged or only half there (its checksum is not the original's); delete it and run "
        "`python -c \"from core.data import load; load('mnist')\"` with an internet connection, or copy an intact "
        "file there."
    )


def test_missing_mnist_says_what_is_missing_and_what_mends_it(mnist_raw: Path) -> None:
    (mnist_raw / "train-labels-idx1-ubyte").unlink()
    assert not DATASETS["mnist"].available()
    with pytest.raises(DataError) as caught:
        load("mnist", download=False)
    assert str(caught.value) == (
        f"MNIST is not in {mnist_raw} (missing: train-labels-idx1-ubyte); run "
        "`python -c \"from core.data import load; load('mnist')\"` with an internet connection, copy the missing "
        "files there, or set DROPSCOPE_DATA to a folder that has MNIST/raw."
    )


@pytest.mark.skipif(not MNIST_PLACES, reason="MNIST's files are neither in $DROPSCOPE_DATA nor in ../shared/data")
def test_the_real_mnist_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DROPSCOPE_DATA", str(MNIST_PLACES[0]))
    mnist = load("mnist", download=False)
    assert [len(split) for split in splits(mnist)] == [57_000, 3_000, 10_000]
    counted = mnist.train.y.bincount() + mnist.validation.y.bincount(minlength=10)
    assert counted.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert mnist.test.y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert mnist.mean == pytest.approx((0.1307,), abs=2e-4)
    assert mnist.std == pytest.approx((0.3081,), abs=2e-4)


@pytest.fixture
def cifar_batches(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """CIFAR-10's batches with four images each, whose digests torchvision takes for the originals'."""
    from torchvision.datasets import CIFAR10

    random = np.random.RandomState(2)
    files = {"batches.meta": pickle.dumps({"label_names": list(standard_sets.CIFAR10_CLASSES)})}
    for number, name in enumerate([f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]):
        pixels = random.randint(0, 256, (4, 3072)).astype(np.uint8)
        files[name] = pickle.dumps({"data": pixels, "labels": [number, 7, 8, 9]})
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(CIFAR10, "train_list", [[f"data_batch_{i}", md5[f"data_batch_{i}"]] for i in range(1, 6)])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5["batches.meta"]})
    return files


@pytest.fixture
def cifar_folder(cifar_batches: dict[str, bytes]) -> Path:
    """The small batches in their place on disk."""
    folder = standard_sets.cifar10_path(data_folder())
    folder.mkdir(parents=True)
    for name, content in cifar_batches.items():
        (folder / name).write_bytes(content)
    return folder


def test_cifar10_is_read_from_disk(cifar_folder: Path, cifar_batches: dict[str, bytes]) -> None:
    assert DATASETS["cifar10"].available()
    cifar = load("cifar10", download=False)
    check_contract(cifar)
    assert (cifar.name, cifar.title, cifar.shape) == ("cifar10", "CIFAR-10", (3, 32, 32))
    assert cifar.classes[:3] == ("airplane", "automobile", "bird")
    assert [len(split) for split in splits(cifar)] == [19, 1, 4]
    test_batch = pickle.loads(cifar_batches["test_batch"])
    assert cifar.test.y.tolist() == test_batch["labels"]
    # A row of the file holds an image's red, then green, then blue values.
    assert cifar.test.x.numpy().tobytes() == test_batch["data"].tobytes()


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_a_damaged_cifar10_file_is_named(cifar_folder: Path, name: str) -> None:
    (cifar_folder / name).write_bytes((cifar_folder / name).read_bytes()[:-3])
    with pytest.raises(DataError) as caught:
        load("cifar10")
    assert str(caught.value).startswith(f"{cifar_folder / name} is damaged or only half there (its checksum is not")
    assert "load('cifar10')" in str(caught.value)


def test_missing_cifar10_says_what_is_missing_without_importing_torchvision(tmp_path: Path) -> None:
    assert not DATASETS["cifar10"].available()
    with pytest.raises(DataError) as caught:
        load("cifar10", download=False)
    folder = data_folder() / "cifar-10-batches-py"
    assert str(caught.value).startswith(f"CIFAR-10 is not in {folder} (missing: data_batch_1, data_batch_2, ")
    assert str(caught.value).endswith("or set DROPSCOPE_DATA to a folder that has cifar-10-batches-py.")
    assert not folder.parent.exists()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def mnist_archives(mnist_files: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to serve, with the archives that torchvision asks for."""
    from torchvision.datasets import MNIST

    archives = tmp_path / "archives"
    archives.mkdir()
    resources = []
    for name, content in mnist_files.items():
        packed = gzip.compress(content)
        (archives / f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))
    monkeypatch.setattr(MNIST, "resources", resources)
    return archives


@pytest.mark.usefixtures("no_proxy")
def test_mnist_is_downloaded_once_with_progress_on_stderr(
    mnist_archives: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from torchvision.datasets import MNIST

    with served(mnist_archives) as url:
        monkeypatch.setattr(MNIST, "mirrors", [url])
        first = load("mnist")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "100%" in shown.err
    again = load("mnist")
    assert torch.equal(first.train.x, again.train.x)
    # Nothing is left of the download but the files themselves.
    assert {path.name for path in data_folder().iterdir()} == {"MNIST"}
    assert {path.name for path in (data_folder() / "MNIST" / "raw").iterdir()} == standard_sets.MNIST_SHA256.keys()


@pytest.mark.usefixtures("no_proxy")
def test_a_broken_download_leaves_nothing_behind(mnist_archives: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import MNIST

    archive = mnist_archives / "t10k-images-idx3-ubyte.gz"
    archive.write_bytes(archive.read_bytes()[:-20])
    with served(mnist_archives) as url:
        monkeypatch.setattr(MNIST, "mirrors", [url])
        with pytest.raises(DataError) as caught:
            load("mnist")
    assert "and could not be downloaded (File not found or corrupted); run `python -c " in str(caught.value)
    assert list(data_folder().iterdir()) == []


@pytest.mark.usefixtures("no_proxy")
def test_without_a_network_the_error_names_files_cause_and_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR10, MNIST

    # Port 9 of this machine: nobody listens, as nobody answers without a network.
    monkeypatch.setattr(MNIST, "mirrors", ["http://127.0.0.1:9/"])
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")
    for name, title in (("mnist", "MNIST"), ("cifar10", "CIFAR-10")):
        with pytest.raises(DataError) as caught:
            load(name)
        sentence = str(caught.value)
        assert sentence.startswith(f"{title} is not in {data_folder()}{os.sep}")
        assert "Connection refused" in sentence
        assert f"load('{name}')" in sentence
        assert "\n" not in sentence
    assert list(data_folder().iterdir()) == []


@pytest.mark.usefixtures("no_proxy")
def test_cifar10_is_downloaded_and_old_scratch_is_cleared(
    cifar_batches: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torchvision.datasets import CIFAR10

    archives = tmp_path / "archives"
    archives.mkdir()
    with tarfile.open(archives / CIFAR10.filename, "w:gz") as tar:
        for name, content in cifar_batches.items():
            member = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5((archives / CIFAR10.filename).read_bytes()).hexdigest())
    abandoned, recent = data_folder() / ".download-old", data_folder() / ".download-new"
    for scratch in (abandoned, recent):
        scratch.mkdir(parents=True)
    os.utime(abandoned, (0, 0))
    with served(archives) as url:
        monkeypatch.setattr(CIFAR10, "url", url + CIFAR10.filename)
        check_contract(load("cifar10"))
    assert DATASETS["cifar10"].available()
    assert {path.name for path in data_folder().iterdir()} == {"cifar-10-batches-py", recent.name}


def test_a_data_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("DROPSCOPE_DATA", str(tmp_path / "file" / "data"))
    with pytest.raises(
        DataError, match=r"MNIST cannot be written to .*file/data \(Not a directory\); make room there or"
    ):
        load("mnist")


def test_a_full_disk_during_a_download_is_told_from_a_missing_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(scratch: Path) -> Path:
        raise OSError(28, "No space left on device", str(scratch))

    monkeypatch.setattr(standard_sets, "_fetch_mnist", full)
    with pytest.raises(DataError, match=r"MNIST cannot be written to .* \(No space left on device\); make room there"):
        load("mnist")
    assert list(data_folder().iterdir()) == []
