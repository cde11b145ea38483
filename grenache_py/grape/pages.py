"""
What operators read from a grape: its health, and its counters for Prometheus.

Pure. A grape is healthy when it can find services of others: when it knows a neighbour
that answers, or was given none to join. (The first grape of a ring, started alone with
the others in its bootstrap list, is unhealthy until one of them is there.)
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import attrs
import msgspec

from grenache_py.alarms import ENDS_S_MIN, GRAPE, ends_on
from grenache_py.dht.node import DHTStatus
from grenache_py.metrics import Exposition
from grenache_py.wire.http.routes import HTTPRoute

__all__ = ["ROUTES", "GrapeFacts", "HTTPStatistics", "condition", "health", "metrics", "wrong"]

#: Since another grape last asked this one anything. In an idle ring that is 5 min ago at most.
UNASKED_S_MAX = 1_200.0

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


@attrs.frozen(kw_only=True)
class GrapeFacts:
    """
    What a grape is judged by.

    Attributes:
        dht: Its node.
        alone_is_fine: No bootstrap nodes are configured.
        unasked_s: Since another node last asked this one anything, or since the start.
        unresolved: Names in ``bootstrap`` that have no address now.
        unsaved: Why the state file was not written the last time; "" when it was.
        clients, clients_max: HTTP clients there are, and may be.
        items_max: Items that are kept.
        certificate_ends: Of the HTTP port, in seconds since 1970; None without one.
        time: Now, likewise.
    """

    dht: DHTStatus
    alone_is_fine: bool
    unasked_s: float
    unresolved: Collection[str]
    unsaved: str
    clients: int
    clients_max: int
    items_max: int
    certificate_ends: float | None
    time: float


def wrong(facts: GrapeFacts) -> dict[str, str]:
    """Return what is wrong, by the id of its alarm; see ``alarms.py``."""
    texts = {}
    good, ends = facts.dht.contacts_good, facts.certificate_ends
    if not (good or facts.alone_is_fine):
        texts["grape-alone"] = "no other grape answers"
    if good and facts.unasked_s > UNASKED_S_MAX:
        minutes = int(facts.unasked_s / 60)
        texts["grape-unasked"] = (
            f"{good} other grapes answer, and none has asked this one anything for {minutes} min:"
            " its UDP port may be closed to them"
        )
    if facts.unresolved:
        texts["grape-names"] = f"no address is known of {', '.join(sorted(facts.unresolved))}"
    if facts.unsaved:
        texts["grape-state"] = f"the state file cannot be written: {facts.unsaved}"
    if facts.clients >= facts.clients_max:
        texts["grape-full"] = f"{facts.clients} HTTP clients are connected, and more are sent away"
    if facts.dht.items >= facts.items_max:
        texts["grape-items"] = f"{facts.dht.items} items are stored, and each new one costs another"
    if ends is not None and ends - facts.time < ENDS_S_MIN:
        texts["grape-certificate"] = f"the certificate of the HTTP port {ends_on(ends, facts.time)}"
    return texts


def condition(alarms: list[dict[str, Any]], *, stopping: bool) -> tuple[int, str]:
    """
    Return how the grape is, as an HTTP status and in words.

    Args:
        alarms: What is raised, in plain JSON values.
        stopping: The grape is about to leave.
    """
    alarm = next((each["text"] for each in alarms if each["level"] == "alarm"), "ok")
    text = "stopping" if stopping else alarm
    return (200 if text == "ok" else 503), text


def health(status: DHTStatus, text: str, alarms: list[dict[str, Any]]) -> bytes:
    """
    Return the JSON of ``GET /health``.

    Args:
        text: What `condition` returned.
        alarms: What is raised, in plain JSON values.
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
    """Return the text of ``GET /metrics``; ``alarms`` is what is raised."""
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
