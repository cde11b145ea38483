"""
The states of one client's HTTP connection, and which follows which.

Pure. The grape, the RPC server and the exchange's HTTP port share the table. Beside its state a
connection has a set of reasons to wait: `PauseReason`.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from grenache_py.state_machine import Transitions

__all__ = ["HTTP_TRANSITIONS", "HTTPEvent", "HTTPState", "PauseReason"]


class HTTPState(Enum):
    """What a connection is doing."""

    #: It waits for a request, or for the rest of one.
    READING = auto()
    #: At least one request is being answered; others may be read meanwhile.
    ANSWERING = auto()
    #: Nothing more is read; the connection ends after the answers that are on their way.
    DRAINING = auto()
    #: The last answer is sent and our half is closed; what the client still sends is dropped.
    LINGERING = auto()
    #: The transport closes once everything is sent.
    CLOSING = auto()
    #: The transport is gone.
    CLOSED = auto()


class HTTPEvent(Enum):
    """What changes a connection's state."""

    #: A request is to be answered.
    ASKED = auto()
    #: The last request that was being answered has its answer.
    ANSWERED = auto()
    #: Nothing more is to be read: the client or the service ends, or a request was refused.
    DRAIN = auto()
    #: Our half is closed.
    LINGER = auto()
    #: The transport is told to close.
    CLOSE = auto()
    #: The transport says that it is gone.
    LOST = auto()


class PauseReason(Enum):
    """Why a connection does not go on for now."""

    #: The client does not take what was written.
    WRITING = auto()
    #: As many requests wait for their answers as may.
    PIPELINED = auto()
    #: A stream's reader has as much as it may hold.
    STREAM = auto()
    #: Other connections have their turn.
    TURN = auto()


_S, _E = HTTPState, HTTPEvent
#: Which state follows which.
HTTP_TRANSITIONS: Final = Transitions(
    "HTTP connection",
    {
        (_S.READING, _E.ASKED): _S.ANSWERING,
        (_S.READING, _E.DRAIN): _S.DRAINING,
        (_S.READING, _E.LINGER): _S.LINGERING,
        (_S.READING, _E.CLOSE): _S.CLOSING,
        (_S.READING, _E.LOST): _S.CLOSED,
        (_S.ANSWERING, _E.ASKED): _S.ANSWERING,
        (_S.ANSWERING, _E.ANSWERED): _S.READING,
        (_S.ANSWERING, _E.DRAIN): _S.DRAINING,
        (_S.ANSWERING, _E.LINGER): _S.LINGERING,
        (_S.ANSWERING, _E.CLOSE): _S.CLOSING,
        (_S.ANSWERING, _E.LOST): _S.CLOSED,
        (_S.DRAINING, _E.DRAIN): _S.DRAINING,
        (_S.DRAINING, _E.LINGER): _S.LINGERING,
        (_S.DRAINING, _E.CLOSE): _S.CLOSING,
        (_S.DRAINING, _E.LOST): _S.CLOSED,
        (_S.LINGERING, _E.CLOSE): _S.CLOSING,
        (_S.LINGERING, _E.LOST): _S.CLOSED,
        (_S.CLOSING, _E.LOST): _S.CLOSED,
    },
)
