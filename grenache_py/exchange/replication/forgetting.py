"""
Which other homes are forgotten, so that a stranger's made-up ones do not fill memory and disk.

Pure. Only rules and numbers (docs/design/sync.rst#forgetting). All peers judge by the stamps that
homes signed, so what one has forgotten the others have too, or soon will, and it does not come
back. ``origin_table.py`` carries it out.
"""

from __future__ import annotations

from grenache_py.exchange.replication.origin import Origin

__all__ = [
    "BYTES_PER_ORIGIN_MAX",
    "EXPIRED_MS",
    "IDLE_MS",
    "NEW_MS",
    "RECORD_BYTES_MAX",
    "WAITING_BYTES_MAX",
    "expired",
    "is_over",
    "over_ms",
    "too_old",
]

#: A home without orders is forgotten so long after its last stamp.
IDLE_MS = 600_000
#: One that was held for so long is no newcomer: it gives way to none while it lives and has orders.
NEW_MS = 3_600_000
#: One with orders, and they with it.
DEAD_MS = 7 * 86_400_000
#: An order that expired and that its home has not closed is dropped after.
EXPIRED_MS = 60_000
#: Payloads of live orders of all homes together, and of one.
RECORD_BYTES_MAX = 1 << 30
BYTES_PER_ORIGIN_MAX = 1 << 28
#: Payloads of early entries of all homes together.
WAITING_BYTES_MAX = 1 << 25


def too_old(stamp_ms: int, now_ms: int, with_orders: bool) -> bool:
    """Whether a home whose newest stamp is this is forgotten by now, or not taken at all."""
    return stamp_ms < now_ms - (DEAD_MS if with_orders else IDLE_MS)


def is_over(origin: Origin, now_ms: int) -> bool:
    """Whether a home is forgotten now. Proofs that it broke its word are kept."""
    return (
        not origin.visible
        and not origin.frozen
        and too_old(origin.heard_ms, now_ms, bool(origin.records))
    )


def over_ms(origin: Origin) -> int:
    """From when on a silent home is over, unless it loses its orders before."""
    return origin.heard_ms + (DEAD_MS if origin.records else IDLE_MS) + 1


def expired(expires_ms: int | None, is_open: bool, stamp_ms: int, now_ms: int) -> bool:
    """
    Whether an order is over although its home has not closed it.

    Args:
        is_open: some of it may still trade. Else it waits for answers to fills, and its home closes
            it, as long as that lives.
        stamp_ms: the newest stamp of its home that is known.
    """
    limit = now_ms - EXPIRED_MS
    return expires_ms is not None and expires_ms < limit and (is_open or stamp_ms < limit)
