"""Streamlit's socket without a browser: what may be sent to a server by somebody who keeps to none of its widgets."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

from tests.browser import PATIENCE, Server


class Wire:
    """One socket. After :meth:`open`: the ids of what the page drew, by its key, its alerts, and all that it said."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.session = ""
        self.ids: dict[str, str] = {}
        self.alerts: list[str] = []
        self.said = b""

    def open(self, page: str, query: str = "", **widgets: Any) -> None:
        """Run a page with these widget states, each ``key={field of a WidgetState: value}``, and read what it draws."""
        message = BackMsg()
        message.rerun_script.page_name = page
        message.rerun_script.query_string = query
        for key, value in widgets.items():
            state = message.rerun_script.widget_states.widgets.add(id=self.ids[key])
            for name, content in value.items():
                setattr(state, name, content)
        self.send(message)

    def press(self, page: str, key: str, query: str = "") -> None:
        """Press a button, drawn or not."""
        self.open(page, query, **{key: {"trigger_value": True}})

    def event(self, page: str, key: str, name: str, value: Any, query: str = "") -> None:
        """Send what a component would send of itself."""
        self.ids["forged"] = f"$$STREAMLIT_INTERNAL_KEY_{self.ids[key]}__events"
        self.open(page, query, forged={"json_trigger_value": json.dumps([{"event": name, "value": value}])})

    def send(self, message: BackMsg) -> None:
        self.alerts, self.said = [], b""
        self.socket.send(message.SerializeToString())
        while True:
            answer = ForwardMsg()
            answer.ParseFromString(self.socket.recv(timeout=PATIENCE, decode=False))
            if answer.WhichOneof("type") == "new_session":
                self.session = answer.new_session.initialize.session_id or self.session
            if answer.WhichOneof("type") == "delta":
                self._note(answer.delta.new_element)
            # A page that asks for a rerun finishes early, and then once more.
            if answer.WhichOneof("type") == "script_finished" and answer.script_finished in (0, 1):
                return

    def _note(self, element: Any) -> None:
        kind = element.WhichOneof("type")
        self.said += element.SerializeToString().replace(b"\\", b"")
        if kind == "alert":
            self.alerts.append(element.alert.body.replace("\\", ""))
        part = getattr(element, kind) if kind else None
        name = getattr(part, "id", "")
        if name:
            self.ids[name.split("-", 2)[-1]] = name


@contextmanager
def wired(server: Server, cookies: dict[str, str] | None = None, session: str = "") -> Iterator[Wire]:
    """A socket of somebody with these cookies; with ``session``, one that asks to go on with that session."""
    held = "; ".join(f"{name}={value}" for name, value in (cookies or {}).items())
    address = f"ws://127.0.0.1:{server.port}/_stcore/stream"
    protocols: Any = ["streamlit", "no-token", *([session] if session else [])]
    headers = {"Cookie": held} if held else {}
    # As patient as a browser, which sends no pings either.
    with connect(
        address, origin=server.url, subprotocols=protocols, additional_headers=headers, max_size=None,
        open_timeout=PATIENCE, ping_interval=None,
    ) as socket:  # fmt: skip
        yield Wire(socket)


def post(server: Server, path: str, content: Any, method: str = "POST", **headers: str) -> tuple[int, dict[str, str]]:
    """Status of a request with JSON, and the cookies that came back."""
    sent = {"Content-Type": "application/json", "Origin": server.url, **headers}
    request = urllib.request.Request(server.url + path, json.dumps(content).encode(), sent, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as reply:
            pairs = [value.partition(";")[0].partition("=") for value in reply.headers.get_all("Set-Cookie") or []]
            return reply.status, {name: value for name, _, value in pairs}
    except HTTPError as refused:
        return refused.code, {}
