"""
How the signed entries of others' live orders are stored, and read again.

Pure. Their texts are in the store and nowhere else: what is held in memory of an order is what
matching and reconciliation need. An entry that published an order and gave its newest state is
stored once.
"""

from __future__ import annotations

from grenache_py.exchange.effects.rows import RecordChanged, RecordGone, RecordRow, Row
from grenache_py.exchange.signed_log.merkle import Signed, SignedRow

__all__ = ["changed_row", "new_row", "signed_pair"]

_NO_STATE = SignedRow("", b"", 0, 0, b"")


def new_row(order_id: str, home: str, version: int, order: Signed, state: Signed) -> RecordRow:
    """The row of an order by the entry that published it and the one with its newest state."""
    state_row = _NO_STATE if state == order else state.row()
    return RecordRow(order_id, home, version, *order.row(), *state_row)


def changed_row(before: Row | None, order_id: str, version: int, state: Signed) -> Row:
    """
    The row that brings what is stored of an order to a newer state.

    Args:
        before: the row of the same order that is to be written in the same batch, if there is one.
    """
    if isinstance(before, RecordRow):
        return RecordRow(order_id, before.origin, version, *before[3:8], *state.row())
    assert not isinstance(before, RecordGone), "an order that is gone does not change"
    return RecordChanged(order_id, version, *state.row())


def signed_pair(row: RecordRow) -> tuple[Signed, Signed]:
    """The entry that published an order, and the one with its newest state, often the same."""
    order = Signed.from_row(SignedRow(*row[3:8]))
    return order, Signed.from_row(SignedRow(*row[8:13])) if row.state_payload else order
