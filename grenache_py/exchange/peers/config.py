"""
What the peer port is told when it starts.

Pure. The daemon makes it of the command line's options.
"""

from __future__ import annotations

import attrs

__all__ = ["PeeringConfig"]


@attrs.frozen
class PeeringConfig:
    """
    What a peer tells others of itself, and how many links it keeps.

    Attributes:
        listen: ``host:port`` others can dial, "" when they cannot; ``:port`` when the host is
            to be what others see.
        connect: addresses the operator named.
        grapes: hosts of the grapes that the operator named.
        outbound_target: links to dial.
        inbound_max: links to accept.
        strict: raise LocalProtocolError for an illegal change of a link's state, for tests.
            Otherwise it is counted and ends that link.
        term: that this daemon holds in its database; 0 when its store has none
            (docs/design/identity.rst#takeovers).
    """

    network: str
    listen: str = ""
    connect: tuple[str, ...] = ()
    grapes: tuple[str, ...] = ()
    outbound_target: int = 8
    inbound_max: int = 40
    software: str = ""
    strict: bool = False
    term: int = 0
