"""Signals that ask a program to end: noted while it trains, and obeyed between steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Self


class Signals:
    """Turns Ctrl-C, SIGTERM and a hang-up into a note that is looked at between steps, once ``gently`` is set.

    Before that, and at the second one, they raise KeyboardInterrupt where the program stands.
    """

    _WORDS = {"SIGINT": "Ctrl-C", "SIGTERM": "SIGTERM", "SIGHUP": "the end of its terminal"}  # noqa: RUF012

    def __init__(self, *, heeded: bool = True) -> None:
        self._heeded = heeded
        self.gently = False
        self.received: str | None = None
        self._before: dict[signal.Signals, Any] = {}

    @property
    def cause(self) -> str:
        """What was received, in a word."""
        return self._WORDS[self.received or "SIGINT"]

    def __enter__(self) -> Self:
        # Only the main thread may handle signals; elsewhere there are the requests in the store.
        if self._heeded and threading.current_thread() is threading.main_thread():
            for name in self._WORDS:
                if number := getattr(signal, name, None):
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        again = self.received is not None
        self.received = signal.Signals(number).name
        if again or not self.gently:
            raise KeyboardInterrupt
