"""
What is wrong with a daemon, and what to do about it: the rules behind ``exchange doctor``.

Pure: judges what ``status`` and ``peers.list`` said, and asks its caller to try a connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeAlias

import attrs

__all__ = ["Finding", "examine"]

CLOCK_OFF_MS_MAX = 1_000
LINK_LATENCY_MS_MAX = 1_000
SEEN_S_MAX = 60.0
LOG_HELD_S_MAX = 60.0

Verdict: TypeAlias = Literal["good", "warning", "bad"]


@attrs.frozen
class Finding:
    """
    One thing that was checked.

    Attributes:
        advice: what to do, "" when nothing has to be done.
    """

    what: str
    verdict: Verdict
    found: str
    advice: str = ""


def examine(
    status: dict[str, Any],
    peers: Iterable[dict[str, Any]],
    asked_at: float,
    answered_at: float,
    can_connect: Callable[[str], str],
    find: Callable[[str, str], list[str] | str],
) -> list[Finding]:
    """
    Check everything.

    Args:
        asked_at, answered_at: this machine's time, in seconds, round the call of ``status``.
        can_connect: why nobody answers at an address; "" when somebody does.
        find: the addresses that a grape (a URL) knows under a name, or why it does not say.
    """
    if status["store"] != "ok":
        return [_store(status)]  # nothing else is known before it works again
    links = [peer for peer in peers if peer["ready"]]
    return [
        _identity(status),
        _store(status),
        _clock(status, asked_at, answered_at),
        *_grapes(status["grapes"]),
        *_rings(status["grapes"], find),
        _reachable(status, can_connect),
        _links(status, links),
        _sync(status, links),
        _fills(status),
    ]


def _identity(status: dict[str, Any]) -> Finding:
    alarms = status["alarms"]
    if alarms:
        return Finding(
            "identity",
            "bad",
            alarms[0],
            "Stop every other daemon with this key. If this data directory is an old copy, start"
            " once with --new-epoch, which gives up its open orders, or begin with a new one.",
        )
    return Finding("identity", "good", f"peer {status['peer']}")


def _store(status: dict[str, Any]) -> Finding:
    if status["store"] != "ok":
        advice = "Orders are refused until it works; look at disk space and the daemon's log."
        return Finding("store", "bad", status["store"], advice)
    size = status.get("store_bytes")
    wal = status.get("wal") or {}
    if (wal.get("held_s") or 0) > LOG_HELD_S_MAX:
        return Finding(
            "store",
            "warning",
            f"a program has held a transaction open for {wal['held_s']:.0f} s; the write-ahead"
            f" log has {wal['bytes'] / 1_048_576:.1f} MiB and grows",
            "End the program that has exchange.sqlite open (`lsof` or `fuser` shows it).",
        )
    found = "works" if size is None else f"works, {size / 1_048_576:.1f} MiB"
    return Finding("store", "good", found)


def _clock(status: dict[str, Any], asked_at: float, answered_at: float) -> Finding:
    time_ms = status["time"]
    off = max(asked_at * 1000 - time_ms, time_ms - answered_at * 1000, 0.0)
    ahead = status["clock_ahead_ms"]
    if off > CLOCK_OFF_MS_MAX:
        advice = "One of the two machines has a wrong clock: run an NTP service on both."
        return Finding("clock", "bad", f"differs from this machine's by {off:.0f} ms", advice)
    if ahead > CLOCK_OFF_MS_MAX:
        advice = "Run an NTP service here; a peer whose clock is more than 5 s off is not heard."
        return Finding("clock", "bad", f"{ahead} ms behind the clocks of other peers", advice)
    return Finding("clock", "good", "agrees with this machine and the other peers")


def _grapes(grapes: dict[str, Any]) -> list[Finding]:
    found = []
    urls = ", ".join(grapes["urls"]) or "none"
    if grapes["lookup_error"] or not grapes["lookups"]:
        found.append(
            Finding(
                "grapes",
                "bad",
                f"{urls}: {grapes['lookup_error'] or 'no answer yet'}",
                "Start a grape there, or name another with --grape. Peers named with --connect"
                " are reached without.",
            )
        )
    else:
        found.append(Finding("grapes", "good", f"lookups at {urls} are answered"))
    if grapes["port"] is None:
        found.append(Finding("announced", "warning", "no peer port is open, so nobody can call"))
    elif grapes["seen_s_ago"] is not None and grapes["seen_s_ago"] <= SEEN_S_MAX:
        found.append(
            Finding("announced", "good", f"{grapes['name']}, and seen by a lookup of our own")
        )
    else:
        found.append(
            Finding(
                "announced",
                "bad" if grapes["announce_error"] and not grapes["lonely"] else "warning",
                grapes["announce_error"] or "not seen by a lookup of our own yet",
                "A grape without neighbours keeps no record: give it some with --bn, or other"
                " peers cannot find this one.",
            )
        )
    return found


def _rings(
    grapes: dict[str, Any], find: Callable[[str, str], list[str] | str]
) -> Iterable[Finding]:
    """Whether all grapes find the same peers; with one grape there is nothing to compare."""
    if len(grapes["urls"]) < 2:
        return
    answers = {url: find(url, grapes["name"]) for url in grapes["urls"]}
    silent = {url: answer for url, answer in answers.items() if isinstance(answer, str)}
    for url, reason in silent.items():
        yield Finding("rings", "warning", f"{url}: {reason}", "The others are asked instead.")
    found = {url: set(answer) for url, answer in answers.items() if url not in silent}
    everybody = set().union(*found.values())
    blind = [url for url, peers in found.items() if not peers and everybody]
    if blind:
        seeing = next(url for url, peers in found.items() if peers)
        yield Finding(
            "rings",
            "bad",
            f"{', '.join(blind)} finds no peer, and {seeing} does",
            "These grapes do not know each other: name one of each in the other's --bn.",
        )
    elif not silent:
        yield Finding("rings", "good", f"all {len(found)} grapes find the peers")


def _reachable(status: dict[str, Any], can_connect: Callable[[str], str]) -> Finding:
    address = status["advertise"] or next(iter(status["listen"]["peer"]), None)
    if address is None:
        return Finding("reachable", "warning", "no peer port is open")
    host, _, port = address.rpartition(":")
    if host.strip("[]") in {"0.0.0.0", "::", ""}:  # noqa: S104  # compared, not bound
        address = f"127.0.0.1:{port}"
    why_not = can_connect(address)
    if why_not:
        return Finding(
            "reachable",
            "bad",
            f"{address}: {why_not}",
            "Other peers cannot call: open the port in the firewall, or set --advertise to the"
            " address they can reach.",
        )
    if not status["advertise"] and host.startswith("127."):
        return Finding(
            "reachable",
            "warning",
            f"{address}, from this machine only",
            "To trade with other machines listen with --peer tcp:7071.",
        )
    return Finding("reachable", "good", f"{address} answers from here")


def _links(status: dict[str, Any], links: list[dict[str, Any]]) -> Finding:
    if not links:
        return Finding(
            "links",
            "warning",
            "no link to another peer",
            "Fine for a market of one. Otherwise start another peer of network"
            f" {status['network']!r} at the same grapes, or name one with --connect.",
        )
    slow = [link for link in links if (link["latency_ms"] or 0) > LINK_LATENCY_MS_MAX]
    if slow:
        found = f"{len(slow)} of {len(links)} answer slower than {LINK_LATENCY_MS_MAX} ms"
        return Finding("links", "warning", found, "Look at the network between them.")
    return Finding("links", "good", f"{len(links)}")


def _sync(status: dict[str, Any], links: list[dict[str, Any]]) -> Finding:
    if status["synced"]:
        known = len(status["origins"])
        return Finding("sync", "good", f"the log of every known peer is held, {known} in all")
    if not links:
        return Finding("sync", "warning", "nobody to compare with")
    frozen = [home for home, origin in status["origins"].items() if origin["frozen"]]
    if frozen:
        found = f"peer {frozen[0][:16]} signed two histories; its orders are ignored"
        return Finding("sync", "warning", found, "Nothing to do here; its operator must act.")
    advice = "Wait some seconds; if it stays, look at the log for refused entries."
    return Finding("sync", "warning", "still catching up with other peers", advice)


def _fills(status: dict[str, Any]) -> Finding:
    fills = status["fills"]
    if fills["on_hold"]:
        homes = ", ".join(home[:16] for home in fills["on_hold"])
        return Finding(
            "fills",
            "warning",
            f"{fills['in_doubt']} in doubt, waiting for peers {homes}",
            "They are settled when those peers come back; until then their quantity stays"
            " reserved. For a peer that is gone for ever see `exchange doubts`.",
        )
    return Finding("fills", "good", f"{fills['in_doubt']} in doubt")
