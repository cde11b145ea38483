"""
What ``GET /metrics`` and ``GET /health`` of the exchange say.

Pure: plain counters in, text or JSON out. Names of metrics stand here and nowhere else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from grenache_py.alarms import PEER
from grenache_py.exchange.condition.symptoms import STANDS_BY
from grenache_py.metrics import Exposition, Histogram

__all__ = ["TIMINGS", "exposition", "health"]

#: The histograms: their names, and what they say.
TIMINGS = {
    "commits": ("exchange_commit_seconds", "From batch to disk."),
    "orders": ("exchange_order_ack_seconds", "From an order's arrival to its answer, on the disk."),
    "round_trips": (
        "exchange_fill_round_trip_seconds",
        "From asking another home for a fill to its outcome.",
    ),
    "ages": (
        "exchange_gossip_age_seconds",
        "Of a log entry that was news when it came: from its stamp, by two clocks.",
    ),
    "reactor": ("exchange_reactor_delay_seconds", "How late a timer was called."),
}

#: What ``links_refused`` has beside its counts.
_LAST = frozenset({"last", "last_s_ago"})


def health(status: Mapping[str, Any]) -> tuple[bool, dict[str, Any]]:
    """
    Whether this peer serves, and why (not): for load balancers and ``docker`` checks.

    A peer without links serves: it is a market of one. A peer whose store failed, or that must
    not serve because of an alarm, does not. Nor does one that stands by for another daemon.
    """
    alarms = [each["text"] for each in status["raised"] if each["level"] == "alarm"]
    role = status.get("role", "serving")
    ok = status["store"] == "ok" and role == "serving" and not alarms
    return ok, {
        "ok": ok,
        "role": role,
        "store": status["store"],
        "alarms": alarms,
        "raised": status["raised"],
        "synced": status.get("synced", False),
        "links": status.get("links", 0),
        "uptime_s": status.get("uptime_s", 0),
    }


def exposition(status: Mapping[str, Any], timings: Mapping[str, Histogram]) -> str:
    """
    All metrics, as Prometheus text.

    Args:
        timings: by the keys of `TIMINGS`, as far as they are known.
    """
    out = Exposition()
    well, said = health(status)
    well = well or (status["store"] == STANDS_BY and not said["alarms"])
    out.gauge("exchange_up", "1 while requests are carried out, here or elsewhere.", int(well))
    now = {each["id"] for each in status["raised"]}
    out.gauge(
        "exchange_alarm",
        "1 while this is wrong: docs/operator.rst#alarms.",
        [({"id": id, "level": kind.level}, int(id in now)) for id, kind in PEER.items()],
    )
    if "database" in status:
        _add_database(out, status["role"], status["database"])
    store_ok = status["store"] in {"ok", STANDS_BY}
    out.gauge("exchange_store_ok", "0 while the store cannot be used.", int(store_ok))
    if "fills" not in status:  # there is no node while the store cannot be used, or is another's
        return out.text()
    fills, gossip, grapes = status["fills"], status["gossip"], status["grapes"]
    out.gauge("exchange_uptime_seconds", "Since the node was made.", status["uptime_s"])
    about = "On the disk: the database, its write-ahead log and its journal."
    out.gauge("exchange_store_bytes", about, status["store_bytes"])
    if status["store_free_bytes"] is not None:
        out.gauge("exchange_store_free_bytes", "Free on its disk.", status["store_free_bytes"])
    if status["wal"]:
        out.gauge("exchange_wal_bytes", "Size of the write-ahead log.", status["wal"]["bytes"])
        out.gauge(
            "exchange_wal_held_seconds",
            "Since a program's transaction has kept the log from beginning anew; 0: none does.",
            status["wal"]["held_s"] or 0,
        )
    if status.get("journal"):
        journal = status["journal"]
        about = "In the journal and not in the tables yet."
        out.gauge("exchange_journal_bytes", about, journal["bytes"])
        about = "Since when the oldest batch waits there; 0: none does."
        out.gauge("exchange_journal_behind_seconds", about, journal["behind_s"])
    out.counter("exchange_commits_total", "Transactions written.", status["commits"])
    out.counter("exchange_commit_rows_total", "Rows written.", status["commit_rows"])
    for name, (metric, about) in TIMINGS.items():
        if name in timings:
            out.histogram(metric, about, timings[name])
    out.gauge("exchange_clients", "Connections of clients.", status["clients"])
    out.counter("exchange_requests_total", "Requests of clients.", status["requests"])
    out.gauge("exchange_subscriptions", "Subscriptions of clients.", status["subscriptions"])
    out.counter("exchange_gaps_total", "Subscriptions of clients too slow.", status["gaps"])
    out.counter(
        "exchange_tokens_refused_total",
        "Tokens of clients that were wrong, or not looked at after too many wrong ones.",
        [({"reason": reason}, count) for reason, count in status["tokens"].items()],
    )
    out.gauge("exchange_links", "Links to other peers.", status["links"])
    out.counter(
        "exchange_links_refused_total",
        "Links that ended because the two peers do not fit together, or one does not answer.",
        [({"reason": r}, n) for r, n in sorted(status["links_refused"].items()) if r not in _LAST],
    )
    out.gauge("exchange_synced", "1 when all logs told of are held.", status["synced"])
    out.gauge(
        "exchange_entries_behind",
        "Log entries that neighbours told of and that are not held.",
        status["entries_behind"],
    )
    out.gauge("exchange_alarms", "Reasons not to serve.", len(health(status)[1]["alarms"]))
    out.gauge(
        "exchange_orders",
        "Live orders, by where they live.",
        [({"home": home}, count) for home, count in status["orders"].items()],
    )
    out.gauge(
        "exchange_hidden_orders",
        "Orders of homes with another tick or lot.",
        [({"market": market}, each["orders"]) for market, each in status["hidden"].items()],
    )
    out.gauge("exchange_origins", "Other homes known of.", status["homes"])
    out.gauge("exchange_fills_in_doubt", "Fills whose answer is awaited.", fills["in_doubt"])
    for name in ("requested", "settled", "asked_again", "answered", "refused", "poisoned"):
        out.counter(f"exchange_fills_{name}_total", f"Fills {name.replace('_', ' ')}.", fills[name])
    out.counter("exchange_entries_applied_total", "Log entries of others.", gossip["applied"])
    out.counter("exchange_entries_sent_total", "Lines of gossip sent.", gossip["lines"])
    out.counter(
        "exchange_signatures_checked_total", "Roots verified.", gossip["signatures_checked"]
    )
    out.gauge("exchange_clock_ahead_seconds", "Of this clock.", status["clock_ahead_ms"] / 1000)
    if status["clock_off_ms"] is not None:
        out.gauge(
            "exchange_clock_offset_seconds",
            "This machine's clock less the median of the neighbours'.",
            status["clock_off_ms"] / 1000,
        )
    out.gauge(
        "exchange_announced_seconds_ago",
        "Since a lookup last showed this peer's own record; -1: never.",
        -1 if grapes["seen_s_ago"] is None else grapes["seen_s_ago"],
    )
    met = Counter(each["who"] for each in grapes["met"])
    out.gauge(
        "exchange_met",
        "Addresses that grapes name with this peer's port, by who answers there.",
        [({"who": who}, met[who]) for who in ("itself", "another", "nobody")],
    )
    return out.text()


def _add_database(out: Exposition, role: str, database: Mapping[str, Any]) -> None:
    out.gauge("exchange_serving", "0 while this daemon stands by.", int(role == "serving"))
    out.gauge("exchange_term", "The term in which this daemon serves.", database["term"])
    if "newest_term" in database:
        out.gauge(
            "exchange_newest_term", "The term that the database has.", database["newest_term"]
        )
        out.gauge(
            "exchange_holder_silent_seconds",
            "Since the daemon that serves is known to have said that it lives.",
            database["age_s"],
        )
    lags = [
        ({"standby": each["name"], "sync": each["sync"]}, each["lag_s"] or 0)
        for each in database["standbys"] or ()
    ]
    if lags:
        out.gauge("exchange_standby_lag_seconds", "Of each standby of the database.", lags)
