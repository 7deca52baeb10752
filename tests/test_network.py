"""A server on every address: what can be sent to it without the access code changes nothing."""

import re
import socket
from collections.abc import Iterator
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest
from websockets.exceptions import InvalidStatus

from app.entrance import URL
from core.config import Config
from core.runs import RunStore
from tests.browser import PATIENCE, Browser, Server, browser, serving, tab, wait_until
from tests.wire import Wire, post, wired

__all__ = ["browser"]

REFUSAL = "This needs the access code: enter it at the top of the page, then try again."
OPEN = ("--server.address", "0.0.0.0", "--browser.serverAddress", "localhost")
ONE_RUN = "technique=Standard&epochs=1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(
        tmp_path_factory.mktemp("server") / "home", tmp_path_factory.mktemp("folder"), options=OPEN
    ) as running:
        yield running


@pytest.fixture
def code(server: Server) -> str:
    return re.findall(r"Access code: (\S+)", server.log.read_text())[0]


@pytest.fixture
def cookies(server: Server, code: str) -> dict[str, str]:
    status, given = post(server, URL, {"code": code})
    assert status == 204
    return given


@pytest.fixture
def run(server: Server) -> Iterator[str]:
    """A run that was stopped before it trained, the only one there is."""
    store = RunStore(server.home)
    made = store.create(Config(epochs=1).to_dict())
    store.finish(made, "stopped")
    yield made
    store.set_aside([found.id for found in store.list() if found.ended])
    store.purge(0)


def forge(wire: Wire, run: str) -> Iterator[str]:
    """Every way to write that pages know, sent as a browser would, one after the other."""
    train, compare = f"{ONE_RUN}&run={run}", f"runs={run}"
    wire.open("train", train)
    for verb in ("resume", "pause", "stop", "step-batch", "step-epoch"):
        wire.event("train", "live", "wish", {"verb": verb, "ids": [run]}, train)
        yield verb
    wire.event("train", "live", "wish", {"verb": "adjust", "ids": [run], "changes": {"lr": 0.1}}, train)
    yield "adjust"
    wire.press("train", "start", train)
    yield "start"
    wire.open("compare", compare)
    wire.press("compare", "delete", compare)
    yield "delete"


def test_the_code_is_printed_once_and_the_server_listens_everywhere(server: Server, code: str) -> None:
    assert server.log.read_text().count(code) == 1
    own = [c.laddr.ip for c in psutil.Process(server.process.pid).net_connections("inet") if c.status == "LISTEN"]
    assert own == ["0.0.0.0"]


def test_without_the_code_nothing_that_is_sent_changes_anything(server: Server, run: str) -> None:
    before = RunStore(server.home).list()
    with wired(server, {"dropscope_access": "x", "dropscope_access_00000000": ""}) as wire:
        for what in forge(wire, run):
            # Where a press of a button that is not offered is not even looked at, nothing is said either.
            assert what in ("start", "delete") or REFUSAL.encode() in wire.said, what
            assert RunStore(server.home).list() == before, what
        wire.open("explore")
        assert wire.alerts == []
    assert RunStore(server.home).aside() == []


def test_the_same_with_the_code_starts_and_deletes(server: Server, run: str, cookies: dict[str, str]) -> None:
    store = RunStore(server.home)
    with wired(server, cookies) as wire:
        wire.open("train", ONE_RUN)
        wire.press("train", "start", ONE_RUN)
        assert wire.alerts == []
        (started,) = [found.id for found in store.list() if found.id != run]
        compare = f"runs={run}"
        wire.open("compare", compare)
        wire.press("compare", "delete", compare)
        assert [found.id for found in store.aside()] == [run]
        wire.open("train", f"run={started}")
        wire.event("train", "live", "wish", {"verb": "stop", "ids": [started]}, f"run={started}")
        wait_until(lambda: store.get(started).ended, "the run goes on")


def test_somebody_else_s_session_is_of_no_use_without_their_cookie(
    server: Server, run: str, cookies: dict[str, str]
) -> None:
    before = RunStore(server.home).list()
    with wired(server, cookies) as theirs:
        query = f"{ONE_RUN}&run={run}"
        theirs.open("train", query)
        with wired(server, session=theirs.session) as wire:
            wire.ids = dict(theirs.ids)
            wire.press("train", "start", query)
            assert wire.session == theirs.session
            wire.event("train", "live", "wish", {"verb": "resume", "ids": [run]}, query)
            assert REFUSAL.encode() in wire.said
    assert RunStore(server.home).list() == before


@pytest.mark.parametrize("origin", ["http://evil.example", "http://localhost:3000", "http://127.0.0.1:1"])
def test_a_page_of_another_origin_opens_no_socket(server: Server, cookies: dict[str, str], origin: str) -> None:
    from websockets.sync.client import connect

    held = "; ".join("=".join(pair) for pair in cookies.items())
    address = f"ws://127.0.0.1:{server.port}/_stcore/stream"
    with (
        pytest.raises(InvalidStatus, match="403"),
        connect(address, origin=origin, additional_headers={"Cookie": held}),  # type: ignore[arg-type]
    ):
        pass


def test_the_machine_s_own_addresses_are_answered_and_nothing_is_lent_to_other_origins(server: Server) -> None:
    found = [a.address for entries in psutil.net_if_addrs().values() for a in entries if a.family == socket.AF_INET]
    for address in found:
        for path in ("/_stcore/host-config", "/api/runs/none/metrics"):
            request = Request(f"http://{address}:{server.port}{path}", headers={"Origin": "http://evil.example"})
            with urlopen(request, timeout=PATIENCE) as reply:
                assert reply.status == 200
                assert "Access-Control-Allow-Origin" not in reply.headers


def test_under_another_name_there_is_neither_a_page_nor_a_socket(server: Server) -> None:
    with pytest.raises(HTTPError, match="400"):
        urlopen(Request(server.url, headers={"Host": f"evil.example:{server.port}"}), timeout=PATIENCE)
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as raw:
        raw.sendall(
            b"GET /_stcore/stream HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n"
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        assert raw.recv(100).startswith(b"HTTP/1.1 400 ")


def test_the_code_is_entered_in_the_page_and_outlives_a_reload(browser: Browser, server: Server, code: str) -> None:
    with tab(browser) as visitor:
        visitor.goto(f"{server.url}/train?epochs=7")
        visitor.get_by_role("button", name="Enter code").click()
        visitor.get_by_label("Access code").fill("ABCD-EFGH-JKMN")
        visitor.keyboard.press("Enter")
        visitor.get_by_text("This is not the access code").wait_for()
        visitor.get_by_label("Access code").fill(f" {code.lower()} ")
        visitor.keyboard.press("Enter")
        unlocked = visitor.get_by_role("button", name="Unlocked")
        unlocked.wait_for()
        assert code not in visitor.url
        assert "epochs=7" in visitor.url
        assert "dropscope" not in visitor.evaluate("document.cookie")
        visitor.reload()
        unlocked.click()
        visitor.get_by_role("button", name="Forget the code in this browser").click()
        visitor.get_by_role("button", name="Enter code").wait_for()


def test_an_upload_takes_streamlit_s_token(server: Server, cookies: dict[str, str]) -> None:
    for headers in ({}, {"X-Xsrftoken": "2|00000000|00000000000000000000000000000000|1"}):
        assert post(server, "/_stcore/upload_file/any/one", {}, method="PUT", **headers)[0] == 403


def test_streamlit_s_way_in_for_programs_is_closed(server: Server, cookies: dict[str, str]) -> None:
    held = "; ".join("=".join(pair) for pair in cookies.items())
    assert post(server, "/_stcore/agent/interact", {}, Cookie=held)[0] in (403, 404)
