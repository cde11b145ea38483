"""
The states of a connection to a peer before it is a link.

Pure. A link of the node begins where PROVEN does (``exchange/peers/link.py``).
"""

from __future__ import annotations

from enum import Enum

from grenache_py.state_machine import Transitions

__all__ = ["CHANNEL_TRANSITIONS", "ChannelEvent", "ChannelState"]


class ChannelState(Enum):
    """How far a connection has come."""

    #: Accepted; it has not said what TLS begins with, or waits for its turn.
    CONNECTED = "connected"
    #: TLS is under way.
    SHAKING = "shaking"
    #: TLS verified the key at the other end; the node has a link.
    PROVEN = "proven"
    #: On its way out, or gone.
    CLOSING = "closing"


class ChannelEvent(Enum):
    """What happens to a connection."""

    #: TLS begins.
    BEGIN = "begin"
    #: TLS is done, and the other side has an ed25519 key.
    PROVE = "prove"
    #: It is closed, for whatever reason, or gone.
    CLOSE = "close"


#: Nothing comes back from CLOSING.
CHANNEL_TRANSITIONS = Transitions(
    "channel",
    {
        (ChannelState.CONNECTED, ChannelEvent.BEGIN): ChannelState.SHAKING,
        (ChannelState.CONNECTED, ChannelEvent.CLOSE): ChannelState.CLOSING,
        (ChannelState.SHAKING, ChannelEvent.PROVE): ChannelState.PROVEN,
        (ChannelState.SHAKING, ChannelEvent.CLOSE): ChannelState.CLOSING,
        (ChannelState.PROVEN, ChannelEvent.CLOSE): ChannelState.CLOSING,
        (ChannelState.CLOSING, ChannelEvent.CLOSE): ChannelState.CLOSING,
    },
)
