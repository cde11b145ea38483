"""
How many nodes of one network count among the nearest, where there are others to choose from.

Pure. Addresses in one network are cheap for an attacker, and ids cost nothing: without a limit
a hundred addresses of one network are all that a node sees near a key. So the nearest node of
an IPv4 /24 or IPv6 /64 counts first; further ones of it take the places that nobody else
wants. A ring that lives in one network therefore loses nothing. Loopback and private networks
are not counted, since whole rings share one address there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

__all__ = ["NETWORK_PLACES", "Placed", "network_of", "spread"]

#: Nodes of one network with a place before those that other networks have too many of.
NETWORK_PLACES = 1
_LOOPBACK6 = bytes(15) + b"\1"


def network_of(host: bytes) -> bytes | None:
    """
    Return what tells networks apart, None for an address that is not counted.

    Args:
        host: 4 or 16 bytes.
    """
    first, second = host[0], host[1]
    if len(host) == 4:
        private = (
            first in (10, 127)
            or (first == 172 and 16 <= second < 32)
            or (first == 192 and second == 168)
            or (first == 169 and second == 254)
            or (first == 100 and 64 <= second < 128)  # carriers' NAT, and overlay networks
        )
        return None if private else host[:3]
    local = first & 0xFE == 0xFC or (first == 0xFE and second & 0xC0 == 0x80)
    return None if local or host == _LOOPBACK6 else host[:8]


class Placed(Protocol):
    """Something that lives in a network."""

    network: bytes | None


P = TypeVar("P", bound=Placed)


def spread(nearest: Iterable[P], count: int) -> list[P]:
    """
    Return up to ``count`` of those given: the nearest of each network, then the nearest others.

    Args:
        nearest: In order of distance. Read only as far as it is needed.
        count: How many.
    """
    chosen: list[P] = []
    surplus: list[P] = []
    counts: dict[bytes, int] = {}
    for each in nearest:
        network = each.network
        if network is not None:
            places = counts.get(network, 0)
            if places >= NETWORK_PLACES:
                surplus.append(each)
                continue
            counts[network] = places + 1
        chosen.append(each)
        if len(chosen) == count:
            return chosen
    return chosen + surplus[: count - len(chosen)]
