"""What waits for a slow subscriber."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from grenache_py.rpc.pubsub.subscriber_queue import SubscriberQueue


@given(st.lists(st.one_of(st.binary(max_size=30), st.none()), max_size=60))
def test_the_queue_keeps_the_newest_in_order_within_its_limits(script) -> None:
    queue = SubscriberQueue(frames_max=5, bytes_max=40)
    expected: list[bytes] = []
    sent = taken = 0
    for frame in script:
        if frame is None:
            assert queue.take() == (expected.pop(0) if expected else None)
            continue
        sent += 1
        expected.append(frame)
        queue.add(frame)
        while len(expected) > 5 or sum(map(len, expected)) > 40:
            expected.pop(0)
            taken += 1
        assert queue.dropped == taken
        assert len(queue) == len(expected)
    drained = []
    while (frame := queue.take()) is not None:
        drained.append(frame)
    assert drained == expected
