"""The dashboard's benchmark, on a real server, as briefly as it goes."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from app.bench import __main__ as command
from app.bench import pages, starts, uploads, viewers
from app.bench.server import Server, serving
from app.bench.wire import visiting
from core.bench.budgets import BUDGETS, verdicts
from core.bench.results import Amount, Finding, Result, amount
from core.config import Config
from core.runs import RunStore


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("bench") / "home") as running:
        yield running


def test_every_page_is_drawn_and_compare_has_runs_to_compare(server: Server) -> None:
    found = {f.case: f for f in pages.measure(server, 1)}

    told, turned = "Explore, another image acknowledged", "Explore, another image"
    assert {*pages.PAGES, told, turned} == set(found)
    amounts = {case: f.value for case, f in found.items() if isinstance(f, Amount)}
    assert 0 < amounts[told] < amounts[turned]
    assert min(amounts.values()) > 0
    assert set(amounts) == set(found)
    store = RunStore(server.home)
    assert [run.status for run in store.list()] == ["done"] * pages.FEW
    with visiting(server) as visitor:
        visitor.see("compare")
        assert {"per-epoch", "against-time"} <= set(visitor.ids)
        visitor.see("train")
        visitor.see("train")
        assert visitor.acknowledged is None, "nothing differs from what stood there"


def test_a_run_is_started_watched_and_stopped(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewers, "SECONDS", 1.0)
    monkeypatch.setattr(viewers, "MANY", 3)

    found = list(viewers.measure(server, 1))

    pace = next(f for f in found if isinstance(f, Result))
    assert (pace.case, pace.against) == ("run with 1 viewer", "run alone")
    assert 0 < pace.ratio < 100
    shares = [f for f in found if isinstance(f, Amount)]
    # Time of a processor is counted in ticks, of which a short run may take none.
    assert all(0 <= share.value < psutil.cpu_count() for share in shares)
    assert server.process.status() != psutil.STATUS_STOPPED
    (run,) = [run for run in RunStore(server.home).list() if run.status == "stopped"]
    assert run.latest["epoch"] > 0


def test_a_run_that_hangs_is_timed_until_it_is_ended(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its worker says no last word, so what was written last lies before the press."""
    store = RunStore(server.home)
    run = store.create(Config().to_dict())
    store.finish(run, "lost")

    with visiting(server) as visitor:
        assert 0 < starts.stop(visitor, store, run) < 60


def test_a_server_stands_still_only_meanwhile(server: Server) -> None:
    with viewers.still(server):
        assert server.process.status() == psutil.STATUS_STOPPED

    assert server.process.status() != psutil.STATUS_STOPPED


def test_a_part_that_fails_is_told_and_the_next_one_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (amount("app", "stop", "s", {}, [number]) for number in (1.0, 2.0))

    def fails() -> Iterator[Finding]:
        yield one
        raise TimeoutError("Waited 60 s in vain for a worker that waits.")

    found = list(command.as_far_as_it_goes(fails(), iter([two])))

    assert found == [one, two]
    assert "in vain" in capsys.readouterr().err


def test_an_upload_is_read_to_a_network_s_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "PICTURES", {"drawing": ((280, 280), "PNG")})

    (found,) = uploads.measure(2)

    assert isinstance(found, Amount)
    assert (found.unit, found.rounds) == ("a second", 2)


def test_every_budget_of_the_app_is_about_something_that_is_measured() -> None:
    """By their names in the sources: measuring all takes minutes."""
    sources = "".join(path.read_text() for path in Path(command.__file__).parent.glob("*.py"))
    for budget in BUDGETS:
        if budget.bench == "app" and budget.case not in pages.PAGES:
            assert f'"{budget.case}"' in sources.replace("{MANY}", str(viewers.MANY)), budget
    assert not any(verdict.met for verdict in verdicts([], ["app"], "cpu"))
