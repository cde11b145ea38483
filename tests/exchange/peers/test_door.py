"""The door of the peer port: whoever says nothing keeps nobody out."""

from __future__ import annotations

from grenache_py.exchange.peers.door import NETWORK_RATE, NETWORKS_MAX, WAITING_MAX, Door
from tests.support.far_ends import NOW


def test_a_newcomer_is_let_in_and_the_oldest_of_the_fullest_network_goes() -> None:
    door = Door(NOW)
    honest, evicted = door.enter("8.8.8.7:1")
    assert evicted is None
    flood = [door.enter(f"9.9.9.{n}:9")[0] for n in range(WAITING_MAX - 1)]
    late, evicted = door.enter("1.1.1.1:1")
    assert evicted is flood[0]
    for other in flood[1:40]:
        assert door.enter("9.9.9.200:9")[1] is other
    assert door.counters()["waiting"] == WAITING_MAX
    assert door.refused["crowded"] == 40
    for here in (honest, late):
        door.leave(here)
    assert door.counters()["waiting"] == WAITING_MAX - 2


def test_who_has_said_what_tls_begins_with_stays_longer() -> None:
    door = Door(NOW)
    first = door.enter("9.9.9.1:9")[0]
    assert door.begin(first, NOW) == 0
    silent = [door.enter("9.9.9.1:9")[0] for _ in range(WAITING_MAX - 1)]
    assert door.enter("9.9.9.1:9")[1] is silent[0]


def test_one_network_begins_so_many_and_then_waits_while_others_begin() -> None:
    door = Door(NOW)
    waits = [door.begin(door.enter("9.9.9.1:9")[0], NOW) for _ in range(NETWORK_RATE.burst)]
    assert not any(waits)
    assert 0 < door.begin(door.enter("9.9.9.77:9")[0], NOW) <= 1 / NETWORK_RATE.per_s
    assert door.begin(door.enter("8.8.8.1:9")[0], NOW) == 0


def test_all_networks_together_begin_so_many() -> None:
    door, begun = Door(NOW), 0
    for n in range(1_000):
        begun += not door.begin(door.enter(f"203.{n // 250}.{n % 250}.1:9")[0], NOW)
    assert begun == 200


def test_networks_are_remembered_within_bounds() -> None:
    door = Door(NOW)
    for n in range(NETWORKS_MAX + 5):
        door.begin(door.enter(f"100.{n // 250}.{n % 250}.1:9")[0], NOW)
    assert len(door._networks) == NETWORKS_MAX


def test_a_refusal_is_counted_once() -> None:
    door = Door(NOW)
    visitor, _ = door.enter("9.9.9.1:9")
    door.refuse(visitor, "silent")
    door.refuse(visitor, "no_key")
    door.leave(visitor)
    refused = {"silent": 1, "not_tls": 0, "no_key": 0, "crowded": 0}
    assert door.counters() == {"waiting": 0, "refused": refused}
