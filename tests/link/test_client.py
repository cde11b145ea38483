"""What a program sees of a Link, with grapes that live in memory and a clock it moves."""

from __future__ import annotations

import json
import random
from itertools import pairwise
from pathlib import Path

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from grenache_py.errors import LocalProtocolError
from grenache_py.link.client import Link
from grenache_py.link.errors import BadAnswer, GrapeRefused, GrapeUnreachable, LinkBusy, LinkError
from grenache_py.link.items import Item, mutable_hash, signed_put
from grenache_py.link.keys import ItemKey
from grenache_py.link.watching import AddressWatch
from tests.support.fake_grape import FakeGrapes, ok

ONE, TWO = "http://one:30001", "http://two:30001"
VECTORS = Path(__file__).parents[1] / "vectors"
KEY = ItemKey.from_seed(bytes(range(32)))


class LinkCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.grapes = FakeGrapes()
        self.link = self.make(ONE, TWO)

    def make(self, *urls: str, **options) -> Link:
        return Link(urls, self.clock, http=self.grapes, rng=random.Random(1), **options)

    def hosts(self) -> list[str]:
        return [host for host, _, _ in self.grapes.requests]


class LookupTests(LinkCase):
    def test_the_addresses_come_back(self) -> None:
        self.grapes.peers["rest:util:net"] = ["10.0.0.1:1337", "10.0.0.2:1337"]
        found = self.successResultOf(self.link.lookup("rest:util:net"))
        self.assertEqual(found, ["10.0.0.1:1337", "10.0.0.2:1337"])
        self.assertEqual(self.grapes.requests, [("one", "lookup", "rest:util:net")])

    def test_a_found_service_is_remembered_for_a_while(self) -> None:
        self.grapes.peers["svc"] = ["10.0.0.1:1"]
        self.successResultOf(self.link.lookup("svc"))
        self.clock.advance(9.9)
        self.assertEqual(self.successResultOf(self.link.lookup("svc")), ["10.0.0.1:1"])
        self.assertEqual(len(self.grapes.requests), 1)
        self.clock.advance(0.2)
        self.successResultOf(self.link.lookup("svc"))
        self.assertEqual(len(self.grapes.requests), 2)

    def test_a_miss_is_asked_again_at_once(self) -> None:
        self.assertEqual(self.successResultOf(self.link.lookup("svc")), [])
        self.grapes.peers["svc"] = ["10.0.0.1:1"]
        self.assertEqual(self.successResultOf(self.link.lookup("svc")), ["10.0.0.1:1"])

    def test_fresh_asks_although_an_answer_is_at_hand(self) -> None:
        self.grapes.peers["svc"] = ["10.0.0.1:1"]
        self.successResultOf(self.link.lookup("svc"))
        self.grapes.peers["svc"] = ["10.0.0.2:2"]
        self.assertEqual(self.successResultOf(self.link.lookup("svc", fresh=True)), ["10.0.0.2:2"])

    def test_a_forgotten_address_is_gone_and_the_last_one_asks_again(self) -> None:
        self.grapes.peers["svc"] = ["10.0.0.1:1", "10.0.0.2:2"]
        self.successResultOf(self.link.lookup("svc"))
        self.link.forget("svc", "10.0.0.1:1")
        self.assertEqual(self.successResultOf(self.link.lookup("svc")), ["10.0.0.2:2"])
        self.link.forget("svc", "10.0.0.2:2")
        self.successResultOf(self.link.lookup("svc"))
        self.assertEqual(len(self.grapes.requests), 2)

    def test_a_caller_may_change_its_answer_without_harm_to_others(self) -> None:
        self.grapes.peers["svc"] = ["10.0.0.1:1"]
        self.successResultOf(self.link.lookup("svc")).clear()
        self.assertEqual(self.successResultOf(self.link.lookup("svc")), ["10.0.0.1:1"])

    def test_equal_lookups_in_flight_share_one_request(self) -> None:
        self.grapes.silent = {"one"}
        first, second = self.link.lookup("svc"), self.link.lookup("svc")
        self.grapes.peers["svc"] = ["10.0.0.1:1"]
        self.clock.advance(3)
        self.assertEqual(self.successResultOf(first), ["10.0.0.1:1"])
        self.assertEqual(self.successResultOf(second), ["10.0.0.1:1"])
        self.assertEqual(self.hosts(), ["one", "two"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_one_caller_that_gives_up_leaves_the_other_waiting(self) -> None:
        self.grapes.silent = {"one"}
        first, second = self.link.lookup("svc"), self.link.lookup("svc")
        first.cancel()
        self.failureResultOf(first, CancelledError)
        self.clock.advance(3)
        self.assertEqual(self.successResultOf(second), [])

    def test_when_all_callers_give_up_nothing_is_left_behind(self) -> None:
        self.grapes.silent = {"one"}
        waiting = self.link.lookup("svc")
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.hosts(), ["one"])

    def test_bad_names_are_refused_before_anything_is_sent(self) -> None:
        for name in ["", None, 5, "x" * 7001, "\ud800"]:
            self.failureResultOf(self.link.lookup(name), LocalProtocolError)  # type: ignore[arg-type]
        self.assertEqual(self.grapes.requests, [])

    def test_odd_addresses_are_left_out(self) -> None:
        self.grapes.scripted["lookup"] = lambda _: ok(["10.0.0.1:1", "nonsense", 7, "a b:1"])
        self.assertEqual(self.successResultOf(self.link.lookup("svc")), ["10.0.0.1:1"])


class FailOverTests(LinkCase):
    def test_the_next_grape_is_asked_when_one_refuses_the_connection(self) -> None:
        self.grapes.refusing = {"one"}
        self.grapes.peers["svc"] = ["10.0.0.1:1"]
        self.assertEqual(self.successResultOf(self.link.lookup("svc")), ["10.0.0.1:1"])
        self.assertEqual(self.hosts(), ["one", "two"])

    def test_a_failed_grape_is_left_alone_for_a_while_then_preferred_again(self) -> None:
        self.grapes.refusing = {"one"}
        self.successResultOf(self.link.lookup("a"))
        self.successResultOf(self.link.lookup("b"))
        self.assertEqual(self.hosts(), ["one", "two", "two"])
        self.grapes.refusing = set()
        self.clock.advance(1)
        self.successResultOf(self.link.lookup("c"))
        self.assertEqual(self.hosts()[3:], ["one"])

    def test_with_every_grape_down_each_is_tried_twice_and_named(self) -> None:
        self.grapes.refusing = {"one", "two"}
        waiting = self.link.lookup("svc")
        self.assertNoResult(waiting)
        self.clock.advance(0.2)
        error = self.failureResultOf(waiting, GrapeUnreachable)
        self.assertIn(
            "no grape answered: http://one:30001: Connection was refused", str(error.value)
        )
        self.assertEqual(self.hosts(), ["one", "two", "one", "two"])
        self.assertEqual(len(error.value.attempts), 4)

    def test_with_every_grape_silent_the_deadline_ends_the_wait(self) -> None:
        self.grapes.silent = {"one", "two"}
        waiting = self.link.lookup("svc")
        self.clock.pump([0.5] * 19)
        self.assertNoResult(waiting)
        self.clock.advance(0.5)
        error = self.failureResultOf(waiting, GrapeUnreachable).value
        self.assertIn("no answer within 10 s: http://one:30001: no answer within 3 s", str(error))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_grape_without_neighbours_sends_us_to_another(self) -> None:
        self.grapes.scripted["one"] = lambda _: ok("No nodes to query")
        self.assertEqual(self.successResultOf(self.link.announce("svc", 80)), 1)
        self.assertEqual(self.hosts(), ["one", "two"])

    def test_a_refusal_of_the_request_itself_is_not_carried_to_the_next_grape(self) -> None:
        self.grapes.scripted["announce"] = lambda _: ok("ERR_GRAPE_SERVICE_PORT")
        error = self.failureResultOf(self.link.announce("svc", 80), GrapeRefused).value
        self.assertEqual(
            (error.code, error.status, error.lonely), ("ERR_GRAPE_SERVICE_PORT", 200, False)
        )
        self.assertIn("http://one:30001 refused: ERR_GRAPE_SERVICE_PORT", str(error))
        self.assertEqual(self.hosts(), ["one"])

    def test_answers_that_make_no_sense_count_as_a_dead_grape(self) -> None:
        for status, body in [
            (200, b"{bad"),
            (200, b""),
            (200, b"null"),
            (502, b"<html>"),
            (204, b""),
            (200, b"[1, 2]"),
        ]:
            self.grapes.requests.clear()
            self.grapes.scripted["one"] = lambda _, s=status, b=body: (s, b)
            self.assertEqual(self.successResultOf(self.make(ONE, TWO).lookup("svc")), [], body)
            self.assertEqual(self.hosts(), ["one", "two"])

    def test_an_endless_answer_is_cut_off(self) -> None:
        self.grapes.scripted["one"] = lambda _: (200, b"[" + b" " * 300_000 + b"]")
        self.assertEqual(self.successResultOf(self.link.lookup("svc")), [])
        self.assertEqual(self.hosts(), ["one", "two"])

    def test_redirects_are_answers_not_directions(self) -> None:
        self.grapes.scripted["put"] = lambda _: (302, b'"302 sequence number less than current"')
        error = self.failureResultOf(self.link.put_mutable("x", KEY, 1), GrapeRefused).value
        self.assertEqual((error.status, error.code), (302, "302 sequence number less than current"))
        self.assertEqual(self.hosts(), ["one"])

    def test_bare_text_with_status_500_is_the_reason(self) -> None:
        self.grapes.scripted["lookup"] = lambda _: (500, b"ERR_GRAPE_PAYLOAD_INVALID")
        error = self.failureResultOf(self.link.lookup("svc"), GrapeRefused).value
        self.assertEqual((error.status, error.code), (500, "ERR_GRAPE_PAYLOAD_INVALID"))


class ItemTests(LinkCase):
    def test_an_immutable_item_comes_back_checked(self) -> None:
        target = self.successResultOf(self.link.put("Hello World!"))
        self.assertEqual(target, "e5f96f6f38320f0f33959cb4d3d656452117aadb")
        item = self.successResultOf(self.link.get(target.upper()))
        assert isinstance(item, Item)
        self.assertEqual((item.value, item.hash, item.seq), ("Hello World!", target, None))

    def test_a_mutable_item_comes_back_checked(self) -> None:
        target = self.successResultOf(self.link.put_mutable("v1", KEY, 3, salt="s", cas=2))
        _, _, data = self.grapes.requests[0]
        self.assertEqual((data["seq"], data["cas"], data["salt"]), (3, 2, "s"))
        item = self.successResultOf(self.link.get(target, salt=b"s"))
        assert isinstance(item, Item)
        self.assertEqual((item.value, item.seq, item.public_key), ("v1", 3, KEY.public))

    def test_get_of_nothing_is_none(self) -> None:
        self.assertIsNone(self.successResultOf(self.link.get("0" * 40)))

    def test_a_forged_item_is_not_believed(self) -> None:
        target = self.successResultOf(self.link.put("honest"))
        self.grapes.items[target] = {"v": "forged"}
        waiting = self.link.get(target)
        self.clock.advance(0.2)
        error = self.failureResultOf(waiting, GrapeUnreachable).value
        self.assertIn("does not have that hash", str(error))

    def test_a_forging_grape_is_passed_over(self) -> None:
        target = self.successResultOf(self.link.put("honest"))
        self.grapes.scripted["one"] = lambda _: ok({"v": "forged"})
        item = self.successResultOf(self.link.get(target))
        assert isinstance(item, Item)
        self.assertEqual(item.value, "honest")

    def test_a_failed_put_is_an_error_although_the_status_is_200(self) -> None:
        self.grapes.scripted["put"] = lambda _: ok("All queries failed")
        error = self.failureResultOf(self.link.put("x"), GrapeRefused).value
        self.assertTrue(error.lonely)
        self.assertEqual(self.hosts(), ["one", "two"])

    def test_a_put_answered_with_another_hash_is_not_believed(self) -> None:
        self.grapes.scripted["put"] = lambda _: ok("0" * 40)
        waiting = self.link.put("x")
        self.clock.advance(0.2)
        self.assertIn("is right", str(self.failureResultOf(waiting, GrapeUnreachable).value))

    def test_arguments_that_cannot_be_stored_are_refused_by_name(self) -> None:
        for deferred, word in [
            (self.link.put("é" * 500), "999 bytes"),
            (self.link.put(5), "text"),  # type: ignore[arg-type]
            (self.link.put_mutable("x", KEY, -1), "seq"),
            (self.link.put_mutable("x", KEY, True), "seq"),
            (self.link.put_mutable("x", KEY, 1, cas=2**53), "cas"),
            (self.link.put_mutable("x", KEY, 1, salt="s" * 65), "salt"),
            (self.link.get("abc"), "40 hexadecimal digits"),
            (self.link.announce("svc", 0), "port"),
            (self.link.announce("svc", 65536), "port"),
            (self.link.announce("svc", True), "port"),
        ]:
            error = self.failureResultOf(deferred, LocalProtocolError).value  # type: ignore[arg-type]
            self.assertIn(word, str(error))
        self.assertEqual(self.grapes.requests, [])


class AnnouncingTests(LinkCase):
    def test_a_service_is_announced_now_and_a_third_of_a_records_life_later(self) -> None:
        running = self.link.start_announcing("svc", 1337)
        self.assertEqual(self.successResultOf(running.when_announced()), 1)
        self.assertEqual(len(self.grapes.requests), 1)
        self.clock.advance(35.9)
        self.assertEqual(len(self.grapes.requests), 1)
        self.clock.advance(4.1)
        self.assertEqual(len(self.grapes.requests), 2)
        self.assertEqual(self.grapes.requests[1], ("one", "announce", ["svc", 1337]))
        self.assertTrue(35.9 < running.last_success <= 40.0)

    def test_failures_are_tried_again_sooner_and_the_last_success_is_told(self) -> None:
        self.grapes.refusing = {"one", "two"}
        running = self.link.start_announcing("svc", 1337)
        waiting = running.when_announced()
        self.clock.advance(0.2)
        self.assertNoResult(waiting)
        self.assertIsInstance(running.last_error, GrapeUnreachable)
        self.assertIsNone(running.last_success)
        self.grapes.refusing = set()
        self.clock.advance(1.0)
        self.assertEqual(self.successResultOf(waiting), 1)
        self.assertIsNone(running.last_error)
        self.assertTrue(1.0 < running.last_success <= 1.2)

    def test_pauses_after_failures_double_up_to_the_usual_one(self) -> None:
        self.grapes.refusing = {"one"}
        link = self.make(ONE)
        link.start_announcing("svc", 1337)
        times: list[float] = []
        while self.clock.seconds() < 200:
            before = len(self.grapes.requests)
            self.clock.advance(0.1)
            if len(self.grapes.requests) > before:
                times.append(self.clock.seconds())
        # each failed announcement asks the grape twice, 0.2 s apart
        starts = [one for last, one in pairwise([-1.0, *times]) if one - last > 0.5]
        pauses = [later - one for one, later in pairwise(starts)]
        self.assertTrue(all(a <= b * 1.2 for a, b in pairwise(pauses)), pauses)
        self.assertTrue(36 <= pauses[-1] <= 40.5, pauses)
        link.close()

    def test_starting_twice_gives_the_running_one(self) -> None:
        first = self.link.start_announcing("svc", 1337)
        self.assertIs(self.link.start_announcing("svc", 1337), first)
        self.assertEqual(len(self.grapes.requests), 1)
        self.assertIsNot(self.link.start_announcing("svc", 1338), first)

    def test_stopping_stops(self) -> None:
        self.link.start_announcing("svc", 1337)
        self.assertTrue(self.link.stop_announcing("svc", 1337))
        self.assertFalse(self.link.stop_announcing("svc", 1337))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.link.announcements, [])

    def test_stopping_in_the_middle_of_a_request_leaves_nothing_behind(self) -> None:
        self.grapes.silent = {"one"}
        running = self.link.start_announcing("svc", 1337)
        waiting = running.when_announced()
        running.stop()
        self.failureResultOf(waiting, CancelledError)
        self.failureResultOf(running.when_announced(), CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_bad_port_is_refused_at_once(self) -> None:
        with pytest.raises(LocalProtocolError, match="port"):
            self.link.start_announcing("svc", 70000)


class ClosingTests(LinkCase):
    def test_closing_ends_every_wait_and_every_timer(self) -> None:
        self.grapes.silent = {"one", "two"}
        waiting = self.link.lookup("svc")
        self.link.start_announcing("svc", 1)
        self.successResultOf(self.link.close())
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_closed_link_says_so(self) -> None:
        self.successResultOf(self.link.close())
        self.failureResultOf(self.link.lookup("svc"), LocalProtocolError)
        with pytest.raises(LocalProtocolError, match="closed"):
            self.link.start_announcing("svc", 1)

    def test_a_grape_that_the_http_client_cannot_ask_costs_no_other_grape(self) -> None:
        request = self.grapes.request

        def refuse(method: str, url: str, **kwargs):
            if "//one" in url:
                raise ValueError("invalid hostname: one")
            return request(method, url, **kwargs)

        self.grapes.request = refuse
        self.grapes.peers["svc"] = ["10.0.0.1:1"]
        self.assertEqual(self.successResultOf(self.link.lookup("svc")), ["10.0.0.1:1"])
        self.assertEqual(self.hosts(), ["two"])

    def test_too_many_requests_in_flight_are_refused(self) -> None:
        link = self.make(ONE, requests_max=2)
        self.grapes.silent = {"one"}
        waiting = [link.lookup("a"), link.lookup("b"), link.lookup("b")]
        self.failureResultOf(link.lookup("c"), LinkBusy)
        link.close()
        for one in waiting:
            self.failureResultOf(one, CancelledError)


class FreshItemTests(LinkCase):
    """A grape that missed an update: it holds one version, and the others a newer one."""

    def setUp(self) -> None:
        super().setUp()
        self.link.close()
        self.link = self.make(ONE)
        self.target = mutable_hash(KEY.public, b"")
        held = {"token": None, **signed_put("old", KEY, 1, b"", None)}
        self.others: dict | None = {"token": "00", **signed_put("new", KEY, 2, b"", None)}

        def answer(data):
            if isinstance(data, dict) and data.get("cache") is False:
                return (200, b"") if self.others is None else ok({"id": "11" * 20, **self.others})
            return ok({"id": "00" * 20, **held})

        self.grapes.scripted["get"] = answer

    def value(self, **options) -> str:
        item = self.successResultOf(self.link.get(self.target, **options))
        assert item is not None
        return item.value

    def test_fresh_asks_past_what_the_grape_holds(self) -> None:
        self.assertEqual(self.value(), "old")
        self.assertEqual(self.value(fresh=True), "new")
        asked = [data for _, _, data in self.grapes.requests]
        self.assertEqual(asked, [self.target, {"hash": self.target, "cache": False}])

    def test_fresh_takes_what_the_grape_holds_where_others_hold_nothing(self) -> None:
        self.others = None
        self.assertEqual(self.value(fresh=True), "old")


def test_a_link_is_told_what_is_wrong_with_a_grapes_url() -> None:
    for url in ["127.0.0.1:30001", "ftp://a:1", "http://", "http://a:99999", "http://a:1/?x=1"]:
        with pytest.raises(LocalProtocolError, match="URL"):
            Link(url, Clock())
    with pytest.raises(LocalProtocolError, match="at least one"):
        Link([], Clock())
    assert Link("http://a:1/", Clock()).grapes == ["http://a:1"]


BAD_URLS = {
    "http://[zz]:1": "looks like",
    "http://[::1%25lo]:1": "IPv6",
    "http://[::1]x:1": "looks like|IPv6",
    "http://a_b:1": "host name",
    "http://a..b:1": "host name",
    "http://-a:1": "host name",
    "http://ab--c:1": "host name",
    f"http://{'a' * 64}:1": "host name",
    f"http://{'.'.join(['a' * 60] * 5)}:1": "host name",
    "http://%61:1": "host name",
    "http://\u2603..\u2603:1": "host name",
    "http://user:secret@a:1": "user name",
    "http://user:secret@a b:1": "user name",
    "http://a b:1": "blanks",
    "http://a:1\n": "blanks",
    "http://a\0b:1": "control",
    "http://a:": "looks like",
    "http://a:1/\xe9": "ASCII",
    "http://a:1?": "query",
}


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_url_that_could_not_be_asked_is_refused_when_it_is_given(url: str) -> None:
    with pytest.raises(LocalProtocolError, match=BAD_URLS[url]) as refused:
        Link([ONE, url], Clock())
    assert "secret" not in str(refused.value)


def test_urls_are_kept_in_ascii() -> None:
    for url in ["http://[::1]:1", "https://a.example.", "http://a:1/base/x", "http://127.0.0.1:1"]:
        assert Link(url, Clock()).grapes == [url]
    assert Link("http://b\xfccher.example:1", Clock()).grapes == ["http://xn--bcher-kva.example:1"]


def test_request_bytes_are_those_of_nodes_link() -> None:
    """The body a real grape was sent by the real link, member for member."""
    vectors = json.loads((VECTORS / "link_http_client.json").read_text())
    texts = [
        part["text"]
        for connection in vectors["connections"]
        for part in connection["exchange"]
        if part.get("dir") == "client" and "text" in part
    ]
    assert len(texts) >= 8
    from grenache_py.link.answers import request_body

    for text in texts:
        body = text.partition("\r\n\r\n")[2]
        value = json.loads(body)
        assert request_body(value["rid"], value["data"]).decode() == body


def test_every_error_is_a_link_error() -> None:
    for kind in (GrapeRefused, GrapeUnreachable, BadAnswer, LinkBusy):
        assert issubclass(kind, LinkError)


class WatchTests(LinkCase):
    def test_the_addresses_come_at_once_and_then_when_they_change(self) -> None:
        watch = self.link.watch("svc", every_s=10)
        self.assertEqual(self.next(watch, 0), [])
        following = Deferred.fromCoroutine(watch.__anext__())
        self.clock.advance(10)
        self.assertNoResult(following)
        self.grapes.peers["svc"] = ["10.0.0.2:2", "10.0.0.1:1"]
        self.clock.advance(10)
        self.assertEqual(self.successResultOf(following), ["10.0.0.1:1", "10.0.0.2:2"])
        self.grapes.peers["svc"].reverse()
        following = Deferred.fromCoroutine(watch.__anext__())
        self.clock.advance(10)
        self.assertNoResult(following)
        self.assertEqual(repr(watch), "<AddressWatch 'svc': ['10.0.0.1:1', '10.0.0.2:2']>")
        following.cancel()
        self.failureResultOf(following, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_lookup_that_fails_changes_nothing(self) -> None:
        self.grapes.peers["svc"] = ["10.0.0.1:1"]
        watch = self.link.watch("svc", every_s=10)
        self.assertEqual(self.next(watch, 0), ["10.0.0.1:1"])
        self.grapes.refusing = {"one", "two"}
        following = Deferred.fromCoroutine(watch.__anext__())
        self.clock.pump([10, 0.2])
        self.assertNoResult(following)
        self.assertIsInstance(watch.last_error, GrapeUnreachable)
        self.grapes.refusing = set()
        self.grapes.peers["svc"] = ["10.0.0.2:2"]
        self.clock.advance(10)
        self.assertEqual(self.successResultOf(following), ["10.0.0.2:2"])
        self.assertIsNone(watch.last_error)

    def test_it_ends_with_the_link(self) -> None:
        self.assertRaises(LocalProtocolError, self.link.watch, "")
        watch = self.link.watch("svc")
        self.link.close()
        self.failureResultOf(Deferred.fromCoroutine(watch.__anext__()), LocalProtocolError)

    def next(self, watch: AddressWatch, seconds: float) -> list[str]:
        following = Deferred.fromCoroutine(watch.__anext__())
        self.clock.advance(seconds)
        return self.successResultOf(following)
