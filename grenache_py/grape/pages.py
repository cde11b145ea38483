"""
What operators read from a grape: its health, and its counters for Prometheus.

Pure. A grape is healthy when it can find services of others: when it knows a neighbour
that answers, or was given none to join. (The first grape of a ring, started alone with
the others in its bootstrap list, is unhealthy until one of them is there.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import msgspec

from grenache_py.alarms import GRAPE, raised
from grenache_py.dht.node import DHTStatus
from grenache_py.metrics import Exposition
from grenache_py.wire.http.routes import HTTPRoute

__all__ = ["ROUTES", "HTTPStatistics", "condition", "health", "metrics", "wrong"]


_ANYBODY = "anybody, up to the rate of one address"
#: Every path of the grape's HTTP port.
ROUTES = (
    HTTPRoute("/lookup", "any", "the peers of a name", _ANYBODY),
    HTTPRoute("/announce", "any", "how many other grapes accepted the service", _ANYBODY),
    HTTPRoute("/put", "any", "the target of the stored item", _ANYBODY),
    HTTPRoute("/get", "any", "a stored item", _ANYBODY),
    HTTPRoute("/", "GET, HEAD", "HTML, to who accepts it; otherwise 500", "anybody"),
    HTTPRoute("/health", "GET, HEAD", "JSON; 503 while no other grape answers", "anybody"),
    HTTPRoute("/metrics", "GET, HEAD", "for Prometheus; 404 without --metrics", "anybody"),
)


@attrs.frozen
class HTTPStatistics:
    """
    The HTTP port at a glance.

    Attributes:
        connections: Clients there are now.
        refused: Clients sent away because there were too many.
        requests: How many of each command were asked.
        statuses: How many answers had each status.
    """

    connections: int
    refused: int
    requests: Mapping[str, int]
    statuses: Mapping[int, int]


def wrong(
    status: DHTStatus, *, alone_is_fine: bool, clients: int, clients_max: int
) -> list[dict[str, Any]]:
    """
    Return the alarms that are raised, in plain JSON values; see ``alarms.py``.

    Args:
        alone_is_fine: No bootstrap nodes are configured.
        clients, clients_max: HTTP clients there are, and may be.
    """
    texts = {}
    if not (status.contacts_good or alone_is_fine):
        texts["grape-alone"] = "no other grape answers"
    if clients >= clients_max:
        texts["grape-full"] = f"{clients} HTTP clients are connected, and more are sent away"
    return raised(GRAPE, texts)


def condition(alarms: list[dict[str, Any]], *, stopping: bool) -> tuple[int, str]:
    """
    Return how the grape is, as an HTTP status and in words.

    Args:
        alarms: what `wrong` returned.
        stopping: The grape is about to leave.
    """
    alarm = next((each["text"] for each in alarms if each["level"] == "alarm"), "ok")
    text = "stopping" if stopping else alarm
    return (200 if text == "ok" else 503), text


def health(status: DHTStatus, text: str, alarms: list[dict[str, Any]]) -> bytes:
    """
    Return the JSON of ``GET /health``.

    Args:
        text: what `condition` returned.
        alarms: what `wrong` returned.
    """
    page = {
        "status": text,
        "node_id": status.node_id.hex(),
        "bootstrapped": status.bootstrapped,
        "contacts": {"good": status.contacts_good, "total": status.contacts_total},
        "names": status.names,
        "peers": status.peers,
        "items": status.items,
        "raised": alarms,
    }
    return msgspec.json.encode(page) + b"\n"


def metrics(status: DHTStatus, http: HTTPStatistics | None, alarms: list[dict[str, Any]]) -> bytes:
    """Return the text of ``GET /metrics``; ``alarms`` are those of `wrong`."""
    page = Exposition()
    now = {each["id"] for each in alarms}
    page.gauge(
        "grape_alarm",
        "1 while this is wrong: docs/operator.rst#alarms.",
        [({"id": id, "level": kind.level}, int(id in now)) for id, kind in GRAPE.items()],
    )
    if http is not None:
        page.counter(
            "grape_http_requests_total",
            "Requests by command; invalid ones asked the DHT for nothing.",
            [({"command": name}, count) for name, count in sorted(http.requests.items())],
        )
        page.counter(
            "grape_http_responses_total",
            "Answers by status.",
            [({"status": str(code)}, count) for code, count in sorted(http.statuses.items())],
        )
        page.gauge("grape_http_connections", "HTTP clients connected.", http.connections)
        page.counter(
            "grape_http_connections_refused_total",
            "HTTP clients sent away because there were too many.",
            http.refused,
        )
    page.gauge(
        "grape_dht_contacts",
        "Nodes in the routing table; good ones have answered lately.",
        [({"state": "good"}, status.contacts_good), ({"state": "all"}, status.contacts_total)],
    )
    page.gauge("grape_dht_bootstrapped", "Whether the node has joined.", status.bootstrapped)
    for name, about in _GAUGES.items():
        page.gauge(f"grape_dht_{name}", about, getattr(status, name))
    if status.round_trip_s is not None:
        page.gauge(
            "grape_dht_round_trip_seconds",
            "Smoothed round trip to other nodes.",
            status.round_trip_s,
        )
    for name, count in attrs.asdict(status.counters).items():
        page.counter(f"grape_dht_{name}_total", f"{name.replace('_', ' ')}.".capitalize(), count)
    return page.text().encode()


_GAUGES = {
    "queries_pending": "Queries that wait for an answer.",
    "operations": "Lookups, announces, puts and gets under way.",
    "names": "Names with peers stored here.",
    "peers": "Peers stored here.",
    "items": "BEP 44 items stored here.",
    "announce_tables": "Names whose announce targets are remembered.",
    "sources": "Source addresses whose datagrams are counted.",
    "silent_addresses": "Addresses not asked because they do not answer.",
}
