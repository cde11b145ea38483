"""One vocabulary: the table of alarms, the guide, the metrics, the rules, and what raises each."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import yaml
from twisted.internet.task import Clock
from twisted.logger import LogEvent, capturedLogs, formatEvent

from grenache_py.alarm_watch import AlarmWatch
from grenache_py.alarms import GRAPE, PEER, raised
from grenache_py.exchange.cli.diagnosis import AREAS
from grenache_py.exchange.condition.symptoms import OPENING, symptoms
from grenache_py.exchange.daemon.http_port.alarm_page import alarm_page
from grenache_py.exchange.daemon.http_port.metrics import exposition, health
from grenache_py.grape.pages import GrapeFacts, wrong

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs/operator.rst").read_text()
RULES = yaml.safe_load((ROOT / "etc/prometheus/grenache.rules.yml").read_text())
HOME = "cd" * 32


def status(**changed: Any) -> dict[str, Any]:
    """What a peer says with which nothing is wrong."""
    healthy: dict[str, Any] = {
        "store": "ok",
        "store_free_bytes": 1 << 40,
        "wal": {"bytes": 0, "held_s": None},
        "journal": {"bytes": 0, "behind_s": 0.0},
        "time": 1_000_000,
        "clock_ahead_ms": 0,
        "grapes": {
            "urls": ["http://a:1"],
            "port": 7071,
            "announce_error": None,
            "seen_s_ago": 3.0,
            "lookups": 9,
            "lookup_error": None,
            "met": [{"address": "10.0.0.1:7071", "who": "itself", "reason": ""}],
        },
        "links": 2,
        "others_known": 3,
        "links_refused": {"last": None, "last_s_ago": None},
        "synced": True,
        "entries_behind": 0,
        "homes": 1,
        "frozen": [],
        "early": None,
        "hidden": {},
        "fills": {"in_doubt": 0, "on_hold": []},
        "certificates": [{"port": "0.0.0.0:7073", "ends": 1_000 + 90 * 86_400}],
        "token_ends": {"number": 1, "ends": 1_000 + 90 * 86_400},
        "raised": [],
    }
    for name, value in changed.items():
        if isinstance(value, dict) and healthy[name] is not None:
            healthy[name] = {**healthy[name], **value}
        else:
            healthy[name] = value
    return healthy


def by_node(id: str) -> dict[str, Any]:
    return {"raised": raised(PEER, {id: "the node says why"})}


def elsewhere(who: str) -> dict[str, Any]:
    return {"grapes": {"met": [{"address": "10.0.0.9:7071", "who": who, "reason": "refused"}]}}


EARLY = {"home": HOME, "time": 4_600_000}
HIDDEN = {"BTC-USD": {"orders": 3, "home": HOME, "tick": "0.05", "lot": "1"}}
#: What raises each alarm: its id, what the text says, and what has to be in the status.
CAUSES: list[tuple[str, str, dict[str, Any]]] = [
    ("store-failed", "disk is full", {"store": "the disk is full"}),
    ("own-log", "says why", by_node("own-log")),
    ("two-daemons", "says why", by_node("two-daemons")),
    ("clock-wrong", "says why", by_node("clock-wrong")),
    ("stamps-ahead", "says why", {**by_node("stamps-ahead"), "clock_ahead_ms": 3_600_000}),
    ("clock-differs", "says why", by_node("clock-differs")),
    ("clock-differs", "of 1970-01-01 00:16:42 UTC", {"clock_ahead_ms": 2_000}),
    ("log-damaged", "says why", by_node("log-damaged")),
    ("disk-low", "12 MiB are free", {"store_free_bytes": 12 << 20}),
    ("log-held", "90 s", {"wal": {"bytes": 300 << 20, "held_s": 90.0}}),
    ("journal-behind", "for 11 s", {"journal": {"bytes": 3 << 20, "behind_s": 11.0}}),
    ("grapes-silent", "http://a:1: refused", {"grapes": {"lookup_error": "refused"}}),
    ("not-announced", "nope", {"grapes": {"seen_s_ago": None, "announce_error": "nope"}}),
    ("not-announced", "not seen", {"grapes": {"seen_s_ago": 61.0}}),
    ("not-reachable", "nobody answers at 10.0.0.9:7071 (refused)", elsewhere("nobody")),
    ("not-reachable", "another peer answers at 10.0.0.9:7071", elsewhere("another")),
    ("links-refused", "tick 1", {"links_refused": {"last": "x: tick 1", "last_s_ago": 5}}),
    ("no-links", "3 addresses", {"links": 0}),
    ("not-synced", "7 entries are missing", {"synced": False, "entries_behind": 7}),
    ("home-ahead", "of 1970-01-01 01:16:40 UTC", {"early": {**EARLY, "s_ago": 5.0}}),
    ("home-frozen", HOME[:16], {"frozen": [HOME]}),
    ("orders-hidden", "3 in BTC-USD", {"hidden": HIDDEN}),
    ("fills-in-doubt", "2 in doubt", {"fills": {"in_doubt": 2, "on_hold": [HOME]}}),
    ("certificate-expires", "1970-01-02", {"certificates": [{"port": "p", "ends": 86_400 * 1.5}]}),
    ("token-expires", "number 3 of the token file", {"token_ends": {"number": 3, "ends": 2e3}}),
    ("token-expires", "of the token file ended", {"token_ends": {"number": 2, "ends": 999}}),
]


def test_nothing_is_wrong_with_a_peer_that_is_well() -> None:
    assert symptoms(status()) == {}
    assert symptoms(status(store=OPENING)) == {}
    old = {"links_refused": {"last": "x", "last_s_ago": 4_000}}
    assert symptoms(status(**old, links=0, others_known=0, synced=False)) == {}
    assert symptoms(status(grapes={"port": None, "seen_s_ago": None})) == {}
    assert symptoms(status(early={**EARLY, "s_ago": 61.0}, token_ends=None)) == {}


def test_who_is_behind_does_not_say_that_all_others_are_ahead() -> None:
    early = {**EARLY, "s_ago": 5.0}
    assert list(symptoms(status(**by_node("clock-wrong"), early=early))) == ["clock-wrong"]


@pytest.mark.parametrize(("id", "says", "changed"), CAUSES)
def test_what_is_wrong_raises_its_alarm_and_no_other(
    id: str, says: str, changed: dict[str, Any]
) -> None:
    found = symptoms(status(**changed))
    assert list(found) == [id]
    assert says in found[id]


def test_every_alarm_has_a_cause_a_section_a_rule_and_a_place_in_the_doctor() -> None:
    ids = [*PEER, *GRAPE]
    assert {id for id, _, _ in CAUSES} == PEER.keys()
    assert [id for id, _, _ in OF_GRAPES] == [*GRAPE]
    assert sorted(id for area in AREAS.values() for id in area) == sorted(PEER)
    assert re.findall(r"^\.\. _alarm-([a-z-]+):$", GUIDE, re.M) == ids
    for id, kind in {**PEER, **GRAPE}.items():
        assert f"\n**{id}** ({kind.level}" in GUIDE
    rules = [rule for group in RULES["groups"] for rule in group["rules"]]
    read = [
        (found[1], found[2])
        for rule in rules
        if (found := re.fullmatch(r'(\w+)_alarm\{id="([a-z-]+)"\} == 1', rule["expr"]))
    ]
    assert read == [("grape", id) for id in GRAPE] + [("exchange", id) for id in PEER]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert "_alarm{id=" in rule["expr"] or rule["alert"] in GUIDE, "what to do about it"


def test_every_alarm_is_provoked_in_a_real_daemon() -> None:
    tests = ROOT / "tests"
    files = [*(tests / "exchange/daemon").glob("*.py"), tests / "test_signals.py"]
    told = "".join(file.read_text() for file in [*files, tests / "grape/test_alarms.py"])
    assert [id for id in (*PEER, *GRAPE) if not re.search(f'[" ]{id}[":]', told)] == []


def test_a_peer_serves_what_to_do_about_each_alarm() -> None:
    page = alarm_page().body.decode()
    assert re.findall(r'<section id="alarm-([a-z-]+)">', page) == list(PEER)
    assert "<code>lsof</code>" in page and "Run an NTP service on both" in page


def test_the_metric_names_every_alarm_and_whether_it_is_raised() -> None:
    failed = {**status(store="the disk is full"), "raised": raised(PEER, {"store-failed": "full"})}
    del failed["fills"]  # there is no node
    text = exposition(failed, {})
    series = dict(re.findall(r'^exchange_alarm\{id="([a-z-]+)",level="\w+"\} ([01])$', text, re.M))
    assert series == {id: "1" if id == "store-failed" else "0" for id in PEER}
    assert "exchange_up 0" in text and "exchange_store_ok 0" in text


def test_a_daemon_that_stands_by_is_up_and_takes_no_orders() -> None:
    database: dict[str, Any] = {"place": "here", "term": 0, "standbys": None}
    stands_by = {**status(store="standby", role="standby"), "raised": []}
    del stands_by["fills"]
    stands_by["database"] = {**database, "newest_term": 3, "age_s": 0.2}
    ok, said = health(stands_by)
    assert (ok, said["role"], said["alarms"]) == (False, "standby", [])
    text = exposition(stands_by, {})
    for line in ("up 1", "serving 0", "store_ok 1", "newest_term 3", "holder_silent_seconds 0.2"):
        assert f"\nexchange_{line}\n" in f"\n{text}", line
    assert symptoms(stands_by) == {}
    unsure = {**status(), "role": "standby", "raised": []}
    assert not health(unsure)[0]
    assert symptoms({**stands_by, "store": "no answer"}) == {"store-failed": "no answer"}


def grape(contacts: int = 1, items: int = 0, **changed: Any) -> GrapeFacts:
    """A grape that is well, but for what is changed."""
    dht: Any = SimpleNamespace(contacts_good=contacts, items=items)
    well = GrapeFacts(
        dht=dht,
        alone_is_fine=False,
        unasked_s=1.0,
        unresolved=(),
        unsaved="",
        clients=3,
        clients_max=4,
        items_max=5,
        certificate_ends=None,
        time=1_000.0,
    )
    return attrs.evolve(well, **changed)


#: What raises each alarm of a grape: its id, what the text says, and the grape.
OF_GRAPES = [
    ("grape-alone", "no other grape", grape(contacts=0, unasked_s=9_999)),
    ("grape-unasked", "for 21 min", grape(unasked_s=21 * 60)),
    ("grape-names", "known of a.example, b.example", grape(unresolved={"b.example", "a.example"})),
    ("grape-state", "No space left", grape(unsaved="/data/state: No space left on device")),
    ("grape-full", "4 HTTP clients", grape(clients=4)),
    ("grape-items", "5 items", grape(items=5)),
    ("grape-certificate", "ends on 1970-01-02", grape(certificate_ends=86_400 * 1.5)),
]


@pytest.mark.parametrize(("id", "says", "facts"), OF_GRAPES)
def test_a_grape_says_what_is_wrong(id: str, says: str, facts: GrapeFacts) -> None:
    found = wrong(facts)
    assert list(found) == [id]
    assert says in found[id]


def test_nothing_is_wrong_with_a_grape_that_is_well_or_alone_on_purpose() -> None:
    assert wrong(grape(certificate_ends=1_000 + 90 * 86_400)) == {}
    assert wrong(grape(contacts=0, alone_is_fine=True, unasked_s=9_999)) == {}


def test_warnings_do_not_make_a_peer_unhealthy_and_alarms_do() -> None:
    for id, kind in PEER.items():
        ok, said = health({**status(), "raised": raised(PEER, {id: "so"})})
        assert ok == said["ok"] == (kind.level == "warning")
        assert said["raised"][0]["id"] == id


class Watched:
    """An `AlarmWatch` and what it logs."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.watch = AlarmWatch(self.clock, PEER)

    def look(self, **changed: Any) -> tuple[list[dict[str, Any]], list[LogEvent]]:
        with capturedLogs() as events:
            found = self.watch.look(symptoms(status(**changed)))
        return found, events


def test_the_log_tells_of_an_alarm_when_it_comes_and_when_it_is_over() -> None:
    peer = Watched()
    peer.look()
    found, (event,) = peer.look(store_free_bytes=5 << 20)
    assert formatEvent(event) == (
        "warning disk-low: 5 MiB are free where the store is; what to do:"
        " docs/operator.rst#alarm-disk-low"
    )
    assert event["log_level"].name == "warn"
    peer.clock.advance(30)
    found, events = peer.look(store_free_bytes=4 << 20)
    assert found[0]["for_s"] == 30 and not events
    _, (event,) = peer.look()
    assert formatEvent(event) == "warning disk-low is over"
    _, (event,) = peer.look(store="broken")
    assert event["log_level"].name == "error"


def test_what_may_be_over_in_a_moment_is_raised_once_it_lasts() -> None:
    peer = Watched()
    assert peer.look(synced=False) == ([], [])
    peer.clock.advance(PEER["not-synced"].hold_s - 1)
    assert peer.look(synced=False) == ([], [])
    peer.clock.advance(1)
    assert [each["id"] for each in peer.look(synced=False)[0]] == ["not-synced"]
    peer.look()
    assert peer.look(synced=False) == ([], [])
