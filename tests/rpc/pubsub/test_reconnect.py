"""When a subscriber looks for a publisher again."""

from __future__ import annotations

import random

from grenache_py.rpc.pubsub.reconnect import ReconnectSchedule


def test_pauses_before_reconnecting_grow_and_start_again() -> None:
    schedule = ReconnectSchedule(random.Random(1))
    pauses = [schedule.next_pause() for _ in range(12)]
    assert 0.125 <= pauses[0] <= 0.25
    assert all(7.5 <= pause <= 15 for pause in pauses[7:])
    schedule.connected()
    assert schedule.next_pause() <= 0.25
