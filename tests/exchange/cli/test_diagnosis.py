"""What the doctor makes of a daemon's status, and what it advises."""

from __future__ import annotations

from typing import Any

import pytest

from grenache_py.exchange.cli.diagnosis import Finding, examine, healthy

KEY = "ab" * 32


OLD_COPY = {"id": "own-log", "level": "alarm", "text": "this disk is an old copy"}
CLOCK = {"id": "clock-wrong", "level": "alarm", "text": "this clock says 12:00 UTC, theirs 12:01"}


def status(**changed: Any) -> dict[str, Any]:
    healthy: dict[str, Any] = {
        "peer": KEY,
        "network": "main",
        "alarms": [],
        "store": "ok",
        "store_bytes": 1_048_576,
        "time": 1_000_000,
        "clock_ahead_ms": 0,
        "advertise": "",
        "listen": {"client": [], "peer": ["0.0.0.0:7071"], "http": []},
        "synced": True,
        "origins": {"cd" * 32: {"frozen": None}},
        "hidden": {},
        "fills": {"in_doubt": 0, "on_hold": []},
        "grapes": {
            "urls": ["http://a:1", "http://b:2"],
            "name": "exchange:main",
            "port": 7071,
            "announce_error": None,
            "lonely": False,
            "seen_s_ago": 3.0,
            "lookups": 9,
            "lookup_error": None,
        },
    }
    for name, value in changed.items():
        if isinstance(value, dict):
            healthy[name] = {**healthy[name], **value}
        else:
            healthy[name] = value
    return healthy


LINK = {"ready": True, "latency_ms": 1.5, "direction": "outbound"}
EVERYWHERE = {"http://a:1": ["1.2.3.4:7071"], "http://b:2": ["1.2.3.4:7071", "5.6.7.8:7071"]}


def found(
    state: dict[str, Any],
    links: Any = (LINK,),
    asked_at: float = 1000.0,
    cannot_connect: str = "",
    grapes: Any = None,
) -> dict[str, Finding]:
    answers = EVERYWHERE if grapes is None else grapes
    findings = examine(
        state,
        links,
        asked_at,
        asked_at + 0.1,
        lambda _: cannot_connect,
        lambda url, _: answers[url],
    )
    return {finding.what: finding for finding in findings}


def test_a_store_in_a_database_is_told_with_its_term_and_standbys() -> None:
    standbys = [{"name": "db2", "sync": "sync", "lag_s": 0.1}]
    database = {"place": "PostgreSQL database home at db1", "term": 3, "since": 1}
    for known, told in ((standbys, "db2 (sync)"), ([], "not known"), (None, "not known")):
        line = found({**status(), "database": {**database, "standbys": known}})["store"].found
        assert line.endswith(f"home at db1, term 3, standbys: {told}")


def test_a_daemon_that_stands_by_is_well() -> None:
    database = {"place": "PostgreSQL database home at db1", "standbys": [], "newest_term": 4}
    database |= {"holder": "one:7070", "age_s": 0.31}
    said = {"store": "standby", "role": "standby", "raised": [], "database": database}
    findings = found(said)
    assert {finding.verdict for finding in findings.values()} == {"good"}
    assert findings["role"].found == "stands by: one:7070 serves, heard of 0.3 s ago"
    assert findings["store"].found.endswith("home at db1, term 4, standbys: not known")
    [alone] = examine({**said, "store": "no answer"}, [], 0, 0, lambda _: "", lambda *_: [])
    assert (alone.what, alone.verdict, alone.found) == ("store", "bad", "no answer")


def test_a_healthy_peer_needs_no_advice() -> None:
    findings = found(status()).values()
    assert [finding.verdict for finding in findings] == ["good"] * 10
    assert not [finding.advice for finding in findings if finding.advice]


@pytest.mark.parametrize(
    ("what", "verdict", "says", "advice", "changed"),
    [
        ("identity", "bad", "old copy", "--new-epoch", {"raised": [OLD_COPY]}),
        ("clock", "note", "newest order", "NTP", {"clock_ahead_ms": 2000}),
        ("clock", "bad", "differs", "NTP", {"time": 1_005_000}),
        ("clock", "bad", "UTC", "5 s off", {"raised": [CLOCK]}),
        ("identity", "note", "listens", "Wait", {"listening": True}),
        ("grapes", "warning", "refused", "--grape", {"grapes": {"lookup_error": "refused"}}),
        ("grapes", "note", "no answer yet", "Wait", {"grapes": {"lookups": 0}}),
        ("announced", "note", "nope", "--bn",
         {"grapes": {"seen_s_ago": None, "announce_error": "nope"}}),
        ("announced", "note", "no peer port", "", {"grapes": {"port": None}}),
        ("announced", "note", "a:1 refused", "",
         {"grapes": {"lookup_error": "refused", "announce_error": "a:1 refused",
                     "seen_s_ago": None}}),
        ("announced", "note", "not seen", "", {"grapes": {"lookups": 0, "seen_s_ago": None}}),
        ("announced", "good", "of our own 55 s ago", "",
         {"grapes": {"lookup_error": "refused", "seen_s_ago": 55.4}}),
        ("reachable", "warning", "nobody answers at 10.0.0.9:7071", "--advertise",
         {"grapes": {"met": [{"address": "10.0.0.9:7071", "who": "nobody", "reason": ""}]}}),
        ("reachable", "note", "from this machine only", "--peer",
         {"listen": {"peer": ["127.0.0.1:1"]}}),
        ("reachable", "note", "no peer port", "", {"listen": {"peer": []}}),
        ("sync", "note", "still catching up", "Wait", {"synced": False, "links": 1}),
        ("fills", "note", "2 in doubt", "exchange doubts",
         {"fills": {"in_doubt": 2, "on_hold": [KEY]}}),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_what_to_do(
    what: str, verdict: str, says: str, advice: str, changed: dict[str, Any]
) -> None:
    finding = found(status(**changed))[what]
    assert finding.verdict == verdict
    assert says in finding.found
    assert advice in finding.advice


def test_a_port_nobody_can_reach_is_bad() -> None:
    finding = found(status(advertise="203.0.113.5:7071"), cannot_connect="Connection refused")
    assert finding["reachable"].verdict == "bad"
    assert finding["reachable"].found == "203.0.113.5:7071: Connection refused"


def test_who_is_called_by_others_is_reachable_though_not_from_here() -> None:
    """As a peer in a container is not from the machine outside."""
    finding = found(
        status(advertise="peer-a:7071"),
        links=({**LINK, "direction": "inbound"},),
        cannot_connect="Name or service not known",
    )["reachable"]
    assert finding.verdict == "good"
    assert finding.found == "called by 1 peer; not from here: Name or service not known"


def test_who_meets_itself_where_lookups_lead_is_reachable_though_not_from_here() -> None:
    """The peer in a container that has called all others, and that nobody had to call."""

    def met(address: str, who: str = "itself") -> Finding:
        grapes = {"met": [{"address": address, "who": who, "reason": ""}]}
        return found(status(grapes=grapes), cannot_connect="another peer answers")["reachable"]

    finding = met("10.89.0.5:7071")
    assert finding.verdict == "good"
    assert finding.found == "met itself at 10.89.0.5:7071; not from here: another peer answers"
    assert met("127.0.0.1:7071").verdict == "bad", "its own loopback is nobody else's"
    assert met("10.89.0.5:7071", "another").verdict == "bad"


def test_what_lasts_is_wrong_and_what_may_be_over_in_a_moment_is_a_note() -> None:
    catching_up = status(synced=False, links=1)
    assert healthy(found(catching_up).values())
    lasting = {"id": "not-synced", "level": "warning", "text": "x", "for_s": 61}
    findings = found({**catching_up, "raised": [lasting]})
    assert findings["sync"].verdict == "warning" and findings["sync"].alarm == "not-synced"
    assert not healthy(findings.values())


def test_without_a_working_store_nothing_else_is_judged() -> None:
    assert list(found({"store": "the disk is full", "alarms": []})) == ["store"]


def test_grapes_of_two_rings_are_told_apart() -> None:
    """Disjoint bootstrap lists: docs/failure-modes.rst#f25."""
    finding = found(status(), grapes={"http://a:1": ["1.2.3.4:7071"], "http://b:2": []})["rings"]
    assert finding.verdict == "bad"
    assert finding.found == "http://b:2 finds no peer, and http://a:1 does"
    assert "--bn" in finding.advice


def test_a_grape_that_does_not_answer_is_named() -> None:
    finding = found(status(), grapes={"http://a:1": ["1.2.3.4:7071"], "http://b:2": "timed out"})
    assert finding["rings"].verdict == "warning"
    assert finding["rings"].found == "http://b:2: timed out"


def test_one_grape_is_compared_with_nothing() -> None:
    assert "rings" not in found(status(grapes={"urls": ["http://a:1"]}))


def test_orders_that_are_hidden_are_told_of_with_their_tick() -> None:
    state = status()
    state["hidden"] = {"BTC-USD": {"orders": 3, "home": "7" * 64, "tick": "0.05", "lot": "1"}}
    finding = found(state)["sync"]
    assert finding.verdict == "warning"
    assert finding.alarm == "orders-hidden"
    assert finding.found == f"3 in BTC-USD are not shown: home {'7' * 16} has tick 0.05 and lot 1"
    assert found(status())["sync"].verdict == "good"


def test_a_program_that_holds_the_log_and_a_link_that_was_refused_are_shown() -> None:
    state = status()
    state["wal"] = {"bytes": 300 * 1_048_576, "held_s": 90.0}
    state["links_refused"] = {"market": 3, "last_s_ago": 1}
    state["links_refused"]["last"] = "10.0.0.7:7071: market BTC-USD has tick 1"
    findings = found(state)
    assert findings["store"].verdict == "warning" and "300.0 MiB" in findings["store"].found
    assert "exchange.sqlite" in findings["store"].advice
    assert findings["links"].verdict == "warning" and "has tick 1" in findings["links"].found
    state["wal"]["held_s"] = 5.0  # a backup
    assert found(state)["store"].verdict == "good"
