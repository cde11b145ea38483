"""Which records are asked for next, when a line was too short for all."""

from __future__ import annotations

import pytest

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.replication.live_set_index import LiveSetIndex
from grenache_py.exchange.replication.live_set_key import INFINITY, key_of
from grenache_py.exchange.replication.messages import bound_wire
from grenache_py.exchange.replication.reconciliation import Reconciliation, Whole
from grenache_py.exchange.replication.record_pages import RecordPage, _Ids, _Range, pages


def test_ids_that_were_not_answered_are_asked_for_again() -> None:
    page = _Ids(["a", "b", "c"])
    assert page.params() == {"ids": ["a", "b", "c"]}
    assert page.rest({"answered": 3}) is None
    rest = page.rest({"answered": 2})
    assert rest is not None and rest.params() == {"ids": ["c"]}
    for wrong in (None, 0, -1, "1", True):
        with pytest.raises(RemoteProtocolError, match="'answered'"):
            page.rest({"answered": wrong})


def test_a_range_goes_on_where_the_answer_ended_and_not_for_ever() -> None:
    page = _Range(key_of(1, 0), INFINITY, 5)
    assert page.params() == {"range": [[1, ""], None]}
    assert page.rest({"records": [[]]}) is None
    rest = page.rest({"records": [[], []], "next": bound_wire(key_of(7, 0))})
    assert rest == _Range(key_of(7, 0), INFINITY, 3)
    empty = page.rest({"records": [], "next": bound_wire(key_of(7, 0))})
    assert empty == _Range(key_of(7, 0), INFINITY, 4)
    assert page.rest({"records": [[]] * 5, "next": bound_wire(key_of(7, 0))}) is None


@pytest.mark.parametrize("place", [key_of(1, 0), key_of(0, 5), key_of(9, 0), key_of(10, 0)])
def test_a_range_goes_forward_and_not_beyond_its_end(place: int) -> None:
    page = _Range(key_of(1, 0), key_of(9, 0), 5)
    with pytest.raises(RemoteProtocolError, match="further on"):
        page.rest({"records": [[]], "next": bound_wire(place)})
    assert page.rest({"records": [[]], "next": bound_wire(key_of(8, 0))}) is not None


def test_pages_cover_all_that_is_missing() -> None:
    asking = Reconciliation(LiveSetIndex().set)
    shorts = [bytes([number]) * 16 for number in range(45)]
    asking.need.extend(shorts)
    found = pages(asking)
    ids = [text for page in found[::-1] for text in page.params()["ids"]]
    assert sorted(ids) == [short.hex() for short in shorts]
    assert [len(page.params()["ids"]) for page in found] == [5, 20, 20]


def test_a_whole_range_may_bring_twice_as_many_as_were_told_of_and_no_more() -> None:
    asking = Reconciliation(LiveSetIndex().set)
    low, high = key_of(1, 0), key_of(1_000, 0)
    asking.whole.append(Whole(low, high, 2))
    page: RecordPage | None = pages(asking)[0]
    brought = 0
    while page is not None:
        brought += 1
        page = page.rest({"records": [[]], "next": bound_wire(key_of(1 + brought, 0))})
    assert brought == 4
