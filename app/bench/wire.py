"""A visitor without a browser: pages are asked for by Streamlit's own socket, and all that they draw is read."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.sync.client import ClientConnection, connect

from app.bench.server import PATIENCE, Server

PRESSED = {"trigger_value": True}


class Visitor:
    """One session of a server.

    ``ids`` are those of what was drawn, by key. ``acknowledged`` is how many seconds after the last :meth:`see` the
    first thing came that differs from what stood in its place; None where nothing did.
    """

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._drawn: dict[tuple[int, ...], bytes] = {}
        self.ids: dict[str, str] = {}
        self.acknowledged: float | None = None

    def see(self, page: str, query: str = "", **widgets: dict[str, Any]) -> None:
        """Have a page run and read all of it; widgets' states are ``key={field of a WidgetState: value}``."""
        message = BackMsg()
        message.rerun_script.page_name = page
        message.rerun_script.query_string = query
        for key, values in widgets.items():
            state = message.rerun_script.widget_states.widgets.add(id=self.ids[key])
            for name, value in values.items():
                setattr(state, name, value)
        self.acknowledged, began = None, time.perf_counter()
        self._socket.send(message.SerializeToString())
        while not self._ended(answer := self._next()):
            if answer.WhichOneof("type") == "delta":
                self._note(answer.delta.new_element)
                if self._differs(answer) and self.acknowledged is None:
                    self.acknowledged = time.perf_counter() - began

    def wish(self, page: str, query: str, key: str, value: Any) -> None:
        """Send what a component sends when one of its buttons is pressed."""
        self.ids["wish"] = f"$$STREAMLIT_INTERNAL_KEY_{self.ids[key]}__events"
        self.see(page, query, wish={"json_trigger_value": json.dumps([{"event": "wish", "value": value}])})

    def _next(self) -> ForwardMsg:
        answer = ForwardMsg()
        answer.ParseFromString(self._socket.recv(timeout=PATIENCE, decode=False))
        return answer

    def _ended(self, answer: ForwardMsg) -> bool:
        # A page that asks for a rerun finishes early, and then once more.
        early = ForwardMsg.FINISHED_EARLY_FOR_RERUN
        return answer.WhichOneof("type") == "script_finished" and answer.script_finished != early

    def _differs(self, answer: ForwardMsg) -> bool:
        """Whether an element is not what stood in its place; spinners, which show only after a while, do not count."""
        kind = answer.delta.new_element.WhichOneof("type")
        if kind in (None, "empty", "spinner"):
            return False
        place, now = tuple(answer.metadata.delta_path), answer.delta.new_element.SerializeToString(deterministic=True)
        before, self._drawn[place] = self._drawn.get(place), now
        return now != before

    def _note(self, element: Any) -> None:
        kind = element.WhichOneof("type")
        if kind == "exception" or (kind == "alert" and "could not be drawn" in element.alert.body):
            raise RuntimeError("A page failed; what the server said stands above.")
        name = getattr(getattr(element, kind), "id", "") if kind else ""
        if name:
            self.ids[name.split("-", 2)[-1]] = name


@contextmanager
def visiting(server: Server) -> Iterator[Visitor]:
    """A new session."""
    address, protocols = f"ws://127.0.0.1:{server.port}/_stcore/stream", ["streamlit", "no-token"]
    with connect(address, origin=server.url, subprotocols=protocols, max_size=None) as socket:
        yield Visitor(socket)
