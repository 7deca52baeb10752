"""What a browser sees, if Chromium and Playwright are there: the first screen, and a frame of the masks."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.bench.server import Server, serving
from core.bench import Finding
from core.bench.results import amount, results

EMPTY = "import streamlit as st\nst.write('Empty.')\n"
# Without these a browser started by root does not start, and one without a network keeps trying to reach it.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
]
MOVES = 20
# Sets the slider, and answers with what that and the drawing in the next frame took, in milliseconds.
MOVE = """(input, step) => new Promise((told) => {
    const began = performance.now();
    input.value = step;
    input.dispatchEvent(new Event("input"));
    const handled = performance.now() - began;
    requestAnimationFrame((frame) => told(handled + performance.now() - frame));
})"""
# Notes when what is asked for has been painted: a frame after it was there. Seconds since the navigation began.
PAINTED = """(sign) => {
    const look = () => requestAnimationFrame(document.querySelector(sign) ? note : look);
    const note = () => { window.dropscopePainted = performance.now() / 1000; };
    look();
}"""


def measure(server: Server, rounds: int) -> Iterator[Finding]:
    """The first screen, each time in a browser that has kept nothing, and the p slider of Explore."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        print("The first screen was not measured: it needs Chromium and the package playwright.", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory(prefix="dropscope-bench-") as folder, sync_playwright() as playwright:
        script = Path(folder) / "empty.py"
        script.write_text(EMPTY, encoding="utf-8")
        with serving(Path(folder), script) as empty:
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            yield from first_screens(browser, server, empty, rounds)
            yield amount("app", "Explore: p slider to masks", "s", {"techniques": 4}, slides(browser, server))
            browser.close()


def first_screens(browser: Any, server: Server, empty: Server, rounds: int) -> Iterator[Finding]:
    """Explore until its masks are painted, and the empty page until its word stands there."""
    seen = {"first screen": (server.url, ".ds-panel canvas"), "empty page": (empty.url, ".stMarkdown p")}
    times: dict[str, list[float]] = {name: [] for name in seen}
    for number in range(-1, rounds):
        for name, (url, sign) in sorted(seen.items(), reverse=bool(number % 2)):
            seconds = until_painted(browser, url, sign)
            if number >= 0:  # the first of each warms the servers up
                times[name].append(seconds)
    yield from results("app", times, "empty page", {"techniques": 4})


def until_painted(browser: Any, url: str, sign: str) -> float:
    """Seconds until what the selector ``sign`` finds is painted, in a browser that has kept nothing."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.add_init_script(f"({PAINTED})({json.dumps(sign)})")
    page.goto(url, wait_until="commit")
    seconds: float = page.wait_for_function("window.dropscopePainted").json_value()
    context.close()
    return seconds


def slides(browser: Any, server: Server) -> list[float]:
    """Seconds of work in a frame in which the p slider moves all masks."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.goto(server.url)
    page.locator(".ds-panel canvas").first.wait_for()
    slider = page.locator(".ds-p input")
    taken = [slider.evaluate(MOVE, step) / 1000 for step in range(10, 10 + MOVES)]
    context.close()
    return taken
