"""
What can go wrong with an order, a request or the store, each with its wire code.

Pure. The codes are those of JSON-RPC 2.0 and of ``docs/client-protocol.rst``; a message is
a sentence that tells a person what to do next.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from grenache_py.errors import GrenacheError

__all__ = ["OrderError", "StoreError", "StoreFault"]

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
NO_SUCH_METHOD = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
UNKNOWN_MARKET = -32000
UNKNOWN_ORDER = -32001
DUPLICATE_CLIENT_ID = -32002
WOULD_CROSS = -32003
CANNOT_FILL = -32004
RATE_LIMITED = -32005
NOT_AUTHORISED = -32006
TOO_LARGE = -32007
NOT_A_MULTIPLE = -32008
ALREADY_CLOSED = -32009
BUSY = -32010
SHUTTING_DOWN = -32011
SELF_TRADE = -32012
FORGOTTEN = -32013
TOO_LATE = -32014
OUTSIDE_BAND = -32015
STANDBY = -32016


class OrderError(GrenacheError):
    """
    A request that is answered with an error object; nothing else happened.

    Attributes:
        code: the JSON-RPC error code, one of the constants of this module.
        message: a sentence a person can act on.
        data: members of the error's ``data`` object (``field``, ``retry_after_ms``, ...).
    """

    def __init__(self, code: int, message: str, **data: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


# full: no space left; io: the disk failed or the outcome is unknown; readonly: may not be written;
# corrupt: damaged; refused: not a file this program may run on (newer, foreign, a backup copy);
# locked: another program has it; closed: not open (any more); bug: rows the schema does not allow;
# fenced: another daemon has taken the home over.
StoreFault: TypeAlias = Literal[
    "full", "io", "readonly", "corrupt", "refused", "locked", "closed", "bug", "fenced"
]


class StoreError(GrenacheError):
    """
    The database cannot be opened, read or written.

    Attributes:
        fault: what kind of trouble it is. ``full``, ``io``, ``readonly`` and ``locked`` may pass:
            open the store again later.
        message: a sentence that says what to do about it.
    """

    def __init__(self, fault: StoreFault, message: str) -> None:
        super().__init__(message)
        self.fault = fault
        self.message = message
