"""
How many wrong tokens one connection and one address may show.

Pure. A wrong token costs its address one of `GUESSES_BURST` guesses, which come back at
`GUESSES_PER_S`; without one left, no token from there is looked at, right or wrong. After
`GUESSES_PER_CONNECTION` wrong ones a connection is closed. Who is connected already is not held up.
"""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_network
from math import ceil

__all__ = ["GUESSES_PER_CONNECTION", "TokenGuesses", "guesser"]

#: Wrong tokens on one connection before it is closed.
GUESSES_PER_CONNECTION = 3
#: Wrong tokens of one address at once, and again each second.
GUESSES_BURST = 60
GUESSES_PER_S = 1.0
#: Addresses whose wrong tokens are counted; beyond, the one that guessed longest ago starts anew.
ADDRESSES_MAX = 4_096
#: How often one address is told of in the log.
TELL_EVERY_S = 3_600.0


def guesser(host: str) -> str:
    """Who counts as one guesser: an IPv4 address, the first half of an IPv6 one, or ``host``."""
    try:
        ip = ip_address(host.partition("%")[0])
    except ValueError:
        return host  # "": everybody at a UNIX socket
    if ip.version == 4:
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ip_network((ip, 64), strict=False))


class _Guesser:
    __slots__ = ("at", "left", "told_at")

    def __init__(self, now: float) -> None:
        self.left = float(GUESSES_BURST)
        self.at = now
        self.told_at = float("-inf")


class TokenGuesses:
    """
    The wrong tokens shown at one client port.

    Attributes:
        wrong: how many there were.
        refused: how often a token was not looked at because there were too many from its address.
    """

    def __init__(self, tell: Callable[[str], None] = lambda address: None) -> None:
        """
        Args:
            tell: called with an address that has no guess left, once an hour at most.
        """
        self.wrong = 0
        self.refused = 0
        self._tell = tell
        self._guessers: dict[str, _Guesser] = {}  # who guessed longest ago first

    def wait_ms(self, address: str, now: float) -> int:
        """0 when a token from ``address`` may be looked at, else when to come back."""
        one = self._guessers.get(address)
        if one is None:
            return 0
        self._refill(one, now)
        if one.left >= 1:
            return 0
        self.refused += 1
        return max(1, ceil((1 - one.left) / GUESSES_PER_S * 1000))

    def was_wrong(self, address: str, now: float) -> None:
        """A token from ``address`` was looked at and is none."""
        self.wrong += 1
        one = self._guessers.pop(address, None)
        if one is None:
            one = _Guesser(now)
            if len(self._guessers) >= ADDRESSES_MAX:
                del self._guessers[next(iter(self._guessers))]
        self._guessers[address] = one
        self._refill(one, now)
        one.left -= 1
        if one.left < 1 and now - one.told_at >= TELL_EVERY_S:
            one.told_at = now
            self._tell(address)

    def _refill(self, one: _Guesser, now: float) -> None:
        one.left = min(GUESSES_BURST, one.left + max(0.0, now - one.at) * GUESSES_PER_S)
        one.at = now
