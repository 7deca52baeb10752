"""The Paper page as a script: every number that it shows follows from the CSV, and without one it says the commands."""

import csv
import math
import re
import shlex
from collections.abc import Mapping
from html import unescape
from pathlib import Path

import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from app.names import techniques
from app.paper_words import sentence as sentence_of
from core.__main__ import run
from core.reproduce import cost, results
from core.reproduce.paper import CLAIMS
from core.reproduce.verdicts import judge
from tests import paper_oracle as oracle
from tests.reproduction import made_up, write
from tests.test_app import html, opened, tables

OURS, CIFAR = results.path_of("mnist"), results.path_of("cifar10")
MACHINE = ("device_name", "device", "threads", "precision")
TITLES = {**techniques(), "dropact alternate": "DropAct, alternate", "dropcorr refreshed": "DropCorr, refreshed"}
TABLE_1 = {
    "dropact": 98.43, "dropinv": 99.10, "dropcorr": 98.60, "standard": 98.49, "gaussian": 96.18, "variational": 97.88,
}  # fmt: skip
TABLE_2 = {"dropact": 83.16, "dropinv": 81.57, "standard": 81.40, "gaussian": 84.15}
NUMBER = re.compile(r"(?<![\w=.])[+−]?\d[\d,]*(?:\.\d+)?")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The places of CSV files and benchmark results, empty."""
    monkeypatch.setattr(results, "FOLDER", tmp_path / "paper")
    monkeypatch.setattr(cost, "FOLDER", tmp_path / "benchmarks")
    return tmp_path / "paper"


@pytest.fixture(params=["made up", "the project's own"])
def path(request: pytest.FixtureRequest, folder: Path) -> Path:
    if request.param == "made up":
        write(folder / "mnist.csv", made_up())
    elif OURS.exists():
        folder.mkdir()
        (folder / "mnist.csv").write_bytes(OURS.read_bytes())
    else:
        pytest.skip("checkpoints/paper/mnist.csv is not there")
    return folder / "mnist.csv"


def paper() -> AppTest:
    test = opened("paper")
    assert not test.exception
    assert not test.error
    return test


def test_without_runs_the_page_says_the_commands(folder: Path) -> None:
    test = paper()
    told = [code.value for code in test.code]
    assert told[:2] == ["python -m core reproduce mnist", "python -m core reproduce cifar10"]
    assert told[-1] == "python -m core bench layers --json > tests/benchmarks/results/layers.jsonl"
    assert "not run here yet" in html(test)
    assert [shown(cell) for cell in tables(test)[1]["Paper (%)"]] == [[83.16], [81.57], [81.40], [84.15]]
    assert set(tables(test)[1]["Ours ± sd (%)"]) == {"–"}
    for command in told[:-1]:
        words = shlex.split(command)[3:]
        assert run([*words, "--dry-run"]) == 0, command


def test_every_number_follows_from_the_file(path: Path) -> None:
    found, test = oracle.runs(path), paper()
    claims = [claim for claim in CLAIMS if claim.dataset == "mnist"]
    said = [unescape(re.sub(r"<[^>]*>", "", text)) for text in re.findall(r'ds-claim">(.*?)</div></div>', html(test))]
    assert len(said) == len(claims)
    for claim, sentence, table in zip(claims, said, tables(test), strict=False):
        assert sentence.startswith(oracle.verdict(found, claim.key))
        check_sentence(found, claim.key, sentence.rpartition(claim.where)[2])
        check_differences(found, claim.key, table)
    check_protocol(found, path, test)
    accuracies, _, *rest = tables(test)[len(claims) :]
    check_accuracies(found, accuracies)
    check_summary(found, html(test))
    if any("count=" in name for name, runs in found.items() if runs):
        check_choices(found, rest.pop(0))
        check_finding(found, next(part.value for part in test.markdown if "literal reading validates" in part.value))
        dead = [float(row[name]) for row in chosen_rows(path) for name in ("dead_1", "dead_2") if row[name]]
        assert any("No example was dead" in part.value for part in test.markdown) == (max(dead) == 0)
    if any(name.endswith(("alternate", "refreshed")) for name, runs in found.items() if runs):
        check_proposals(found, rest.pop(0))
    assert rest == []


def test_what_cifar_10_says_of_the_drop_count_follows_from_its_file(folder: Path) -> None:
    folder.mkdir()
    (folder / "cifar10.csv").write_bytes(CIFAR.read_bytes())
    found, test = oracle.runs(folder / "cifar10.csv"), paper()
    claims = [claim for claim in CLAIMS if claim.dataset == "cifar10"]
    words = re.findall(r'ds-claim"><span class="ds-verdict-\w+">(.*?)</span>', html(test))
    assert words == [oracle.verdict(found, claim.key) for claim in claims]
    check_protocol(found, folder / "cifar10.csv", test)
    check_choices(found, next(table for table in tables(test) if "Rescale" in table))
    said = next(part.value for part in test.markdown if "literal reading validates" in part.value)
    check_finding(found, said, TABLE_2)


@pytest.mark.parametrize(("epochs", "word"), [(99, "cannot be told"), (100, "does not hold")])
def test_a_claim_about_a_hundred_epochs_takes_as_many(epochs: int, word: str) -> None:
    rows = [
        {"setting": name, "seed": seed, "epoch": epochs, "epochs": epochs, "val_accuracy": accuracy + seed / 1e4,
         "precision": "fp32"}
        for name, accuracy in (("dropact", 0.5), ("dropinv", 0.7), ("standard", 0.8), ("gaussian", 0.9))
        for seed in range(4)
    ]  # fmt: skip
    rows = [row | {"val_accuracy": row["val_accuracy"] + (row["seed"] % 2) / 1e3 * (row["setting"] == "dropact")}
            for row in rows]  # fmt: skip
    (claim,) = (claim for claim in CLAIMS if claim.key == "cifar-dropact-catches-up")
    verdict = judge(claim, pd.DataFrame(rows))
    assert (verdict.word, verdict.short) == (word, epochs < 100)
    assert ("Trained for 99 of the 100 epochs" in sentence_of(verdict)) == verdict.short


def chosen_rows(path: Path) -> list[dict[str, str]]:
    """The paper's three under every choice, up to the epoch that all reached."""
    with path.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["technique"] in oracle.NEW]
    rows = [row for row in rows if row["group"] != "proposal"]
    last = min(int(row["epochs"]) for row in rows)
    return [row for row in rows if int(row["epoch"]) <= last]


def check_summary(found: dict[str, dict[int, oracle.Rows]], page: str) -> None:
    words = [oracle.verdict(found, key) for key in oracle.CLAIMS if not key.startswith("cifar")]
    told = re.search(r"MNIST</strong>: (.*?)</li>", page)
    assert told
    counts = [words.count(word) for word in ("holds", "does not hold", "cannot be told")]
    assert shown(told[1]) == [len(words), *counts]


def check_protocol(found: dict[str, dict[int, oracle.Rows]], path: Path, test: AppTest) -> None:
    rows = pd.read_csv(path, keep_default_na=False)
    main = [runs for name, runs in found.items() if name in techniques()]
    seeds = {len(runs) for runs in main if runs}
    said = next(part.value for part in test.markdown if "the paper's network" in part.value).replace("\\", "")
    assert said.startswith(f"{sum(map(len, found.values()))} runs on {rows['data'][0]}: ")
    most = f"{max(seeds)} seeds" if max(seeds) > 1 else "one seed"
    assert (f"with {most} each;" if len(seeds) == 1 else f"with up to {most};") in said
    for name in set(rows["device_name"]) | set(rows["torch"].astype(str)) | set(rows["precision"]):
        assert name in said


def check_finding(
    found: dict[str, dict[int, oracle.Rows]], said: str, published: Mapping[str, float] = TABLE_1
) -> None:
    """What the literal reading reaches, and how far each choice is from the paper's accuracies."""
    said = said.replace("\\", "")
    names = [name for name in found if found[name] and (name in oracle.NEW or "count=" in name)]
    epoch = oracle.common_epoch(found, names)
    mean = {name: 100 * oracle.accuracy(found, name, "validation", epoch)[0] for name in names}
    assert f"After epoch {epoch}," in said
    for name in oracle.NEW:
        if name in mean:
            assert same(said.partition(f"{TITLES[name]} ")[2], [mean[name]])
    off: dict[str, list[float]] = {}
    for name in names:
        technique, _, rest = name.partition(" ")
        choice = rest.replace(" ", ", ") or "count=layer, rescale=none"
        off.setdefault(choice, []).append(abs(mean[name] - published[technique]))
    most = max(map(len, off.values()))
    averages = {choice: sum(each) / len(each) for choice, each in off.items() if len(each) == most}
    best = min(averages, key=lambda choice: averages[choice])
    assert same(said.partition(f"is {best}: ")[2], [averages[best]])
    if best != "count=layer, rescale=none" and "count=layer, rescale=none" in averages:
        assert same(said.rpartition("the literal reading is ")[2], [averages["count=layer, rescale=none"]])
    spreads = [oracle.accuracy(found, name, "validation", epoch)[1] for name in names]
    known = [100 * sd for sd in spreads if not math.isnan(sd)]
    assert same(said.partition("an accuracy moves by ")[2], [sum(known) / len(known)] if known else [])


def check_sentence(found: dict[str, dict[int, oracle.Rows]], key: str, sentence: str) -> None:
    """The difference that decides, with its numbers; of what contradicts, joint intervals."""
    measure, pairs, bound = oracle.CLAIMS[key]
    told = oracle.differences(found, key)
    word = oracle.verdict(found, key)
    fewest = min(each.n for each in told.values())
    if oracle.apart(found, key):
        assert "do not compare" in sentence
    elif word == "does not hold":
        against = {pair: each for pair, each in told.items() if each.joint[1] < bound}
        assert sentence.count(" to ") == min(3, len(against))
        for pair, each in list(against.items()) if len(against) <= 3 else []:
            assert same(sentence.partition(f"{named(pair, measure)} ")[2], in_unit(each, measure, joint=True))
        assert shown(sentence)[0] == pytest.approx(in_words(bound, measure), rel=5e-3)
    elif any(not found.get(name) for pair in pairs for name in pair):
        assert sentence.startswith("Not trained yet") == (word == "cannot be told")
    elif fewest < 3:
        assert ("One seed" if fewest == 1 else f"{fewest} seeds") in sentence
    else:
        # Accuracies are whole images, so two differences can be equally low: either may be told.
        low = min(each.own[0] for each in told.values())
        lowest = [pair for pair, each in told.items() if math.isclose(each.own[0], low, rel_tol=1e-9)]
        ends = {pair: sentence.partition(f"{named(pair, measure)} ")[2] for pair in lowest}
        assert any(end and same(end, in_unit(told[pair], measure)) for pair, end in ends.items())


def check_differences(found: dict[str, dict[int, oracle.Rows]], key: str, table: pd.DataFrame) -> None:
    measure = oracle.CLAIMS[key][0]
    rows = {row["Difference"]: row for row in table.to_dict("records")}
    for pair, each in oracle.differences(found, key).items():
        row = rows.pop(named(pair, measure))
        assert row["Seeds"] == str(each.n)
        assert same(row["Ours (95 %)"], in_unit(each, measure))
        assert same(row["All at once"], in_unit(each, measure, joint=True))
        if measure == "test":
            assert same(row["Paper"], [TABLE_1[pair[0]] - TABLE_1[pair[1]]])
    assert not rows


def check_accuracies(found: dict[str, dict[int, oracle.Rows]], table: pd.DataFrame) -> None:
    plain = found.get("none") or {}
    rows = {row["Technique"]: row for row in table.to_dict("records")}
    for name in TABLE_1 | {name: 0 for name in found if name in techniques()}:
        row = rows.pop(TITLES[name])
        assert same(row["Paper (%)"], [TABLE_1[name]] if name in TABLE_1 else [])
        if not found.get(name):
            assert (row["Ours ± sd (%)"], row["Seeds"]) == ("–", "0")
            continue
        mean, sd, n = oracle.accuracy(found, name, "test")
        assert same(row["Ours ± sd (%)"], [100 * mean, 100 * sd])
        assert row["Seeds"] == str(n)
        assert same(row["Ours − paper"], [100 * mean - TABLE_1[name]] if name in TABLE_1 else [])
        if plain:
            assert same(row["Time (×)"], times_none(found[name], plain))
    assert not rows


def check_choices(found: dict[str, dict[int, oracle.Rows]], table: pd.DataFrame) -> None:
    names = [name for name in found if found[name] and (name in oracle.NEW or "count=" in name)]
    assert len(table) == len(names)
    epoch = oracle.common_epoch(found, names)
    for row in table.to_dict("records"):
        technique = next(name for name in oracle.NEW if TITLES[name] == row["Technique"])
        literal = (row["Count"], row["Rescale"]) == ("layer", "none")
        name = technique if literal else f"{technique} count={row['Count']} rescale={row['Rescale']}"
        mean, sd, n = oracle.accuracy(found, name, "validation", epoch)
        assert same(row["Validation accuracy (%)"], [100 * mean, 100 * sd])
        assert row["Seeds"] == str(n)
        if not literal and found.get(technique):
            each = oracle.difference(found, name, technique, "validation", epoch, 1)
            assert same(row["Less the literal"], in_unit(each, "validation"))


def check_proposals(found: dict[str, dict[int, oracle.Rows]], table: pd.DataFrame) -> None:
    for row in table.to_dict("records"):
        technique = next(name for name in oracle.NEW if row["Setting"].startswith(TITLES[name]))
        name = f"{technique} {row['Setting'].rpartition(' ')[2]}"
        epoch = oracle.common_epoch(found, [name, technique])
        each = oracle.difference(found, name, technique, "validation", epoch, 1)
        mean, sd, _ = oracle.accuracy(found, name, "validation", epoch)
        assert same(row["Validation accuracy (%)"], [100 * mean, 100 * sd])
        assert same(row["Less the plain"], in_unit(each, "validation"))
        times = oracle.difference(found, name, technique, "time", epoch, 1)
        assert same(row["Time / plain"], [10**times.mean])


def times_none(runs: dict[int, oracle.Rows], plain: dict[int, oracle.Rows]) -> list[float]:
    """Seconds of an epoch over those without dropout, mean over the seeds that one machine trained with both."""
    both = [(rows[-1], plain[seed][-1]) for seed, rows in runs.items() if seed in plain]
    ratios = [per_epoch(own) / per_epoch(none) for own, none in both if all(own[c] == none[c] for c in MACHINE)]
    return [sum(ratios) / len(ratios)] if ratios else []


def per_epoch(row: dict[str, str]) -> float:
    return float(row["train_seconds"]) / int(row["epoch"])


def named(pair: tuple[str, str], measure: str) -> str:
    return f"{TITLES[pair[0]]} {'/' if measure == 'time' else '−'} {TITLES[pair[1]]}"


def in_words(value: float, measure: str) -> float:
    return 10**value if measure == "time" else 100 * value


def in_unit(told: oracle.Told, measure: str, joint: bool = False) -> list[float]:
    """Mean and interval as the page shows them: points, or a factor."""
    return [in_words(value, measure) for value in (told.mean, *(told.joint if joint else told.own))]


def shown(text: str) -> list[float]:
    return [float(word.replace("−", "-").replace(",", "")) for word in NUMBER.findall(text)]


def same(text: str, expected: list[float]) -> bool:
    """Whether a text begins with these numbers, each to the digits shown; nan stands for none."""
    words = NUMBER.findall(text)
    known = [value for value in expected if not math.isnan(value)]
    if len(words) < len(known):
        return False
    digits = [len(word.partition(".")[2]) for word in words]
    pairs = zip(shown(text), known, digits, strict=False)
    return all(abs(value - right) <= 0.5 * 10**-digit + 1e-9 for value, right, digit in pairs)
