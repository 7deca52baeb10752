"""Compare in a browser: names as text wherever they stand, pictures and files, and the address that brings it back."""

import csv
from pathlib import Path
from urllib.parse import quote

import pytest

from core.checkpoints import load
from core.config import Config
from core.runs import RunStore
from tests.browser import Browser, Page, Server, browser, fits_a_phone, page, server, tab, wait_until

__all__ = ["browser", "page", "server"]
pytestmark = pytest.mark.browser

# The name is as long as a name may be, and a formula; the tag wants to turn what follows it.
NAME = ("=1+1 <img src=x onerror=\"document.title='broken'\"> **b** " + "x" * 200)[:200]
TAG = '<img src=x onerror="alert(1)">'


def filled(home: Path) -> list[str]:
    """Three seeds of two techniques with real weights; two of them have a tag, one the worst of names."""
    store, ids = RunStore(home), []
    for technique in ("none", "dropcorr"):
        trained = load(f"digits-{technique}")
        for seed in range(3):
            config = Config(technique=technique, seed=seed, epochs=2).to_dict()
            run = store.create(config, {"device": "cpu"})
            facts = {name: getattr(trained, name) for name in ("shape", "classes", "mean", "std")}
            store.save_weights(run, trained.weights, config | {"network": "digits", "images": facts})
            records = [{"kind": "epoch", "step": e, "epoch": float(e), "val_accuracy": 0.9 + e / 50} for e in (1, 2)]
            store.record(run, records)
            final = {"test_accuracy": 0.95 + seed / 100, "train_seconds": 1.0 + seed, "epoch": 2.0}
            store.finish(run, "done", final=final)
            ids.append(run)
    store.rename(ids[0], NAME)
    store.tag(ids[:2], add=[f"\u202e{TAG}"])
    return ids


@pytest.fixture(scope="module")
def runs(server: Server) -> list[str]:
    return filled(server.home)


def drawn(page: Page, figures: int) -> None:
    wait_until(lambda: page.locator(".ds-figure .main-svg").count() >= 2 * figures, "the figures are not drawn")


def test_names_and_tags_are_text_and_the_address_brings_the_view_back(
    page: Page, server: Server, runs: list[str]
) -> None:
    view = f"/compare?by=Tags&tag={quote(TAG)}&confusion=true&runs={runs[0]},{runs[1]}"
    page.goto(server.url + view)
    drawn(page, 4)
    page.get_by_role("table").get_by_text(TAG, exact=True).wait_for()
    page.locator(".ds-legend button", has_text=TAG).first.wait_for()
    page.get_by_role("button", name="Delete 2 runs").wait_for()
    page.locator(".ds-figure figcaption", has_text="onerror").first.wait_for()
    assert page.locator("img[src=x]").count() == 0
    assert page.title() == "Compare · Dropscope"
    with page.expect_download() as saved:
        page.get_by_role("button", name="Runs as CSV").click()
    rows = list(csv.DictReader(saved.value.path().read_text().splitlines()))
    assert [row["name"] for row in rows if row["id"] == runs[0]] == ["'" + NAME]
    with page.expect_download() as saved:
        page.get_by_role("button", name="All as a web page").click()
    told = saved.value.path().read_text()
    assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;" in told
    assert TAG not in told.replace("\\u003c", "<").partition("<script")[0]


def test_every_figure_is_saved_as_a_png_with_its_title_and_legend(page: Page, server: Server, runs: list[str]) -> None:
    page.goto(f"{server.url}/compare")
    drawn(page, 2)
    sizes = []
    for button in page.get_by_role("button", name="Save as PNG").all():
        with page.expect_download() as saved:
            button.click()
        content = saved.value.path().read_bytes()
        assert content.startswith(b"\x89PNG")
        sizes.append(int.from_bytes(content[16:20], "big"))
    assert len(sizes) == 2
    assert min(sizes) >= 1000


def test_a_run_is_renamed_and_tagged_by_hand(page: Page, server: Server, runs: list[str]) -> None:
    store = RunStore(server.home)
    page.goto(f"{server.url}/compare?runs={runs[5]}")
    drawn(page, 2)  # what is drawn above moves the buttons
    page.get_by_role("button", name="Rename").click()
    field = page.get_by_label("Name", exact=True)
    field.fill("Best of all")
    page.get_by_role("button", name="Save name").click()
    wait_until(lambda: store.get(runs[5]).name == "Best of all", "the run keeps its name")
    field.wait_for(state="hidden")
    page.get_by_role("button", name="Tags").click()
    tags = page.get_by_label("Tags of this run, with commas between")
    tags.fill("lecture 3")
    tags.press("Enter")
    wait_until(lambda: store.get(runs[5]).tags == ("lecture 3",), "the run gets no tag")
    tags.wait_for(state="hidden")


@pytest.mark.parametrize("dark", [False, True])
def test_nothing_is_wider_than_a_phone(browser: Browser, server: Server, runs: list[str], dark: bool) -> None:
    with tab(browser, 390, 844, dark) as phone:
        phone.goto(f"{server.url}/compare?confusion=true&by=Tags&runs={runs[0]},{runs[3]}")
        drawn(phone, 4)
        fits_a_phone(phone, ".ds-save")
