"""So many requests at once, and what a full link has no room for waits."""

from __future__ import annotations

from grenache_py.exchange.replication.request_queue import RequestQueue


def test_so_many_requests_are_under_way_and_no_more() -> None:
    asked, full = list[tuple[str, float]](), False
    queue = RequestQueue[str](
        lambda thing, now: asked.append((thing, now)), lambda: full, 2, ["d", "c", "b", "a"]
    )
    assert not queue.send(1.0)
    assert asked == [("a", 1.0), ("b", 1.0)], "the next one stands last"
    queue.answered()
    full = True
    assert not queue.send(2.0)
    full = False
    assert not queue.send(3.0)
    assert asked[2:] == [("c", 3.0)]
    for _ in range(2):
        queue.answered()
        assert not queue.send(4.0)
    assert asked[3:] == [("d", 4.0)]
    queue.answered()
    assert queue.send(5.0), "everything has been asked and answered"
