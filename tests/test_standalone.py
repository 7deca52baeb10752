"""The comparison as one HTML file: nothing loaded, nothing run but its own scripts, names as text."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from app import charts, standalone
from app.compare_document import comparison_document
from app.standalone import Section
from core import baseline, comparison, variants
from tests.browser import Browser, browser, tab, wait_until
from tests.test_comparison import run
from tests.test_variants import TITLES, labelled

__all__ = ["browser"]

EVIL = "</script><script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">&amp;\u202egnp"
SHOWN = EVIL.replace("\u202e", "")


class Read(HTMLParser):
    """The tags of a page, and its text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._quiet = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._quiet = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._quiet = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._quiet else data


def comparison_page(name: str = EVIL) -> str:
    values = {"none": [0.90, 0.91, 0.93], "standard": [0.95, 0.955, 0.975]}
    runs = [labelled(run(t, seed, value), name) for t, row in values.items() for seed, value in enumerate(row)]
    for one in runs:
        one.name, one.reason, one.ended = name, name, True
        one.config["dataset"] = name
    rows = variants.table(runs, TITLES | {"standard": name})
    summary = comparison.summary(rows)
    pinned = baseline.default(rows) or ""
    epochs = [
        (v, t, e, 0.9, 0.01, 3) for v, t in zip(summary["variant"], summary["technique"], strict=True) for e in (1, 2)
    ]
    curves = pd.DataFrame(epochs, columns=["variant", "technique", "epoch", "mean", "sd", "n"])
    drawn = [charts.accuracy_per_epoch(curves), charts.accuracy_against_time(summary, f"× {name}")]
    tests = baseline.against(rows, pinned)
    return comparison_document(name, runs, rows, tests, pinned, "Technique", drawn)


PAGE = comparison_page()


def test_names_are_text_and_only_the_page_s_own_scripts_may_run() -> None:
    read = Read(PAGE)
    assert [tag for tag, _ in read.tags].count("img") == 0
    scripts = [attributes for tag, attributes in read.tags if tag == "script"]
    nonces = {attributes.get("nonce") for attributes in scripts if attributes.get("type") != "application/json"}
    assert len(scripts) == 3
    assert len(nonces) == 1
    (policy,) = (a["content"] for tag, a in read.tags if tag == "meta" and "http-equiv" in a)
    assert f"default-src 'none'; script-src 'nonce-{nonces.pop()}';" in str(policy)
    assert read.text.count(SHOWN) >= 8
    assert "\u202e" not in PAGE


def test_it_loads_nothing_from_anywhere() -> None:
    loading = [a for _, a in Read(PAGE).tags for name in ("src", "href", "srcset", "data", "action") if name in a]
    assert loading == []
    assert "@import" not in PAGE
    assert not re.search(r"url\((?!['\"]?(?:data|#))", PAGE.partition("</style>")[0])


def test_it_tells_what_the_page_tells() -> None:
    told = Read(comparison_page("Standard")).text
    assert "Standard" in told
    assert "91.3 ± 1.5 %" in told
    assert "+4.67" in told
    assert "With 3 seeds, Standard (96.0 %) is better than No dropout by more than chance allows." in told
    assert "Standard is better than No dropout by more than chance allows." in told
    assert "How it was measured" in told
    assert "relative to No dropout" in told
    assert "Settings that differ" in told


def test_two_files_do_not_share_the_word_that_lets_scripts_run() -> None:
    first, second = (standalone.document("a", "b", [], [Section("c")]) for _ in range(2))
    assert re.findall(r"nonce-(\S+?)'", first) != re.findall(r"nonce-(\S+?)'", second)


@pytest.mark.browser
def test_it_opens_without_a_network_and_its_figures_are_drawn_and_saved(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "a page.html"
    path.write_text(PAGE, encoding="utf-8")
    asked: list[str] = []
    with tab(browser, 390, 844) as page:
        page.context.set_offline(True)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        wait_until(lambda: page.locator(".ds-figure .main-svg").count() >= 4, "the figures are not drawn")
        assert page.title() == SHOWN
        assert page.locator("img").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
        legend = page.locator(".ds-figure").first.locator(".ds-legend button")
        assert legend.first.inner_text() in (SHOWN, EVIL)
        legend.first.click()
        assert legend.first.get_attribute("aria-pressed") == "false"
        with page.expect_download() as saved:
            page.get_by_role("button", name="Save as PNG: Validation accuracy").click()
        assert saved.value.suggested_filename == "validation-accuracy-per-epoch.png"
        content = saved.value.path().read_bytes()
        assert content.startswith(b"\x89PNG")
        assert page.title() == SHOWN
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
