"""Lesson 5's picture: its numbers against NumPy on the activations that the checkpoint carries."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from app import pair_panels, pairs
from app.lessons.lesson import LessonError
from app.lessons.pictures.pairs import Pairs, literal, product
from app.lessons.reading import from_yaml
from app.pairs import Source
from core.dropout import DropCorr
from core.inspection.together import sampled

NET, LAYER = "digits-dropact", 1
PICTURE = Pairs(NET, LAYER, ("standard", "dropcorr"), 0.2, "cluster", ("marks", "activations", "standard", "dropcorr"))
# So many standard errors: one test in 150,000 fails by chance.
SIGMAS = 4.5


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    """The activations behind the picture, float64 (200, 128), as the file has them."""
    folder = Path(__file__).parent.parent / "checkpoints" / NET
    found = load_file(folder / "references.safetensors")
    layers = [found[name] for name in sorted(found)]
    return layers[LAYER].reshape(len(layers[LAYER]), -1).astype(np.float64)


@pytest.fixture(scope="module")
def strongest(x: np.ndarray) -> tuple[int, int]:
    r = np.corrcoef(x.T)
    return tuple(sorted(map(int, np.unravel_index(np.triu(r, 1).argmax(), r.shape))))  # type: ignore[return-value]


def test_the_pairs_are_the_extremes_of_the_exact_correlation(x: np.ndarray, strongest: tuple[int, int]) -> None:
    facts = PICTURE.facts()
    r = np.triu(np.corrcoef(x.T), 1)
    assert (facts["first"], facts["second"]) == strongest
    assert facts["correlation"] == pytest.approx(r.max(), abs=1e-5)
    assert facts["against"] == pytest.approx(r.min(), abs=1e-5)
    assert r[facts["against_first"], facts["against_second"]] == r.min()  # type: ignore[index]
    assert (facts["images"], facts["units"], facts["entries"]) == (200, 128, 128 * 128)
    assert (facts["pairs"], facts["k"], facts["masks"]) == (8128, 25, 5000)


def test_how_often_the_pair_falls_together_is_what_the_rules_say(x: np.ndarray, strongest: tuple[int, int]) -> None:
    facts = PICTURE.facts()
    masks = int(facts["masks"])
    alone = 0.2**2
    assert facts["standard.together"] == pytest.approx(100 * alone, abs=100 * SIGMAS * deviation(alone, masks))
    assert facts["chance"] == pytest.approx(100 * alone)
    # DropCorr by its definition: s from the factors of the covariance, the 25 largest fall.
    values, vectors = np.linalg.eigh(np.cov(x.T))
    root = vectors * np.sqrt(np.clip(values, 0, None))
    s = np.random.default_rng(7).standard_normal((20000, 128)) @ root.T
    falls = np.zeros(s.shape, dtype=bool)
    np.put_along_axis(falls, np.argpartition(-s, 24, axis=1)[:, :25], True, axis=1)
    together = float((falls[:, strongest[0]] & falls[:, strongest[1]]).mean())
    error = np.hypot(deviation(together, masks), deviation(together, len(s)))
    assert facts["dropcorr.together"] == pytest.approx(100 * together, abs=100 * SIGMAS * error)
    against = [int(facts["against_first"]), int(facts["against_second"])]
    apart = float(falls[:, against].all(1).mean())
    error = np.hypot(deviation(max(apart, 1e-3), masks), deviation(max(apart, 1e-3), len(s)))
    assert facts["dropcorr.against_together"] == pytest.approx(100 * apart, abs=100 * SIGMAS * error)
    assert facts["dropcorr.falls"] == pytest.approx(100 * 25 / 128)


def deviation(share: float, count: int) -> float:
    return float(np.sqrt(share * (1 - share) / count))


def test_the_samples_have_the_covariance_that_is_never_formed(x: np.ndarray, strongest: tuple[int, int]) -> None:
    source = Source(NET, 0, LAYER)
    layer, given = pairs.placed(source, "dropcorr", 0.2)
    assert isinstance(layer, DropCorr)
    draws = 50
    found = sampled(layer, given, draws, seed=3)
    S = np.cov(x.T) * (len(x) - 1)
    # Of normal numbers with covariance S, a product s_i·s_j has the variance S_ii·S_jj + S_ij².
    error = np.sqrt((np.outer(np.diag(S), np.diag(S)) + S**2) / (draws * len(x)))
    assert np.max(np.abs(found - S) / error) < 6  # of 8,256 entries
    facts = PICTURE.facts()
    apart = np.arctanh(float(facts["sampled"])) - np.arctanh(np.corrcoef(x.T)[strongest])
    assert abs(apart) < SIGMAS / np.sqrt(facts["masks"])


def test_the_cost_is_what_a_loop_counts() -> None:
    batch, units = 5, 7
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, units)) + 0.0
    count = 0
    S = np.eye(units)
    for i in range(units):
        for j in range(i + 1):
            for b in range(batch):
                S[i, j] += x[b, i] * x[b, j]
                count += 1
    L = np.zeros((units, units))
    for j in range(units):
        for i in range(j, units):
            total = S[i, j]
            for m in range(j):
                total -= L[i, m] * L[j, m]
                count += 1
            L[i, j] = np.sqrt(total) if i == j else total / L[j, j]
    assert np.allclose(L @ L.T, np.tril(S) + np.tril(S, -1).T)
    count += sum(i + 1 for _ in range(batch) for i in range(units))  # L·z for each example
    assert literal(batch, units) == count
    assert product(batch, units) == sum(1 for _ in range(batch) for _ in range(units) for _ in range(batch))
    facts = PICTURE.facts()
    assert facts["saving"] == pytest.approx(literal(100, 1280) / (100 * 100 * 1280))


def test_marks_stand_on_the_pairs_in_every_matrix() -> None:
    facts = PICTURE.facts()
    panels = pair_panels.panels(PICTURE.shown, PICTURE.techniques)
    for chart in pair_panels.figures(PICTURE.shown, panels, PICTURE._marked()):
        circle = next(trace for trace in chart.figure.data if trace.type == "scatter")
        assert set(zip(circle.x, circle.y, strict=True)) == {
            (str(facts["first"]), str(facts["second"])),
            (str(facts["second"]), str(facts["first"])),
        }
    plain = pair_panels.figures(PICTURE.shown, panels)
    assert all(len(chart.figure.data) == 1 for chart in plain)


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        ("kind: pairs, techniques: [gaussian]", "'gaussian' is no technique; there are"),
        ("kind: pairs, techniques: [standard], parts: [dropcorr]", "parts name dropcorr, which is not among"),
        ("kind: pairs, techniques: [standard], parts: [cells]", "'cells' is no part"),
        ("kind: pairs, techniques: [standard], order: size", "'size' is no order"),
    ],
)
def test_a_mistake_in_the_picture_is_named(picture: str, sentence: str) -> None:
    text = (
        "title: A\nabout: B\nminutes: 1\nsteps:\n  - title: C\n    text: D\n"
        f"    picture: {{{picture}}}\n    question: {{ask: E, answers: [a, b], right: 1}}\n    explain: F\n"
    )
    with pytest.raises(LessonError, match="line 7") as caught:
        from_yaml(text, "9-mine.yaml")
    assert sentence in str(caught.value)
