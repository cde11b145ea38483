"""
What is wrong with a daemon, and what to do about it: the rules behind ``exchange doctor``.

Pure: judges what ``status`` and ``peers.list`` said, and asks its caller to try a connection.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from msgspec import Struct

from grenache_py.alarms import PEER, Verdict
from grenache_py.exchange.cli.lines import serving_line
from grenache_py.exchange.condition.symptoms import STANDS_BY, symptoms

__all__ = ["Finding", "examine", "healthy"]

CLOCK_OFF_MS_MAX = 1_000
LINK_LATENCY_MS_MAX = 1_000

#: What is checked, and the alarms that belong to it.
AREAS: dict[str, tuple[str, ...]] = {
    "identity": ("own-log", "two-daemons"),
    "store": ("store-failed", "log-damaged", "log-held", "journal-behind", "disk-low"),
    "clock": ("clock-wrong", "stamps-ahead", "clock-differs"),
    "grapes": ("grapes-silent",),
    "announced": ("not-announced",),
    "rings": (),
    "reachable": ("not-reachable",),
    "links": ("links-refused", "no-links"),
    "sync": ("not-synced", "home-ahead", "home-frozen", "orders-hidden"),
    "fills": ("fills-in-doubt",),
    "certificates": ("certificate-expires",),
    "tokens": ("token-expires",),
}


class Finding(Struct, frozen=True):
    """
    One thing that was checked.

    Attributes:
        advice: what to do, "" when nothing has to be done.
        alarm: the id of its alarm; docs/operator.rst#alarms has a section for each.
    """

    what: str
    verdict: Verdict
    found: str
    advice: str = ""
    alarm: str = ""


def healthy(findings: Iterable[Finding]) -> bool:
    """Whether nothing is wrong."""
    return not any(finding.verdict in {"warning", "bad"} for finding in findings)


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
        can_connect: why this peer does not answer at an address, with its key; "" when it does.
        find: the addresses that a grape (a URL) knows under a name, or why it does not say.
    """
    found = symptoms(status)
    lasting = {each["id"] for each in status.get("raised", ())}
    if status["store"] == STANDS_BY:
        return [*_alarms("store", found, lasting), *_standing_by(status["database"])]
    if status["store"] != "ok":  # little else is known before it works again
        return list(_alarms("store", found, lasting)) or [
            Finding("store", "note", status["store"], "Wait some seconds.")
        ]
    links = [peer for peer in peers if peer["ready"]]
    ours: dict[str, Iterable[Finding]] = {
        "identity": _identity(status),
        "store": _store(status),
        "clock": _clock(status, asked_at, answered_at),
        "grapes": _grapes(status["grapes"]),
        "announced": _announced(status["grapes"]),
        "rings": _rings(status["grapes"], find),
        "reachable": _reachable(status, links, can_connect),
        "links": _links(status, links),
        "sync": _sync(status, links),
        "fills": [Finding("fills", "good", f"{status['fills']['in_doubt']} in doubt")],
        "certificates": [],
        "tokens": [],
    }
    findings: list[Finding] = []
    for what in AREAS:
        wrong = list(_alarms(what, found, lasting))
        # What was tried from outside is told as well, when it did not go well.
        tried = [each for each in ours[what] if not wrong or each.verdict in {"warning", "bad"}]
        findings += [*wrong, *tried]
    return findings


def _alarms(what: str, found: dict[str, str], lasting: set[str]) -> Iterator[Finding]:
    for id in AREAS[what]:
        if id in found:
            kind = PEER[id]
            verdict: Verdict = "bad" if kind.level == "alarm" else "warning"
            if kind.hold_s and id not in lasting:
                verdict = "note"  # it may be over in a moment
            yield Finding(what, verdict, found[id], kind.advice, id)


def _identity(status: dict[str, Any]) -> Iterator[Finding]:
    if status.get("listening"):
        found = "listens to other peers first, because it was restarted"
        yield Finding("identity", "note", found, "Wait some seconds.")
    else:
        yield Finding("identity", "good", f"peer {status['peer']}")


def _store(status: dict[str, Any]) -> Iterator[Finding]:
    size = status.get("store_bytes")
    found = "works" if size is None else f"works, {size / 1_048_576:.1f} MiB"
    if "database" in status:
        found += f", {_database(status['database'], status['database']['term'])}"
    yield Finding("store", "good", found)


def _standing_by(database: dict[str, Any]) -> Iterator[Finding]:
    """A daemon that serves nobody now, and is well."""
    yield Finding("role", "good", serving_line(database))
    yield Finding("store", "good", _database(database, database["newest_term"]))


def _database(database: dict[str, Any], term: int) -> str:
    standbys = [f"{each['name']} ({each['sync']})" for each in database["standbys"] or ()]
    return f"{database['place']}, term {term}, standbys: {', '.join(standbys) or 'not known'}"


def _clock(status: dict[str, Any], asked_at: float, answered_at: float) -> Iterator[Finding]:
    time_ms = status["time"]
    off = max(asked_at * 1000 - time_ms, time_ms - answered_at * 1000, 0.0)
    if off > CLOCK_OFF_MS_MAX:
        advice = "One of the two machines has a wrong clock: run an NTP service on both."
        yield Finding("clock", "bad", f"differs from this machine's by {off:.0f} ms", advice)
        return
    heard = status.get("clocks_heard", 0)
    others = f" and {heard} other peers" if heard else "; no other peer told its time"
    yield Finding("clock", "good", f"agrees with this machine{others}")


def _grapes(grapes: dict[str, Any]) -> Iterator[Finding]:
    urls = ", ".join(grapes["urls"]) or "none"
    if grapes["lookups"]:
        yield Finding("grapes", "good", f"lookups at {urls} are answered")
    else:
        yield Finding("grapes", "note", f"{urls}: no answer yet", "Wait some seconds.")


def _announced(grapes: dict[str, Any]) -> Iterator[Finding]:
    if grapes["port"] is None:
        yield Finding("announced", "note", "no peer port is open, so nobody can call")
        return
    itself = [each["address"] for each in grapes.get("met") or () if each["who"] == "itself"]
    met = f"; this peer answers at {', '.join(itself)}" if itself else ""
    seen = grapes["seen_s_ago"]
    if seen is None:
        why = grapes["announce_error"] or "not seen by a lookup of our own yet"
        yield Finding("announced", "note", why)
        return
    when = f" {seen:.0f} s ago" if grapes["lookup_error"] else ""
    found = f"{grapes['name']}, and seen by a lookup of our own{when}{met}"
    yield Finding("announced", "good", found)


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


def _reachable(
    status: dict[str, Any], links: list[dict[str, Any]], can_connect: Callable[[str], str]
) -> Iterator[Finding]:
    address = status["advertise"] or next(iter(status["listen"]["peer"]), None)
    if address is None:
        yield Finding("reachable", "note", "no peer port is open")
        return
    host, _, port = address.rpartition(":")
    if host.strip("[]") in {"0.0.0.0", "::", ""}:  # noqa: S104  # compared, not bound
        address = f"127.0.0.1:{port}"
    why_not = can_connect(address)
    called = sum(link["direction"] == "inbound" for link in links)
    met = _met_at(status["grapes"])
    if why_not and (called or met):  # as from outside of the daemon's container
        how = f"called by {called} peer{'s' * (called > 1)}" if called else f"met itself at {met}"
        yield Finding("reachable", "good", f"{how}; not from here: {why_not}")
    elif why_not:
        yield Finding(
            "reachable",
            "bad",
            f"{address}: {why_not}",
            "Other peers cannot call: open the port in the firewall, or set --advertise to the"
            " address they can reach.",
        )
    elif not status["advertise"] and host.startswith("127."):
        yield Finding(
            "reachable",
            "note",
            f"{address}, from this machine only",
            "To trade with other machines listen with --peer tcp:7071.",
        )
    else:
        yield Finding("reachable", "good", f"{address} answers from here, with this peer's key")


def _met_at(grapes: dict[str, Any]) -> str:
    """Where the daemon, when it looked itself up, met itself, and others may too."""
    met = (each["address"] for each in grapes.get("met") or () if each["who"] == "itself")
    return next((address for address in met if not address.startswith("127.")), "")


def _links(status: dict[str, Any], links: list[dict[str, Any]]) -> Iterator[Finding]:
    if not links:
        yield Finding(
            "links",
            "note",
            "no link to another peer",
            "Fine for a market of one. Otherwise start another peer of network"
            f" {status['network']!r} at the same grapes, or name one with --connect.",
        )
        return
    slow = [link for link in links if (link["latency_ms"] or 0) > LINK_LATENCY_MS_MAX]
    if slow:
        found = f"{len(slow)} of {len(links)} answer slower than {LINK_LATENCY_MS_MAX} ms"
        yield Finding("links", "warning", found, "Look at the network between them.")
    else:
        yield Finding("links", "good", f"{len(links)}")


def _sync(status: dict[str, Any], links: list[dict[str, Any]]) -> Iterator[Finding]:
    if status["synced"]:
        known = len(status["origins"])
        yield Finding("sync", "good", f"the log of every known peer is held, {known} in all")
    elif not links:
        yield Finding("sync", "note", "nobody to compare with")
