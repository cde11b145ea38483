"""
What a peer's status says is wrong: the texts of alarms, by the ids of ``alarms.py``.

Pure. Judges plain values, so that the daemon, its metrics and ``exchange doctor`` judge alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from grenache_py.alarms import ENDS_S_MIN, ends_on, utc

__all__ = ["OPENING", "STANDS_BY", "symptoms"]

#: What ``status`` says of a store that is about to be there.
OPENING = "is being opened"
#: Likewise, while another daemon of the home serves.
STANDS_BY = "standby"

#: A program may hold the write-ahead log so long: a backup does.
LOG_HELD_S_MAX = 60.0
#: A batch is usually in the tables 0.2 s after it is in the journal.
JOURNAL_BEHIND_S_MAX = 10.0
#: What the disk of the data directory should have free.
DISK_FREE_BYTES_MIN = 256 * 1_048_576
#: Since a lookup last showed this peer.
SEEN_S_MAX = 60.0
#: Since a link was last refused because two peers do not fit together.
REFUSED_S_MAX = 3_600.0
#: Since an entry of another home last was too far ahead of the time; a home signs one each 5 s.
EARLY_S_MAX = 60.0
#: The clock that stamps orders is ahead because others' are.
CLOCK_AHEAD_MS_MAX = 1_000
_OWN_CLOCK = frozenset({"clock-wrong", "clock-differs"})


def symptoms(status: Mapping[str, Any]) -> dict[str, str]:
    """
    What is wrong, by the id of its alarm.

    Args:
        status: what the method ``status`` answers. While the store has failed there is little.
    """
    found = {each["id"]: each["text"] for each in status.get("raised", ())}
    found.update(_of_store(status))
    if status["store"] == "ok":
        found.update(_of_grapes(status))
        found.update(_of_others(status))
        ahead_ms = status["clock_ahead_ms"]
        if _OWN_CLOCK & found.keys():
            found.pop("home-ahead", None)  # it is this one that is wrong
        elif ahead_ms > CLOCK_AHEAD_MS_MAX and "stamps-ahead" not in found:
            here = status["time"] / 1000
            found["clock-differs"] = (
                f"this machine's clock says {utc(here)}, and the newest order of other peers is"
                f" of {utc(here + ahead_ms / 1000)}: set the wrong one right, with an NTP service"
            )
    found.update(_of_what_ends(status))
    return found


def _of_what_ends(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    now = status.get("time", 0) / 1000
    ends = min((each["ends"] for each in status.get("certificates", ())), default=None)
    if ends is not None and ends - now < ENDS_S_MIN:
        yield "certificate-expires", f"the certificate of a port {ends_on(ends, now)}"
    token = status.get("token_ends")
    if token is not None and token["ends"] - now < ENDS_S_MIN:
        which = f"token number {token['number']} of the token file"
        yield "token-expires", f"{which} {ends_on(token['ends'], now)}"


def _of_store(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if status["store"] not in {"ok", OPENING, STANDS_BY}:
        yield "store-failed", status["store"]
    wal = status.get("wal") or {}
    if (wal.get("held_s") or 0) > LOG_HELD_S_MAX:
        yield (
            "log-held",
            f"a program has held a transaction open for {wal['held_s']:.0f} s; the write-ahead"
            f" log has {wal['bytes'] / 1_048_576:.1f} MiB and grows",
        )
    journal = status.get("journal") or {}
    if journal.get("behind_s", 0) > JOURNAL_BEHIND_S_MAX:
        yield (
            "journal-behind",
            f"for {journal['behind_s']:.0f} s the store could not take what is in its journal,"
            f" {journal['bytes'] / 1_048_576:.1f} MiB by now",
        )
    free = status.get("store_free_bytes")
    if free is not None and free < DISK_FREE_BYTES_MIN:
        yield "disk-low", f"{free / 1_048_576:.0f} MiB are free where the store is"


def _of_grapes(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    grapes = status["grapes"]
    urls = ", ".join(grapes["urls"]) or "none"
    if grapes["lookup_error"]:
        yield "grapes-silent", f"{urls}: {grapes['lookup_error']}"
        return
    if grapes["port"] is None or not grapes["lookups"]:
        return
    seen = grapes["seen_s_ago"]
    if seen is None or seen > SEEN_S_MAX:
        yield "not-announced", grapes["announce_error"] or "not seen by a lookup of our own yet"
    met = grapes.get("met") or []
    if met and not any(each["who"] == "itself" for each in met):
        yield "not-reachable", _nowhere(met)


def _nowhere(met: list[dict[str, str]]) -> str:
    """Who answers where this peer should."""
    silent = [each for each in met if each["who"] == "nobody"]
    others = [each["address"] for each in met if each["who"] == "another"]
    parts = []
    if silent:
        reason = silent[0]["reason"].rstrip(".")
        parts.append(f"nobody answers at {_some([e['address'] for e in silent])} ({reason})")
    if others:
        parts.append(f"another peer answers at {_some(others)}")
    return f"lookups do not lead to this peer: {'; '.join(parts)}"


def _some(addresses: list[str]) -> str:
    more = f" and {len(addresses) - 3} more" if len(addresses) > 3 else ""
    return ", ".join(addresses[:3]) + more


def _of_others(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    refused = status.get("links_refused") or {}
    if refused.get("last") and (refused.get("last_s_ago") or 0) < REFUSED_S_MAX:
        yield "links-refused", refused["last"]
    links = status.get("links")
    known = status.get("others_known", 0)
    if links == 0 and known:
        yield "no-links", f"{known} addresses of other peers are known, and none is linked"
    if links and not status["synced"]:
        missing = status.get("entries_behind") or "some"
        yield "not-synced", f"still catching up with other peers: {missing} entries are missing"
    early = status.get("early")
    if early and early["s_ago"] < EARLY_S_MAX:
        yield (
            "home-ahead",
            f"what peer {early['home'][:16]} signs is of {utc(early['time'] / 1000)}, and this"
            f" machine's clock says {utc(status['time'] / 1000)}: it is not taken before",
        )
    frozen = status.get("frozen")
    if frozen:
        yield "home-frozen", f"peer {frozen[0][:16]} signed two histories; its orders are ignored"
    hidden = [
        f"{each['orders']} in {market} are not shown: home {each['home'][:16]} has tick"
        f" {each['tick']} and lot {each['lot']}"
        for market, each in status["hidden"].items()
    ]
    if hidden:
        yield "orders-hidden", "; ".join(hidden)
    on_hold = status["fills"]["on_hold"]
    if on_hold:
        homes = ", ".join(home[:16] for home in on_hold)
        yield "fills-in-doubt", f"{status['fills']['in_doubt']} in doubt, waiting for peers {homes}"
