"""
Networks that addresses lie in: whose they are, and whether a stranger may have one dialled.

Pure. An address that only means something inside some network (private, link-local, loopback, a
name without a dot) has the name of that network here. A stranger's word is no reason to dial one:
it might be a host of the operator's that is nobody's peer (docs/design/gossip.rst#private).
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from grenache_py.exchange.peers.scores import network_prefix

__all__ = ["LOOPBACK", "NOWHERE", "crowd_of", "inner_network"]

#: This machine itself.
LOOPBACK = "loopback"
#: No host that can be dialled: unspecified, multicast, reserved, or a number in disguise.
NOWHERE = "nowhere"
#: Names that only the own network resolves.
_NAMES = "names"
_INNER_NAME = re.compile(r"(?:[^.]+|.*\.(?:localhost|local|internal|intranet|lan|home|home\.arpa))")
#: Private networks, and by how many bits two addresses in it must agree to be in the same one.
_PRIVATE = tuple(
    (ip_network(text), bits)
    for text, bits in (
        ("10.0.0.0/8", 16),
        ("172.16.0.0/12", 16),
        ("192.168.0.0/16", 24),
        ("100.64.0.0/10", 16),
        ("169.254.0.0/16", 16),
        ("fc00::/7", 48),
        ("fe80::/10", 64),
    )
)


def inner_network(address: str) -> str | None:
    """
    The network inside which ``host:port`` means something; None when that is the internet.

    ``NOWHERE`` when it can be no peer's.
    """
    return _of_host(_host(address))


@lru_cache(10_000)
def crowd_of(address: str) -> str:
    """
    What an attacker who has one address of it easily has more of: its /24 (IPv6: /48), the last
    two labels of its name, or its inner network.
    """
    host = _host(address)
    return network_prefix(address) or _of_host(host) or ".".join(host.split(".")[-2:])


def _host(address: str) -> str:
    return address.rpartition(":")[0].strip("[]").lower().rstrip(".")


@lru_cache(10_000)
def _of_host(host: str) -> str | None:
    try:
        ip = ip_address(host.partition("%")[0])
    except ValueError:
        if not host or host.rpartition(".")[2][:1].isdigit():
            return NOWHERE  # resolvers read 127.1 and 0x7f.1 as numbers
        return _NAMES if _INNER_NAME.fullmatch(host) else None
    return _of_ip(ip)


def _of_ip(ip: IPv4Address | IPv6Address) -> str | None:
    if isinstance(ip, IPv6Address):
        inside = ip.ipv4_mapped or ip.sixtofour
        if inside is not None:
            return _of_ip(inside)
    if ip.is_loopback:
        return LOOPBACK
    for network, bits in _PRIVATE:
        if ip in network:
            return str(ip_network((ip, bits), strict=False))
    return None if ip.is_global and not ip.is_multicast else NOWHERE
