"""Who may change something: everybody who sits at this machine; over a network, those who entered the access code.

The code is made when the server starts and printed once. Whoever entered it has a cookie that scripts cannot read; a
page asks for that of its WebSocket's handshake, so nothing that is sent later can stand in for it.
"""

import os
import secrets
import threading
from collections.abc import Mapping
from ipaddress import ip_address

import streamlit as st
from streamlit import config, runtime

from core.runs import StoreError

# Crockford's base 32: no letter that could be taken for a digit. 12 of them are 60 bits: at a thousand guesses a
# second the code is found in some twenty million years, so a right code never has to wait for wrong ones.
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH, _GROUP = 12, 4
_ALIKE = str.maketrans("OIL", "011")


class AccessError(StoreError):
    """Only with the access code; one sentence for the person."""

    def __init__(self) -> None:
        super().__init__("This needs the access code: enter it at the top of the page, then try again.")


class Access:
    """One server's code, and the cookie that stands for it."""

    def __init__(self) -> None:
        digits = "".join(secrets.choice(ALPHABET) for _ in range(_LENGTH))
        self.code = "-".join(digits[i : i + _GROUP] for i in range(0, _LENGTH, _GROUP))
        self._token = secrets.token_urlsafe(32)
        # Browsers keep one jar for all ports of a machine: two servers must not overwrite each other's.
        self.cookie = f"dropscope_access_{secrets.token_hex(4)}"
        self._told = threading.Lock()

    def matches(self, text: str) -> bool:
        """Whether ``text`` is the code, however it is spaced and in whichever case; in constant time."""
        typed = "".join(sign for sign in text.upper().translate(_ALIKE) if sign in ALPHABET)
        return secrets.compare_digest(typed, self.code.replace("-", ""))

    def given(self) -> tuple[str, str]:
        """Name and value of the cookie for somebody who entered the code."""
        return self.cookie, self._token

    def holds(self, cookies: Mapping[str, str]) -> bool:
        """Whether these cookies are of somebody who entered the code."""
        held = cookies.get(self.cookie, "")
        return secrets.compare_digest(held.encode(), self._token.encode())

    def announce(self) -> None:
        """Print the code, the first time only."""
        if self._told.acquire(blocking=False):
            print(
                f"\n  Access code: {self.code}\n  With it a visitor may start, stop, change and delete runs; "
                "without it one may look and explore.\n",
                flush=True,
            )


ACCESS = Access()


def needed() -> bool:
    """Whether the visitor of the page that runs has to have the code."""
    # Streamlit's AppTest runs pages with a stand-in for the server, which passes for one by isinstance.
    if not runtime.exists() or type(runtime.get_instance()) is not runtime.Runtime:
        return False
    return exposed() or asked_of(st.context.ip_address)


def permitted() -> bool:
    """Whether the visitor of the page that runs may change something."""
    return not needed() or ACCESS.holds(st.context.cookies)


def check() -> None:
    """Raise :class:`AccessError` unless the visitor of the page that runs may change something."""
    if not permitted():
        raise AccessError


def exposed() -> bool:
    """Whether the server can be reached from beyond this machine: by its address, or by a proxy that has a name."""
    return not is_loopback(config.get_option("server.address")) or bool(os.environ.get("DROPSCOPE_HOSTS", "").strip())


def asked_of(address: str | None) -> bool:
    """Whether somebody at ``address`` has to have the code although the server is said to listen on loopback alone.

    Another program than ``streamlit run`` may serve it, and a proxy on this machine says for whom it asks.
    """
    if address is None or is_loopback(address):
        return False
    ACCESS.announce()
    return True


def is_loopback(address: str | None) -> bool:
    """Whether ``address`` is this machine's alone. None is every address, and a name but ``localhost`` may be any."""
    if address == "localhost":
        return True
    try:
        return address is not None and ip_address(address.strip("[]")).is_loopback
    except ValueError:
        return False
