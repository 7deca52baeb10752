"""What a rerun of each page takes, from the press to the last thing drawn, over the socket that browsers use."""

import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from app.bench.server import Server
from app.bench.wire import PRESSED, Visitor, visiting
from core.bench import Finding
from core.bench.budgets import PAGES
from core.bench.results import amount
from core.config import Config
from core.runs import RunStore

FEW = 12
# Of the lessons a step of one, not the list of them.
QUERIES = {"Lessons": "lesson=masks"}
TECHNIQUES = ("none", "standard", "gaussian", "dropact", "dropinv", "dropcorr")


def measure(server: Server, rounds: int) -> Iterator[Finding]:
    """Each page drawn anew with nothing changed, and Explore with another image each time; 12 runs in the store.

    That is how long a press may wait for its page, whose control itself moves in the browser at once.
    """
    fill(RunStore(server.home), FEW, epochs=30)
    with visiting(server) as visitor:
        for title in PAGES:
            draw = partial(visitor.see, title.lower(), QUERIES.get(title, ""))
            draw()
            where = {"runs": FEW} if title in ("Train", "Compare") else {}
            yield amount("app", title, "s", where, timed(draw, rounds))
        visitor.see("explore")
        told: list[float] = []
        seconds = timed(lambda: told.append(turned(visitor)), rounds)
        yield amount("app", "Explore, another image acknowledged", "s", {"techniques": 4}, told)
        yield amount("app", "Explore, another image", "s", {"techniques": 4}, seconds)


def turned(visitor: Visitor) -> float:
    """Press Next; seconds until the first thing that it changes has come, which is the image itself."""
    visitor.see("explore", **{"image-next": PRESSED})
    assert visitor.acknowledged is not None
    return visitor.acknowledged


def measure_many(server: Server, runs: int, rounds: int) -> Iterator[Finding]:
    """Compare with so many runs of 100 epochs: its first sight, and drawn anew."""
    fill(RunStore(server.home), runs, epochs=100)
    with visiting(server) as visitor:
        first = timed(lambda: visitor.see("compare"), 1)
        yield amount("app", "Compare of many runs, first sight", "s", {"runs": runs}, first)
        again = timed(lambda: visitor.see("compare"), rounds)
        yield amount("app", "Compare of many runs, drawn anew", "s", {"runs": runs}, again)


def timed(work: Callable[[], None], rounds: int) -> list[float]:
    """Seconds of each of so many calls."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return taken


def fill(store: RunStore, runs: int, epochs: int) -> None:
    """Runs that have ended, with made-up curves: six techniques over and over, a seed each round."""
    generator = np.random.default_rng(0)
    for number in range(runs):
        technique = TECHNIQUES[number % len(TECHNIQUES)]
        config = Config(technique=technique, seed=number // len(TECHNIQUES), epochs=epochs, device="cpu")
        run = store.create(config.to_dict(), {"device": "cpu", "device_name": "CPU", "threads": 2})
        accuracy = 0.97 - 0.9 * np.exp(-np.arange(1, epochs + 1) / 5) + generator.normal(0, 0.005, epochs)
        store.record(run, [record(epoch, float(a)) for epoch, a in enumerate(accuracy, 1)])
        final = {
            "test_accuracy": float(accuracy[-1]),
            "train_seconds": 0.05 * epochs,
            "val_accuracy": float(accuracy[-1]),
        }
        store.finish(run, "done", final=final)


def record(epoch: int, accuracy: float) -> dict[str, object]:
    """What a run says at the end of an epoch."""
    loss = 2.3 * (1 - accuracy)
    return {
        "kind": "epoch", "step": 14 * epoch, "epoch": float(epoch), "loss": loss, "accuracy": accuracy,
        "val_loss": loss, "val_accuracy": accuracy, "train_seconds": 0.05 * epoch, "eval_seconds": 0.005 * epoch,
        "images_per_s": 27000.0, "dropped": 0.2,
    }  # fmt: skip
