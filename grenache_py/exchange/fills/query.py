"""
The signed question what became of a fill.

Pure. See docs/design/fills.rst#query. The question makes an unknown fill impossible, and it may
come through other peers. So it carries the signature of the only home that may ask it, the taker's.
"""

from __future__ import annotations

import msgspec

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.fills.messages import fill_id
from grenache_py.exchange.signed_log.entries import Count, HexId, HexKey, TimeMs, check_texts

__all__ = ["FillQuery", "decode_query", "encode_query"]


class FillQuery(
    msgspec.Struct, forbid_unknown_fields=True, frozen=True, tag="query", tag_field="kind"
):
    """
    A taker's question.

    Attributes:
        fill: ``fill_id`` of the next four fields.
        order, maker_home, taker_home, fill_seq: as in the fill that is asked about.
        deadline: of that fill, ms.
    """

    fill: HexId
    order: HexId
    maker_home: HexKey
    taker_home: HexKey
    fill_seq: Count
    deadline: TimeMs


_query = msgspec.json.Decoder(FillQuery).decode


def encode_query(query: FillQuery) -> str:
    """The payload to be signed."""
    return msgspec.json.encode(query).decode()


def decode_query(payload: str) -> FillQuery:
    """
    Raises:
        RemoteProtocolError: not a question, or the fill's id is not that of its fields.
    """
    try:
        query = _query(payload)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise RemoteProtocolError(f"bad fill query: {error}") from None
    check_texts("fill query", [query.fill, query.order, query.maker_home, query.taker_home], [])
    if query.fill != fill_id(query.order, query.maker_home, query.taker_home, query.fill_seq):
        raise RemoteProtocolError(f"fill id {query.fill} is not the hash of its fields")
    return query
