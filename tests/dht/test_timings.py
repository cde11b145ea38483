"""The measured times of the Node programs beside ours: the same, or better for clients."""

from __future__ import annotations

import inspect
import json
from pathlib import Path

from grenache_py.dht.config import DHTConfig
from grenache_py.dht.tokens import WriteTokens
from grenache_py.dht.transactions import LOST_MAX_S
from grenache_py.grape.config import GrapeConfig
from grenache_py.link import Link
from grenache_py.link.announcing import EVERY_S_DEFAULT

MEASURED_MS = {
    item["name"]: item["value_ms"]
    for item in json.loads((Path(__file__).parents[1] / "vectors" / "timings.json").read_text())[
        "items"
    ]
}
DHT, GRAPE = DHTConfig(), GrapeConfig()
NOW = 3_000_000.0  # the beginning of five minutes


def measured_s(name: str) -> float:
    return MEASURED_MS[name] / 1000


def test_nobody_waits_as_long_as_in_node() -> None:
    assert MEASURED_MS["krpc query timeout"][0] / 1000 > LOST_MAX_S
    for name in (
        "lookup/announce with one dead bootstrap and an empty table",
        "lookup with one dead table node then one dead bootstrap",
        "lookup with 35 dead nodes in the table",
        "link request timeout",
    ):
        assert measured_s(name) > DHT.operation_deadline_s, name


def test_tokens_hold_as_long_as_in_node() -> None:
    tokens = WriteTokens(b"k" * 32)
    token = tokens.give("10.0.0.1", NOW)
    renewed_s = measured_s("token secret rotation")
    assert tokens.give("10.0.0.1", NOW + renewed_s - 1) == token
    assert tokens.give("10.0.0.1", NOW + renewed_s) != token
    at_least, at_most = (each / 1000 for each in MEASURED_MS["token acceptance"])
    assert tokens.valid(token, "10.0.0.1", NOW + at_least)
    assert not tokens.valid(token, "10.0.0.1", NOW + at_most)
    lifetime_s = measured_s("candidate table (announce/put node+token cache) lifetime")
    assert lifetime_s >= DHT.table_max_age_s


def test_nothing_is_served_longer_than_by_node() -> None:
    assert GRAPE.dht_peer_max_age_s == 120
    assert measured_s("peer visible after last announce, CLI --dht_peer_maxAge 120000") >= 120
    assert GRAPE.idle_timeout_s == measured_s("HTTP idle keep-alive close")
    assert GRAPE.dht_node_liveness_s == measured_s("routing table considered stale after (lib)")


def test_a_link_caches_as_long_and_announces_as_often() -> None:
    ttl_s = inspect.signature(Link).parameters["cache_ttl_s"].default
    assert ttl_s == measured_s("link lookup cache")
    assert MEASURED_MS["link re-announce interval"][0] / 1000 >= EVERY_S_DEFAULT
