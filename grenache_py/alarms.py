"""
Every alarm of a peer and of a grape: its id, how grave it is, and what to do about it.

Pure. The one vocabulary: ``status``, ``/health``, ``exchange doctor``, the metrics
``exchange_alarm`` and ``grape_alarm``, the log and the alert rules in ``etc/prometheus`` use these
ids, and ``docs/operator.rst`` has a section for each, at ``#alarm-ID``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Literal, TypeAlias

from msgspec import Struct

__all__ = ["ENDS_S_MIN", "GRAPE", "PEER", "AlarmKind", "Severity", "ends_on", "raised", "utc"]

#: A certificate or a token that ends sooner should be replaced.
ENDS_S_MIN = 14 * 86_400

#: ``alarm``: it does not serve, and somebody has to act. ``warning``: it works, and may not always.
Severity: TypeAlias = Literal["alarm", "warning"]
#: What a check by ``doctor`` came to. ``note``: nothing is wrong, and it may be good to know.
Verdict: TypeAlias = Literal["good", "note", "warning", "bad"]


class AlarmKind(Struct, frozen=True):
    """
    One thing that can be wrong.

    Attributes:
        level: how grave it is.
        about: what is wrong, in a few words.
        advice: what to do, for ``exchange doctor``; the section of the guide has it at length.
        hold_s: it is raised once it has been so for this many seconds.
    """

    level: Severity
    about: str
    advice: str
    hold_s: float = 0.0


#: Of a peer, by id; the gravest first.
PEER: dict[str, AlarmKind] = {
    "store-failed": AlarmKind(
        "alarm",
        "the store cannot be written",
        "Orders are refused until it works; look at disk space and the daemon's log.",
    ),
    "own-log": AlarmKind(
        "alarm",
        "this home's log cannot be continued",
        "If this data directory is an old copy, start once with --new-epoch, which gives up its"
        " open orders, or begin with a new one.",
    ),
    "two-daemons": AlarmKind(
        "alarm",
        "another process has this peer's key",
        "Stop every other daemon with this key.",
    ),
    "clock-wrong": AlarmKind(
        "alarm",
        "the clock is more than 5 s from the neighbours'",
        "Run an NTP service on both; a peer whose clock is more than 5 s off is not heard.",
    ),
    "stamps-ahead": AlarmKind(
        "alarm",
        "this home's log is ahead of the time",
        "Wait until the time that the text names: this machine's clock was ahead, and a log never"
        " steps back. Trade at another peer meanwhile.",
    ),
    "clock-differs": AlarmKind(
        "warning",
        "the clock is more than 1 s from the neighbours'",
        "Run an NTP service on both; a peer whose clock is more than 5 s off is not heard.",
        hold_s=10,  # stamps of a home that was restarted, or taken over, begin ahead
    ),
    "log-damaged": AlarmKind(
        "warning",
        "entries of this home's own log cannot be read",
        "Look for the cause (memory, disk, another program), and place the cancelled orders anew."
        " `exchange replay` tells what else in the store contradicts the log.",
    ),
    "disk-low": AlarmKind(
        "warning",
        "the disk is nearly full",
        "Make room on the disk of the data directory: when it is full, orders are refused.",
    ),
    "log-held": AlarmKind(
        "warning",
        "another program keeps the write-ahead log from being shortened",
        "End the program that has exchange.sqlite open (`lsof` or `fuser` shows it).",
    ),
    "journal-behind": AlarmKind(
        "warning",
        "another program keeps the journal from being written into the store",
        "End the program that writes to exchange.sqlite (`lsof` or `fuser` shows it).",
    ),
    "grapes-silent": AlarmKind(
        "warning",
        "no grape answers",
        "Start a grape there, or name another with --grape. Peers named with --connect are reached"
        " without.",
    ),
    "not-announced": AlarmKind(
        "warning",
        "lookups do not show this peer",
        "A grape without neighbours keeps no record: give it some with --bn, or other peers cannot"
        " find this one.",
        hold_s=60,
    ),
    "not-reachable": AlarmKind(
        "warning",
        "where the grapes say that this peer is, it is not",
        "The grapes name the address that the announcing grape is seen under. Say where others"
        " reach this peer with --advertise HOST:PORT, which is published too, with --peer tcp:PORT"
        " open to them; or run the grape inside this peer (no --grape).",
    ),
    "links-refused": AlarmKind(
        "warning",
        "peers do not fit together",
        "Both peers need the same --network, and the same tick and lot in each market they share;"
        " --connect names a port that was given with --peer.",
    ),
    "no-links": AlarmKind(
        "warning",
        "other peers are known, and none is linked",
        "Look whether their peer ports are open to this machine; `exchange peer-shell HOST:PORT`"
        " tries one.",
        hold_s=60,
    ),
    "not-synced": AlarmKind(
        "warning",
        "it does not hold what others have told of",
        "Wait some seconds; if it stays, look at the log for refused entries.",
        hold_s=60,
    ),
    "home-ahead": AlarmKind(
        "warning",
        "another home's log is ahead of the time",
        "Its orders are not heard before that time has come; its operator should look at its"
        " clock.",
    ),
    "home-frozen": AlarmKind(
        "warning",
        "another home signed two histories",
        "Nothing to do here; its operator must act.",
    ),
    "orders-hidden": AlarmKind(
        "warning",
        "another home trades a market with another tick or lot",
        "Homes trade a market with each other when tick and lot are the same; agree on one.",
    ),
    "fills-in-doubt": AlarmKind(
        "warning",
        "a home does not answer for its trades",
        "They are settled when those peers come back; until then their quantity stays reserved."
        " For a peer that is gone for ever see `exchange doubts`.",
        hold_s=60,
    ),
    "certificate-expires": AlarmKind(
        "warning",
        "a TLS certificate ends soon",
        "Put a new certificate in its place and send the daemon SIGHUP.",
    ),
    "token-expires": AlarmKind(
        "warning",
        "a client's token ends soon",
        "Put a new token, or a later end, into the token file and send the daemon SIGHUP.",
    ),
}

#: Of a grape, by id.
GRAPE: dict[str, AlarmKind] = {
    "grape-alone": AlarmKind(
        "alarm",
        "no other grape answers",
        "Are the others up? Does UDP pass, both ways? Is --bn right?",
    ),
    "grape-unasked": AlarmKind(
        "warning",
        "other grapes answer, and none has asked this one anything for 20 min",
        "Open its UDP port for what comes from outside; forward it under its own number.",
    ),
    "grape-names": AlarmKind(
        "warning",
        "a name in bootstrap has no address",
        "Look at the name, and at the name server.",
        hold_s=60,
    ),
    "grape-state": AlarmKind(
        "warning",
        "the state file cannot be written",
        "Make room on its disk, or see whose the directory is: a restart would begin with what was"
        " written last.",
    ),
    "grape-full": AlarmKind(
        "warning",
        "as many HTTP clients are connected as it takes",
        "Look who is connected; raise the limit, or run another grape.",
    ),
    "grape-items": AlarmKind(
        "warning",
        "as many items are stored as it keeps",
        "The item used longest ago makes room for each new one: raise dht_maxValues, or look who"
        " stores so many.",
    ),
    "grape-certificate": AlarmKind(
        "warning",
        "the TLS certificate of the HTTP port ends soon",
        "Put a new certificate in its place and send the grape SIGHUP.",
    ),
}


def raised(kinds: Mapping[str, AlarmKind], texts: Mapping[str, str]) -> list[dict[str, Any]]:
    """
    What is wrong, in plain JSON values: the gravest first.

    Args:
        texts: by id, what is wrong in particular.
    """
    return [
        {"id": id, "level": kind.level, "text": texts[id]}
        for id, kind in kinds.items()
        if id in texts
    ]


def ends_on(ends: float, now: float) -> str:
    """The verb of a text that says when something ends or has ended, by two Unix times."""
    return f"{'ended' if ends <= now else 'ends'} on {utc(ends)}"


def utc(seconds: float) -> str:
    """A Unix time as the text of an alarm says it."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
