"""How long the answer to a wrong access code waits: guessing is slow for one visitor, and for all together."""

from collections import OrderedDict
from ipaddress import ip_address, ip_network

FIRST, LONGEST = 0.5, 8.0
SPACING = 0.1
# Longer than this nobody is kept waiting: what comes beyond is turned away at once.
PATIENCE = 10.0
FORGET = 600.0
MOST_VISITORS = 4096


class Slowing:
    """What wrong codes cost. Right ones are never asked about, so nobody who has the code waits for one who guesses.

    Each wrong code of a visitor is answered twice as long after the one before it, from ``FIRST`` to ``LONGEST``
    seconds; all visitors together get one answer in ``SPACING`` seconds.
    """

    def __init__(self) -> None:
        self._free = 0.0
        self._visitors: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wrong(self, address: str, now: float) -> float | None:
        """Seconds after which a wrong code from ``address`` is answered; None where it is turned away.

        ``now`` is the time of a clock that never goes back, in seconds.
        """
        visitor = visitor_of(address)
        count, free = self._visitors.get(visitor, (0, 0.0))
        if now - free > FORGET:
            count = 0
        own = max(now, free) + min(LONGEST, FIRST * 2**count)
        together = max(now, self._free) + SPACING
        answered = max(own, together)
        if answered - now > PATIENCE:
            return None
        # A visitor who guesses much must not use up what all share: only answers that are given take a place.
        self._free = together
        self._visitors[visitor] = (min(count + 1, 16), own)
        self._visitors.move_to_end(visitor)
        while len(self._visitors) > MOST_VISITORS:
            self._visitors.popitem(last=False)
        return answered - now


def visitor_of(address: str) -> str:
    """An address without what one visitor can change of it: of IPv6, the network of 64 bits."""
    try:
        known = ip_address(address)
    except ValueError:
        return "unknown"
    if known.version == 6 and known.ipv4_mapped is None:
        return str(ip_network((known, 64), strict=False))
    return str(known)
