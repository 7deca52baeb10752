"""Who may change runs: what the code is, where the question is asked, and that no page has a way around it."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from app import access, reading, services
from app.access import Access, AccessError
from core.config import Config
from core.jobs import LocalEngine
from core.runs import RunStore
from core.sweep import Experiment

APP = Path(__file__).parent.parent / "app"
REFUSAL = "This needs the access code: enter it at the top of the page, then try again."


@pytest.fixture
def visitor(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Somebody on the network; the cookies of their browser, to be filled."""
    cookies: dict[str, str] = {}
    monkeypatch.setattr(access, "needed", lambda: True)
    monkeypatch.setattr(access, "permitted", lambda: access.ACCESS.holds(cookies))
    monkeypatch.setattr(LocalEngine, "advance", lambda self: None)
    return cookies


def admit(cookies: dict[str, str]) -> None:
    name, value = access.ACCESS.given()
    cookies[name] = value


# The code


def test_a_code_is_twelve_signs_that_cannot_be_taken_for_each_other_and_new_each_time() -> None:
    codes = {Access().code for _ in range(200)}
    assert len(codes) == 200
    assert all([len(part) for part in code.split("-")] == [4, 4, 4] for code in codes)
    # 2,400 draws from 32 signs: each is missing with probability 32 * (31/32)**2400 < 1e-30.
    assert set("".join(codes)) - {"-"} == set(access.ALPHABET)
    assert not set("OILU") & set(access.ALPHABET)
    assert len(access.ALPHABET) ** 12 == 2**60


def test_a_code_is_known_however_it_is_typed() -> None:
    ours = Access()
    ours.code = "10AB-CDEF-GHJK"
    for typed in ("10AB-CDEF-GHJK", "10abcdefghjk", " loab cdef ghjk\n", "IOAB–CDEF–GHJK"):
        assert ours.matches(typed), typed
    for typed in ("", "10AB-CDEF-GHJ", "10AB-CDEF-GHJK1", "20AB-CDEF-GHJK", "١0AB-CDEF-GHJK", "\0"):
        assert not ours.matches(typed), typed


def test_only_the_cookie_of_this_server_counts() -> None:
    ours, other = Access(), Access()
    name, value = ours.given()
    assert ours.holds({name: value})
    assert ours.code not in value
    for cookies in ({}, {name: ""}, {name: ours.code}, {name: value + "x"}, {name: "é"}, dict([other.given()])):
        assert not ours.holds(cookies), cookies


def test_the_code_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    ours = Access()
    ours.announce()
    ours.announce()
    assert capsys.readouterr().out.count(ours.code) == 1


# When it is needed


@pytest.mark.parametrize("address", ["127.0.0.1", "127.3.2.1", "::1", "[::1]", "localhost"])
def test_on_loopback_no_code_is_needed(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DROPSCOPE_HOSTS", raising=False)
    monkeypatch.setattr(access.config, "get_option", {"server.address": address}.get)
    assert not access.exposed()


@pytest.mark.parametrize("address", [None, "", "0.0.0.0", "::", "192.168.1.5", "lab.example.org", "unix:///tmp/x"])
def test_beyond_loopback_it_is(address: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DROPSCOPE_HOSTS", raising=False)
    monkeypatch.setattr(access.config, "get_option", {"server.address": address}.get)
    assert access.exposed()


def test_a_proxy_that_gives_this_server_a_name_exposes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access.config, "get_option", {"server.address": "127.0.0.1"}.get)
    monkeypatch.setenv("DROPSCOPE_HOSTS", "lab.example.org")
    assert access.exposed()


def test_somebody_from_elsewhere_needs_it_whatever_the_server_was_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert not access.asked_of("127.0.0.1")
    assert not access.asked_of(None)
    assert capsys.readouterr().out == ""
    assert access.asked_of("192.168.1.7")
    assert access.asked_of("::ffff:192.168.1.7")
    assert access.asked_of("no address")


# Where it is asked


def changes(run: str) -> Iterator[tuple[str, Any]]:
    """Everything by which a page changes runs."""
    yield "start", lambda: services.start(Experiment())
    yield "start, which reads folders", lambda: services.start(Experiment(dataset="/nowhere/at/all"))
    for verb in ("pause", "resume", "stop", "step-batch", "step-epoch"):
        yield verb, lambda verb=verb: services.act(verb, [run])
    yield "adjust", lambda: services.adjust([run], {"p": 0.3})
    yield "rename", lambda: services.rename(run, "Another")
    yield "tag", lambda: services.tag([run], add=["new"])
    yield "delete", lambda: services.delete([run])
    yield "undo", lambda: services.undo_delete([run])


def test_without_the_code_nothing_can_be_changed_and_everything_read(visitor: dict[str, str]) -> None:
    run = RunStore().create(Config().to_dict())
    RunStore().finish(run, "stopped")
    before = RunStore().get(run)
    for what, change in changes(run):
        with pytest.raises(AccessError, match=REFUSAL):
            change()
        assert [RunStore().get(run)] == RunStore().list() == [before], what
    assert services.store().list() == services.existing([run]) == [before]
    assert services.deleted() == []
    assert not services.may_change()


def test_with_the_code_everything_can_be_changed(visitor: dict[str, str]) -> None:
    admit(visitor)
    assert services.may_change()
    run = services.start(Experiment())[0]
    services.act("stop", [run])
    services.rename(run, "Another")
    services.tag([run], add=["new"])
    assert (services.store().get(run).name, services.store().get(run).tags) == ("Another", ("new",))
    services.delete([run])
    assert services.store().list() == []
    services.undo_delete([run])
    assert [found.id for found in services.store().list()] == [run]


def test_looking_has_no_worker_wait_for_somebody_who_may_not_start_a_run(
    visitor: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.jobs.warm import WarmWorker

    expected: list[bool] = []
    monkeypatch.setattr(WarmWorker, "expect", lambda self: expected.append(True))
    services.expect_start()
    assert expected == []
    admit(visitor)
    services.expect_start()
    assert expected == [True]


def test_the_server_looks_after_runs_for_nobody_in_particular(visitor: dict[str, str]) -> None:
    services.look_after()


# No way around it


def test_what_a_page_gets_of_the_store_only_reads() -> None:
    for name in reading.READS:
        thing = getattr(RunStore, name, None)
        if thing is None:
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(thing)))
        called = {node.func.attr for node in ast.walk(tree)
                  if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}  # fmt: skip
        assert not called & {"write", "change", "unlink", "rmtree", "mkdir"}, name
        assert not any(word.startswith(("save", "drop", "set_")) for word in called), name
    reader = services.store()
    for name in ("create", "change", "delete", "set_aside", "record", "save_weights", "request", "_database"):
        assert hasattr(RunStore(), name)
        with pytest.raises(AttributeError):
            getattr(reader, name)


# What is taken of the store and the engine without asking: what reads, and what the server does by itself.
UNASKED = {
    "store": {"_opened(home()).reader"},
    "turns": {"_opened(home()).engine.turns()"},
    "train_lesson": {
        "from app.lessons.reading import training_of",
        "name, configs = training_of(key)",
        "found = matched(opened.store, name, configs)",
        """if (wanting := [each for each in found if _to_begin(each.run)]):
    begin(opened.engine, wanting, name)
    found = matched(opened.store, name, configs)""",
        "found",
    },
    "look_after": {"opened.engine.advance()", "opened.engine.keep_warm()", "opened.store.purge(UNDO_SECONDS)"},
}


def test_only_what_asks_for_the_code_has_the_means_to_write() -> None:
    functions = [
        node for node in ast.parse((APP / "services.py").read_text()).body if isinstance(node, ast.FunctionDef)
    ]
    users = {f.name: f for f in functions if "_opened" in {n.id for n in ast.walk(f) if isinstance(n, ast.Name)}}
    assert set(users) == {"_writer", "_engine", *UNASKED}
    for name in ("_writer", "_engine"):
        assert ast.unparse(users[name].body[1]) == "access.check()"  # after the docstring, before anything else
    for name, taken in UNASKED.items():
        _, *does = users[name].body
        lines = [ast.unparse(line).removeprefix("return ") for line in does]
        assert set(lines) - {"opened = _opened(home())"} == taken
    made = {node.func.id for f in functions if f.name != "_opened" for node in ast.walk(f)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}  # fmt: skip
    assert not made & {"RunStore", "LocalEngine"}


MEANS = {"RunStore", "LocalEngine", "Database", "submit", "set_aside", "bring_back", "write_text",
         "write_bytes", "unlink", "rmtree", "mkdir", "Popen", "save_weights", "save_state"}  # fmt: skip

# Of core.jobs: words, and what is said of runs.
HARMLESS = {"Turn", "JobError"}


# The benchmark is a visitor of a server in another process.
PAGES = [path for path in sorted(APP.rglob("*.py")) if path.parent != APP / "bench"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(APP)))
def test_pages_have_no_other_means_to_write(path: Path) -> None:
    if path.name == "services.py":
        return
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            assert called not in MEANS, f"{path.name} calls {called}"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "services":
            assert not node.attr.startswith("_"), f"{path.name} uses services.{node.attr}"
            assert node.attr != "look_after" or path.name == "server.py"
        if isinstance(node, ast.ImportFrom | ast.Import):
            names = {alias.name for alias in node.names}
            module = getattr(node, "module", None) or ""
            if module.startswith("core.jobs"):
                assert names <= HARMLESS, f"{path.name} imports {names} of {module}"
            for name in (module, *names):
                assert not name.startswith(("core.runs.database", "sqlite3")), f"{path.name} imports {name}"
            assert not any(name.startswith("core.jobs") for name in names)


# The pages


def test_a_page_says_in_a_sentence_what_is_missing(visitor: dict[str, str]) -> None:
    test = AppTest.from_file(APP / "router.py", default_timeout=60).switch_page("app_pages/train.py").run()
    assert not test.exception
    assert test.button(key="start").disabled
    said = "Starting runs needs the access code: enter it at the top of the page."
    assert said in [caption.value for caption in test.caption]
    assert "You may look and explore" in test.markdown[0].value
    admit(visitor)
    test.run()
    assert not test.button(key="start").disabled
    assert said not in [caption.value for caption in test.caption]
    assert "You entered the access code" in test.markdown[0].value


def test_a_confusion_matrix_is_kept_only_for_somebody_who_may_write(
    visitor: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from core import confusion

    kept: list[bool] = []
    monkeypatch.setattr(confusion, "of_run_on_test", lambda *_, keep: kept.append(keep))
    run = RunStore().get(RunStore().create(Config().to_dict()))
    services.confusion(run)
    admit(visitor)
    services.confusion(run)
    assert kept == [False, True]
