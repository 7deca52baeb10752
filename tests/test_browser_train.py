"""Train while it runs, in a browser: what the curves show, and what may be done to a run."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch

from core.config import Config
from core.runs import RunStore, steps
from core.runs.steps import Place, Update
from tests.browser import Browser, Page, Server, browser, fits_a_phone, page, server, tab, wait_until
from tests.test_watching import batch

__all__ = ["browser", "page", "server"]
pytestmark = pytest.mark.browser

EPOCHS = 20
# Steps an epoch; each has a record.
STEPS = 10
NAMES = (
    "kind", "step", "epoch", "seconds", "loss", "accuracy", "train_eval_loss", "val_loss", "val_accuracy", "dropped",
    "active_dropped", "dead",
)  # fmt: skip
FOCUSED = "(part) => part === document.activeElement"
MARK = {"step": 50, "epoch": 5.0, "seconds": 1.0, "changes": [{"name": "p", "before": 0.5, "after": 0.3}]}


def curve() -> dict[str, list[Any]]:
    """Records of a run whose loss alternates around 1: its mean over an even stretch is exactly that."""
    rows = []
    for step in range(1, EPOCHS * STEPS + 1):
        row = {
            "kind": "step",
            "step": step,
            "epoch": step / STEPS,
            "seconds": step / 50,
            "loss": 1.5 if step % 2 else 0.5,
        }
        rows.append(row | {"accuracy": 0.5, "dropped": 0.5, "active_dropped": 0.4, "dead": 0.0})
        if step % STEPS == 0:
            rows.append(
                row | {"kind": "epoch", "loss": 1.0, "train_eval_loss": 0.25, "val_loss": 0.5, "val_accuracy": 0.9}
            )
    return {name: [row.get(name) for row in rows] for name in NAMES}


def shown(page: Page, server: Server, **state: Any) -> str:
    """Open Train on one run whose live data are made up here; the run's id."""
    store = RunStore(server.home)
    for earlier in store.list(status=["paused"]):
        store.finish(earlier.id, "stopped")
    run = store.create(Config(technique="dropcorr", p=0.5, epochs=EPOCHS).to_dict(), {"network": "digits"})
    store.change(run, lambda _: {"status": "paused"})
    told = {
        "status": "paused", "reason": None, "epochs": EPOCHS, "epoch": float(EPOCHS), "images_per_s": 1e4,
        "eta_s": None, "device": "the CPU", "test_accuracy": None, "train_seconds": None, "marks": [MARK],
        "batch": None,
    } | state  # fmt: skip

    def answer(route: Any) -> None:
        first = route.request.url.endswith("since=0")
        points = curve() if first else {name: [] for name in NAMES}
        route.fulfill(json={"seq": 1, "runs": {run: told | {"points": points}}})

    page.route("**/metrics?*", answer)
    page.goto(f"{server.url}/train?run={run}")
    wait_until(lambda: page.locator(".ds-live").get_attribute("data-points"), "no points arrive")
    return run


def figure(page: Page, chart: int) -> dict[str, Any]:
    """What plotly draws in one chart: the curves' y, and the labels and places of marks."""
    script = """(plot) => ({
      curves: plot.data.map((trace) => [...trace.y]),
      labels: plot.layout.annotations.map(({ text, x }) => [text, x]),
      lines: plot.layout.shapes.map(({ x0 }) => x0),
    })"""
    plot = page.locator(".ds-plot").nth(chart)
    plot.scroll_into_view_if_needed()
    wait_until(lambda: plot.evaluate("(plot) => Boolean(plot.data)"), "a chart in sight is not drawn")
    drawn: dict[str, Any] = plot.evaluate(script)
    return drawn


def test_curves_are_raw_and_smoothed_with_validation_and_training_without_dropout(page: Page, server: Server) -> None:
    shown(page, server)
    raw, smoothed, quiet, validation = figure(page, 0)["curves"]
    assert len(raw) == EPOCHS * STEPS
    assert set(raw) == {0.5, 1.5}
    middle = smoothed[20:-20]
    assert max(middle) - min(middle) < 0.5
    assert (set(quiet), set(validation), len(validation)) == ({0.25}, {0.5}, EPOCHS)
    page.get_by_text("Validation lies below training only because training is measured with dropout on").wait_for()
    page.get_by_text(
        "epoch 20: loss 1.000 while it trained, 0.250 on training images with dropout off, 0.500"
    ).wait_for()

    page.get_by_label("Smoothing").fill("0")
    wait_until(lambda: figure(page, 0)["curves"] == [raw, quiet, validation], "no smoothing is not drawn")
    page.get_by_role("button", name="training images, dropout off").click()
    wait_until(lambda: figure(page, 0)["curves"] == [raw, validation], "the curve does not go")
    page.reload()
    page.locator(".ds-live[data-points]").wait_for()
    wait_until(lambda: figure(page, 0)["curves"] == [raw, validation], "a reload brings the curve back")


def test_a_change_is_marked_where_it_was_made_on_every_axis_and_chart(page: Page, server: Server) -> None:
    shown(page, server)
    for name in ("epoch", "step", "seconds"):
        page.locator(".ds-choice").get_by_role("button", name=name).click()
        place = MARK[name]
        wait_until(lambda: figure(page, 0)["labels"] == [["p 0.5 → 0.3", place]], "the mark lies elsewhere")  # noqa: B023
        for chart in range(5):
            wait_until(lambda: figure(page, chart)["lines"] == [place], "a chart lacks the mark")  # noqa: B023
    page.locator(".ds-detail", has_text="now p 0.3").wait_for()


def test_a_resumed_run_that_finds_no_place_says_what_it_waits_for(page: Page, server: Server) -> None:
    shown(page, server, resuming=True)
    row = page.locator(".ds-run")
    row.get_by_text("waits for a free place").wait_for()
    row.get_by_role("button", name="Pause DropCorr").wait_for()


def test_a_change_that_the_run_could_not_make_is_told_and_one_that_waits_too(page: Page, server: Server) -> None:
    shown(page, server, waiting=2, refused={"turn": 3, "sentence": "p must lie in [0, 1], got 7."})
    row = page.locator(".ds-run")
    row.get_by_text("paused in epoch 20 of 20 · 2 changes when it goes on").wait_for()
    row.get_by_role("alert").get_by_text("p must lie in [0, 1], got 7.").wait_for()


def test_what_falls_is_drawn_in_percent(page: Page, server: Server) -> None:
    shown(page, server)
    page.get_by_role("heading", name="What falls").wait_for()
    for chart, percent in ((2, 50.0), (3, 40.0), (4, 0.0)):
        raw, smoothed = figure(page, chart)["curves"]
        assert raw == pytest.approx([percent] * len(raw))
        assert smoothed == pytest.approx(raw)


def test_an_open_panel_shows_what_the_run_has_and_can_be_used_without_a_mouse(page: Page, server: Server) -> None:
    shown(page, server)
    change = page.get_by_role("button", name="Change DropCorr")
    change.press("Enter")
    p = page.locator(".ds-change").get_by_label("Drop probability p")
    wait_until(lambda: p.input_value() == "0.3", "the panel does not show what the run has")
    wait_until(lambda: p.evaluate(FOCUSED), "the panel's first field is not in focus")
    page.get_by_role("button", name="Apply").click()
    page.get_by_text("Nothing differs from what the run has now.").wait_for()
    p.fill("")
    p.press("Enter")
    page.get_by_text("Drop probability p is not a number.").wait_for()
    p.press("Escape")
    page.locator(".ds-change").wait_for(state="detached")
    wait_until(lambda: change.evaluate(FOCUSED), "the focus does not come back")


@pytest.mark.parametrize("dark", [False, True])
def test_curves_buttons_and_panel_fit_a_phone(browser: Browser, server: Server, dark: bool) -> None:
    with tab(browser, 390, 844, dark) as page:
        shown(page, server)
        page.get_by_role("button", name="Change DropCorr").click()
        page.locator(".ds-change").wait_for()
        fits_a_phone(page, ".ds-live :is(button, select, input:not([type=checkbox]))")


def test_a_single_batch_is_told_with_its_numbers_by_mouse_and_by_keys(page: Page, server: Server) -> None:
    run = shown(page, server, batch=1.0)
    kept = batch("dropcorr")
    steps.save(RunStore(server.home).folder(run), kept)
    look = page.get_by_role("button", name="Last batch DropCorr")
    look.click()
    story = page.locator(".ds-story[data-step='7']")
    story.get_by_text("Step 7: one batch of 100 images, loss 1.250, learning rate 0.001").wait_for()
    titles = [text.split("  ")[1] for text in story.locator("figcaption").all_text_contents()]
    assert titles == [
        "In: x", "Mask: who falls", "Scale: who stays grows by", "Out: mask · scale · x", "Back: gradient of out",
        "Back: gradient of x",
    ]  # fmt: skip
    (place,) = kept.places
    assert place.mask is not None
    for example in range(3):
        fallen = int((~place.mask[example]).sum())
        story.locator("figure").nth(1).get_by_text(f"{fallen} of 6 fall").wait_for()
        unit = story.locator("canvas[role=application]").first
        unit.press("Home")
        for i in range(6):
            story.locator(".ds-story-numbers").get_by_text(sentence(place, example, i), exact=True).wait_for()
            unit.press("ArrowRight")
        story.locator(".ds-picture[aria-pressed=true]").press("ArrowRight")
    look.click()
    story.wait_for(state="detached")


def test_a_batch_with_which_a_run_failed_is_told_too(page: Page, server: Server) -> None:
    run = shown(page, server, status="failed", reason="The loss became nan.", batch=1.0)
    kept = batch("dropcorr")
    nothing = {name: torch.full((3, 6), math.nan) for name in ("x", "out", "grad_out", "grad_x")}
    place = replace(kept.places[0], **nothing)
    lost = replace(kept, loss=math.nan, answers=torch.full((3, 2), math.nan), places=(place,),
                   updates=(Update("Hidden 1", math.nan, 10.0),))  # fmt: skip
    steps.save(RunStore(server.home).folder(run), lost)
    page.get_by_role("button", name="Last batch DropCorr").click()
    story = page.locator(".ds-story[data-step='7']")
    story.get_by_text("Step 7: one batch of 100 images, loss not a finite number, learning rate 0.001").wait_for()
    story.locator(".ds-picture").first.get_by_text("no answer", exact=True).wait_for()
    story.locator(".ds-update").get_by_text("no number", exact=True).wait_for()


def sentence(place: Place, example: int, i: int) -> str:
    """What the story says of one unit."""
    x, y, g, back = (float(tensor[example, i]) for tensor in (place.x, place.out, place.grad_out, place.grad_x))
    stays = bool(place.mask[example, i])
    word, factor = ("stays", "2") if stays else ("falls", "0")
    return f"Unit {i + 1} {word}: {three(x)} · {factor} = {three(y)}. Backward: {three(g)} · {factor} = {three(back)}."


def three(value: float) -> str:
    """A number with three digits that mean something, as the story writes it."""
    if value == 0:
        return "0"
    text = f"{float(f'{value:.2e}'):.12g}" if abs(value) >= 1e-3 else f"{value:.2e}".replace("e-0", "e-")
    return text.replace("-", "−")


def test_a_second_experiment_gets_axes_that_fit_its_own_curves(page: Page, server: Server) -> None:
    store = RunStore(server.home)
    for earlier in store.list(status=["paused"]):
        store.finish(earlier.id, "stopped")
    # The curves of a chart lie within its axes, which go on to the last epoch.
    fits = """(plot, epochs) => {
      if (!plot._fullLayout) return false;
      const { xaxis, yaxis } = plot._fullLayout, y = plot.data.flatMap((trace) => [...trace.y]);
      const [low, high] = yaxis.range;
      return xaxis.range[1] >= epochs && xaxis.range[1] < epochs + 1 && y.length > 0
        && Math.min(...y) >= low && Math.max(...y) <= high;
    }"""
    page.goto(f"{server.url}/train?technique=DropInv")
    for epochs in (2, 4):
        field = page.get_by_role("spinbutton", name="Epochs")
        field.fill(str(epochs))
        field.press("Enter")
        wait_until(lambda: f"epochs={epochs}" in page.url, "the number of epochs is not taken")  # noqa: B023
        page.get_by_role("button", name="Start", exact=True).click()
        for chart in range(2):
            plot = page.locator(".ds-plot").nth(chart)
            wait_until(lambda: plot.evaluate(fits, epochs), f"curves of {epochs} epochs lie outside their axes")  # noqa: B023
    wait_until(lambda: not store.list(status=["queued", "running"]), "the runs do not end")


def test_a_run_changes_while_it_trains_and_goes_on_by_one_batch_and_one_epoch(page: Page, server: Server) -> None:
    store = RunStore(server.home)
    for earlier in store.list(status=["paused"]):
        store.finish(earlier.id, "stopped")
    page.goto(f"{server.url}/train?epochs=5000&technique=DropAct")
    page.get_by_role("button", name="Start", exact=True).click()
    row = page.locator(".ds-run", has_text="DropAct")
    row.wait_for()
    run = store.list(status=["queued", "running"])[0].id
    press = lambda name: row.get_by_role("button", name=name).click()  # noqa: E731

    press("Change DropAct")
    row.get_by_label("Drop probability p").fill("0.4")
    press("Apply")
    row.get_by_text("now p 0.4").wait_for()
    row.get_by_label("Learning rate").fill("-1")
    press("Apply")
    row.get_by_text("lr must be a number above 0, got -1.").wait_for()
    assert [change["name"] for mark in store.get(run).marks for change in mark["changes"]] == ["p"]
    wait_until(lambda: [text for text, _ in figure(page, 0)["labels"]] == ["p 0.2 → 0.4"], "the curve has no mark")

    press("1 batch DropAct")
    story = row.locator(".ds-story[data-step]")
    story.wait_for()
    first = int(story.get_attribute("data-step") or 0)
    kept = steps.load(store.folder(run))
    assert kept is not None
    assert (kept.step, kept.places[0].p) == (first, 0.4)
    press("1 batch DropAct")
    row.locator(f".ds-story[data-step='{first + 1}']").wait_for()
    press("1 epoch DropAct")
    wait_until(lambda: float(store.get(run).latest["epoch"]).is_integer(), "the epoch does not end")
    wait_until(lambda: store.get(run).status == "paused", "the run does not pause")
    press("Stop DropAct")
    wait_until(lambda: store.get(run).status == "stopped", "the run does not stop")
