"""The door of the server: whom it answers, how the access code is entered, and what wrong ones cost."""

import asyncio
import json
import logging
import socket
from collections.abc import Mapping
from typing import Any

import psutil
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from app import entrance, server
from app.access import ACCESS
from app.entrance import URL
from app.server import SameOrigin
from app.slowing import FIRST, LONGEST, MOST_VISITORS, PATIENCE, SPACING, Slowing, visitor_of

HOST = "127.0.0.1:8501"
JSON = "application/json"
Reply = tuple[int, dict[str, str], dict[str, Any]]


def ask(
    method: str = "POST",
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    *,
    client: str = "192.168.1.7",
    kind: str = "http",
    path: str = URL,
) -> Reply:
    """Status, headers and JSON of an answer, without a server."""
    sent: list[Any] = []
    given = {"host": HOST, "content-type": JSON, "origin": f"http://{HOST}", **(headers or {})}
    scope = {
        "type": kind, "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "scheme": "http", "server": ("127.0.0.1", 8501), "client": (client, 50000),
        "headers": [(key.encode(), value.encode()) for key, value in given.items()],
        "extensions": {"websocket.http.response": {}},
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": f"{kind}.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=server.allowed_hosts(), www_redirect=False)
    app = Starlette(routes=entrance.ROUTES, middleware=[hosts, Middleware(SameOrigin)])
    asyncio.run(app(scope, receive, send))
    if "status" not in sent[0]:
        return 0, {}, {}  # a socket that nobody answers, but that was not refused for who asked
    head = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
    content = b"".join(part.get("body", b"") for part in sent[1:])
    return sent[0]["status"], head, json.loads(content) if head.get("content-type") == JSON else {}


def enter(code: object, **more: Any) -> Reply:
    return ask(body=json.dumps({"code": code}).encode(), **more)


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long wrong codes were made to wait, without the wait; the clock stands still."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(entrance.asyncio, "sleep", sleep)
    monkeypatch.setattr(entrance.time, "monotonic", lambda: 1000.0)
    monkeypatch.setattr(entrance, "_slowing", Slowing())
    return found


# Entering


def test_the_code_gives_a_cookie_that_scripts_cannot_read_and_other_sites_cannot_use() -> None:
    status, headers, _ = enter(ACCESS.code.lower().replace("-", " "))
    assert status == 204
    value, *attributes = headers["set-cookie"].split("; ")
    assert value == "=".join(ACCESS.given())
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(attributes)
    assert "Secure" not in attributes  # plain HTTP: a browser would not keep it
    assert headers["cache-control"] == "no-store"


def test_a_wrong_code_gives_none(waits: list[float]) -> None:
    for code in ("", "0000-0000-0000", ACCESS.code[:-1], ACCESS.given()[1]):
        status, headers, content = enter(code)
        assert (status, content["error"]) == (
            403,
            "This is not the access code. It stands where the server was started.",
        )
        assert "set-cookie" not in headers
    assert waits == [0.5, 1.5, 3.5, 7.5]


def test_giving_it_up_takes_the_cookie_back() -> None:
    status, headers, _ = ask("DELETE")
    assert status == 204
    assert headers["set-cookie"].startswith(f'{ACCESS.cookie}=""; ')
    assert "Max-Age=0" in headers["set-cookie"]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"code"', b"null", b'{"code": 1}', b'{"code": null}', b"\xff", b"[" * 1000,
     b'{"code": "' + b"x" * 2000 + b'"}'],
)  # fmt: skip
def test_what_is_no_code_is_refused_in_a_sentence(body: bytes, waits: list[float]) -> None:
    status, _, content = ask(body=body)
    assert (status, content["error"]) == (400, 'Send {"code": "…"} as JSON.')
    assert waits == []


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_form_of_another_site_is_not_read(kind: str) -> None:
    status, headers, _ = enter(ACCESS.code, headers={"content-type": kind})
    assert (status, "set-cookie" in headers) == (400, False)


def test_the_code_never_travels_in_an_address() -> None:
    assert ask("GET", path=f"{URL}?code={ACCESS.code}")[0] in (404, 405)
    assert ask("GET")[0] == 405


def test_the_log_names_who_guesses_but_not_what(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "dropscope"):
        enter("ABCD-EFGH-JKMN")
    assert "192.168.1.7" in caplog.text
    assert "ABCD" not in caplog.text


# What wrong codes cost


def test_who_guesses_waits_longer_each_time_and_is_turned_away_in_the_end() -> None:
    slowing = Slowing()
    now, found = 0.0, []
    for _ in range(8):
        wait = slowing.wrong("10.0.0.1", now)
        assert wait is not None
        found.append(wait)
        now += wait
    assert found == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0]
    at_once = [slowing.wrong("10.0.0.1", now) for _ in range(100)]
    assert len([wait for wait in at_once if wait is not None]) == 1
    assert slowing.wrong("10.0.0.2", now) == FIRST
    assert slowing.wrong("10.0.0.1", now + 3600.0) == FIRST


def test_all_guessers_together_get_few_answers() -> None:
    slowing = Slowing()
    asked = [slowing.wrong(f"10.0.{i // 250}.{i % 250}", 0.0) for i in range(5000)]
    answered = [wait for wait in asked if wait is not None]
    assert len(answered) == pytest.approx(PATIENCE / SPACING, abs=1)
    assert max(answered) <= PATIENCE
    # A minute of guessing from everywhere.
    count = sum(slowing.wrong(f"10.1.{i % 200}.{i % 250}", i / 50) is not None for i in range(3000))
    assert count <= (60 + PATIENCE) / SPACING + 1


def test_one_guesser_does_not_use_up_what_all_share() -> None:
    slowing = Slowing()
    for _ in range(10_000):
        slowing.wrong("10.0.0.1", 0.0)
    assert slowing.wrong("10.0.0.2", 0.0) == pytest.approx(max(FIRST, SPACING), abs=LONGEST * SPACING)


def test_guessers_take_no_more_memory_than_was_meant_for_them() -> None:
    slowing = Slowing()
    for i in range(3 * MOST_VISITORS):
        slowing.wrong(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", i * SPACING)
    assert len(slowing._visitors) == MOST_VISITORS


def test_an_ipv6_visitor_is_a_network_and_a_mapped_address_is_an_ipv4_one() -> None:
    assert visitor_of("2001:db8:0:1::1") == visitor_of("2001:db8:0:1:ffff::2") != visitor_of("2001:db8:0:2::1")
    assert visitor_of("::ffff:10.0.0.1") != visitor_of("::ffff:10.0.0.2")
    assert visitor_of("") == visitor_of("unix:") == "unknown"


def test_whoever_has_the_code_never_waits_for_those_who_guess(waits: list[float]) -> None:
    for _ in range(50):
        enter("0000-0000-0000")
    assert enter("0000-0000-0000")[0] == 429
    before = list(waits)
    assert enter(ACCESS.code)[0] == 204  # even from the same address, as behind one router
    assert enter(ACCESS.code, client="192.168.1.8")[0] == 204
    assert waits == before


# Whom the server answers


def test_the_server_answers_to_this_machine_s_names_and_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DROPSCOPE_HOSTS", raising=False)
    names = server.allowed_hosts()
    assert {"localhost", "127.0.0.1", "[::1]", socket.gethostname()} <= set(names)
    own = {entry.address for entries in psutil.net_if_addrs().values() for entry in entries
           if entry.family == socket.AF_INET}  # fmt: skip
    assert own <= set(names)
    assert not [name for name in names if "*" in name or "%" in name]
    for name in ("127.0.0.1", "localhost:8501", "LOCALHOST:8501", "[::1]:8501", socket.gethostname()):
        assert ask("DELETE", headers={"host": name, "origin": f"http://{name}"})[0] == 204, name


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8501", "127.0.0.1.evil.example", "localhost.evil.example", "8.8.8.8", "",
             "localhost@evil.example", "evil.example#localhost", "[::2]"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_under_any_other_name_nobody_is_answered(host: str, kind: str) -> None:
    assert ask("DELETE", headers={"host": host, "origin": f"http://{host}"}, kind=kind)[0] == 400


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "", "http://127.0.0.1:3000", "http://localhost:8501", "http://127.0.0.1",
     f"http://{HOST}.evil.example", f"http://{HOST}@evil.example", "file://"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["http", "websocket"])
def test_a_page_of_another_origin_may_neither_open_a_socket_nor_send_anything(origin: str, kind: str) -> None:
    assert ask("DELETE", headers={"origin": origin}, kind=kind)[0] == 403


@pytest.mark.parametrize("origin", [f"http://{HOST}", f"https://{HOST}", f"HTTP://{HOST}".upper()])
def test_the_dashboard_s_own_pages_may(origin: str) -> None:
    assert ask("DELETE", headers={"origin": origin})[0] == 204
    assert ask(headers={"origin": origin}, kind="websocket", path="/nothing/here")[0] != 403


def test_an_origin_that_was_named_to_streamlit_may(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = "https://lab.example.org"
    assert ask("DELETE", headers={"origin": proxy})[0] == 403
    monkeypatch.setattr(server.config, "get_option", {"server.corsAllowedOrigins": [proxy]}.get)
    assert ask("DELETE", headers={"origin": proxy})[0] == 204


def test_reading_is_left_to_the_browser_s_own_rules() -> None:
    assert ask("GET", headers={"origin": "http://evil.example"})[0] == 405
