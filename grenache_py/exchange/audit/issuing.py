"""
A receipt of one trade, made out of a store.

Shell. Reads one SQLite file, which a daemon may be using at the same time. What retention has
forgotten cannot be signed again: it is named.
"""

from __future__ import annotations

from sqlite3 import Connection

import attrs

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.audit.receipt import ProvenTrade, Receipt, prove_trade, select_statements
from grenache_py.exchange.effects.rows import LogRow
from grenache_py.exchange.errors import StoreError
from grenache_py.exchange.signed_log.merkle import Signed
from grenache_py.exchange.storage import history
from grenache_py.exchange.storage.reading import reading
from grenache_py.exchange.storage.selects import SELECT_LOG, rows_of

__all__ = ["Issued", "issue"]

#: So much of a trade's id names it, as long as no other begins likewise.
ID_CHARS_MIN = 8


@attrs.frozen
class Issued:
    """
    A receipt, and what it proves by its own check.

    Attributes:
        data: the bytes of the file.
    """

    data: bytes
    proven: ProvenTrade


def issue(path: str, trade: str, network: str) -> Issued | None:
    """
    Make the receipt of a trade.

    Args:
        path: of the store's file.
        trade: its id, or the beginning of it.
        network: the name of the network that the store's home is in.

    Returns:
        None when the store knows no such trade.

    Raises:
        StoreError: the file cannot be read, the trade's id is not told from another, or nothing
            that was signed about the trade is left.
        RemoteProtocolError: what is stored does not prove the trade, in this network.
    """
    with reading(path) as connection:
        found = _find(connection, trade)
        if found is None:
            return None
        id, time_ms = found
        log = f"{SELECT_LOG} WHERE instr(payload, ?) ORDER BY position"
        held = [
            *map(Signed.from_row, rows_of(connection, LogRow, log, id)),
            *map(Signed.from_row, history.evidence(connection, time_ms)),
        ]
    statements = select_statements(id, held)
    if not statements:
        raise StoreError(
            "refused",
            f"{path} has nothing that a home signed about trade {id}: it is a trade of two other"
            " homes, or older than the log and the evidence that are kept"
            " (docs/settlement.rst#kept)",
        )
    data = Receipt.of(network, id, statements).encode()
    try:
        return Issued(data, prove_trade(data))
    except RemoteProtocolError as error:
        raise RemoteProtocolError(
            f"the store does not prove trade {id} in the network {network} (--network): {error}"
        ) from None


def _find(connection: Connection, trade: str) -> tuple[str, int] | None:
    """The whole id of a trade, and its time."""
    if len(trade) < ID_CHARS_MIN:
        return None
    sql = (  # executions outlive the trades
        "SELECT trade_id, time_ms FROM trades WHERE trade_id BETWEEN ?1 AND ?2 UNION"
        " SELECT trade_id, time_ms FROM executions WHERE trade_id BETWEEN ?1 AND ?2 LIMIT 2"
    )
    found = connection.execute(sql, (trade, f"{trade}g")).fetchall()  # no digit comes after f
    if len(found) > 1:
        raise StoreError("refused", f"two trades begin with {trade}: give more of the id")
    return found[0] if found else None
