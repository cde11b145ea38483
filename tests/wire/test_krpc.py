"""KRPC messages: what is read from them, what is built, and bytes that are neither."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grenache_py.errors import RemoteProtocolError
from grenache_py.wire import bencode, krpc

ID = b"abcdefghij0123456789"
PING = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe"


def test_a_query_is_read() -> None:
    query = krpc.decode(PING)
    assert isinstance(query, krpc.Query)
    assert (query.txid, query.method, query.sender_id) == (b"aa", b"ping", ID)
    assert not query.read_only


def test_a_read_only_sender_says_so() -> None:
    query = krpc.decode(b"d1:ad2:id20:" + ID + b"e1:q4:ping2:roi1e1:t2:aa1:y1:qe")
    assert isinstance(query, krpc.Query)
    assert query.read_only


def test_an_id_that_is_not_20_bytes_is_none() -> None:
    for sender in (b"5:short", b"i5e", b"le"):
        query = krpc.decode(b"d1:ad2:id" + sender + b"e1:q4:ping1:t2:aa1:y1:qe")
        assert isinstance(query, krpc.Query)
        assert query.sender_id is None


def test_missing_arguments_differ_from_strange_ones() -> None:
    missing = krpc.decode(b"d1:q4:ping1:t2:aa1:y1:qe")
    strange = krpc.decode(b"d1:a3:abc1:q4:ping1:t2:aa1:y1:qe")
    assert isinstance(missing, krpc.Query)
    assert isinstance(strange, krpc.Query)
    assert missing.args is None
    assert strange.args == {}


def test_a_response_is_read() -> None:
    response = krpc.decode(b"d1:rd2:id20:" + ID + b"5:token1:xe1:t2:\x00\x011:y1:re")
    assert isinstance(response, krpc.Response)
    assert (response.txid, response.sender_id) == (b"\0\1", ID)
    assert response.args[b"token"] == b"x"


def test_an_error_is_read_even_when_its_parts_are_swapped_or_missing() -> None:
    for detail, code, text in (
        (b"li203e3:bade", 203, "bad"),
        (b"l3:badi203ee", 203, "bad"),
        (b"le", 0, ""),
        (b"3:bad", 0, ""),
    ):
        error = krpc.decode(b"d1:e" + detail + b"1:t2:aa1:y1:ee")
        assert isinstance(error, krpc.ErrorReply)
        assert (error.code, error.message) == (code, text)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"i1e",
        b"le",
        b"de",
        b"d1:t2:aae",
        b"d1:t2:aa1:y1:xe",
        b"d1:rd2:id20:" + ID + b"e1:ti1e1:y1:re",
        b"d1:rle1:t2:aa1:y1:re",
        b"d1:yd8:toStringi1eee",
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        krpc.decode(data)


@pytest.mark.parametrize("txid", [b"aa", b"", b"z" * 64, b"z" * 65, 7, [b"a", 1], None])
def test_a_foreign_transaction_id_is_echoed_whatever_it_is(txid: object) -> None:
    for datagram in (krpc.response(b"2:id20:" + ID, txid), krpc.error(203, b"bad", txid)):
        message = bencode.decode(datagram)
        assert message.get(b"t") == txid
        assert bencode.encode(message) == datagram, "canonical"


def test_query_halves_make_a_canonical_query() -> None:
    head, tail = krpc.query_around(b"find_node", b"2:id20:" + ID + b"6:target20:" + ID, 4)
    datagram = head + b"wxyz" + tail
    assert bencode.encode(bencode.decode(datagram)) == datagram
    query = krpc.decode(datagram)
    assert isinstance(query, krpc.Query)
    assert (query.method, query.txid) == (b"find_node", b"wxyz")


@given(st.ip_addresses(), st.integers(0, 65535))
def test_compact_addresses_go_there_and_back(host: object, port: int) -> None:
    compact = krpc.compact_address((str(host), port))
    assert len(compact) in (6, 18)
    assert krpc.expand_address(compact) == (str(host), port)


@given(st.binary(max_size=120))
def test_arbitrary_bytes_are_a_message_or_a_remote_error(data: bytes) -> None:
    with contextlib.suppress(RemoteProtocolError):
        krpc.decode(data)


@given(st.data())
def test_a_mutilated_query_is_a_message_or_a_remote_error(data: st.DataObject) -> None:
    raw = bytearray(PING)
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(RemoteProtocolError):
        krpc.decode(bytes(raw))


def test_a_query_fed_byte_by_byte_is_only_whole_at_the_end() -> None:
    for length in range(len(PING)):
        with pytest.raises(RemoteProtocolError):
            krpc.decode(PING[:length])
    krpc.decode(PING)
