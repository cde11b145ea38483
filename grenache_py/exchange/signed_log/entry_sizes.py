"""
How much one entry of a log holds, so that every reader takes it (docs/design/log.rst#entry-sizes).

Pure.
"""

from __future__ import annotations

from functools import cache

from grenache_py.exchange.signed_log.entries import STATES_PER_ENTRY_MAX
from grenache_py.exchange.signed_log.merkle import PAYLOAD_BYTES_MAX

__all__ = ["FRAME_BYTES_MAX", "STATE_BYTES_MAX", "TRADE_BYTES_MAX", "room_for_states"]

#: Bytes of one trade with its comma, when its texts and numbers are as long as they may be.
TRADE_BYTES_MAX = 471
#: Likewise of one state.
STATE_BYTES_MAX = 189
#: Likewise of all of an entry but its trades and states: with an order, and a heartbeat.
FRAME_BYTES_MAX = 820


@cache
def room_for_states(trades: int) -> int:
    """How many states an entry with so many trades holds, however long their texts are."""
    left = PAYLOAD_BYTES_MAX - FRAME_BYTES_MAX - trades * TRADE_BYTES_MAX
    return min(STATES_PER_ENTRY_MAX, left // STATE_BYTES_MAX)
