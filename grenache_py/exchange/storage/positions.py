"""
The numbers by which a store keeps log entries and own orders.

Pure.
"""

from __future__ import annotations

__all__ = ["INTEGER_MAX", "SEQ_BITS", "SEQ_MASK", "log_position", "order_position"]

#: log.position = epoch << 36 | seq; 27 bits are left for the epoch, until the year 2281.
SEQ_BITS = 36
COUNTER_BITS = 20  # orders.position = time_ms << 20 | counter
SEQ_MASK = (1 << SEQ_BITS) - 1
INTEGER_MAX = 2**63 - 1


def log_position(epoch: int, seq: int) -> int:
    """The number of a log entry in the ``log`` table; sorts as (epoch, seq)."""
    return epoch << SEQ_BITS | seq


def order_position(time_ms: int, counter: int) -> int:
    """The number of an own order in the ``orders`` table; sorts by time priority."""
    return time_ms << COUNTER_BITS | counter
