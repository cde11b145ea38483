"""A home serves after it has listened, without an alarm, by a clock that is right."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from grenache_py.exchange.errors import BUSY, OrderError
from grenache_py.exchange.peers.neighbour_clocks import NeighbourClocks
from grenache_py.exchange.serving import ALONE_S, DOUBT_S, LISTEN_S, Serving
from grenache_py.exchange.signed_log.hybrid_clock import HybridClock
from tests.support.peers import Network

HOUR = 3600.0


def refusal(net: Network, number: int) -> str:
    """Why a peer takes no order; "" when it does."""
    try:
        net.place(number, "buy", 1, 50)
    except OrderError as error:
        assert error.code == BUSY
        return error.message
    return ""


def test_a_disk_that_lost_its_last_commits_signs_nothing_before_it_finds_them_elsewhere() -> None:
    """cp -r, or a snapshot of a virtual machine: it signed a second history within 3 s."""
    net = Network(2)
    net.link(0, 1)
    net.place(1, "buy", 1, 20)
    net.place(0, "sell", 10, 100, expires_ms=int(net.now * 1000) + 40_000, time_in_force="gtd")
    image = net.peers[0].copy_of_disk()
    net.place(0, "sell", 10, 101)
    net.run(60)  # 0 is gone for long: its lease is over, and so is the order's time
    net.cut(0)
    for _ in range(60):
        net.now += 1
        net[1].tick(net.now)
        net.turn(net.peers[1])
    net.peers[0].lose_since(image)
    net.restart(0)
    seq = net[0].ledger.log.seq
    assert "listens" in refusal(net, 0)
    net.run(1)
    assert "listens" in refusal(net, 0), "it has not reached anybody yet"
    net.link(0, 1)
    net.run(LISTEN_S + 30)
    assert "old copy" in refusal(net, 0)
    [alarm] = net[0].alarms()
    assert "--new-epoch" in alarm
    assert net[0].ledger.log.seq == seq, "no order, no stamp, no heartbeat, no expiry"
    assert not net[1].replica.origins[net[0].key].frozen


def test_a_home_with_a_long_log_does_not_beat_in_its_first_batch() -> None:
    net = Network(2)
    net.link(0, 1)
    for number in range(505):
        net.place_only(0, "buy", 1, 100 + number % 7)
    net.settle()
    net.restart(0)
    seq = net[0].ledger.log.seq
    net.run(2)
    assert net[0].ledger.log.seq == seq


def test_a_home_that_only_knows_itself_serves_at_once() -> None:
    net = Network(1)
    net.place(0, "sell", 10, 100)
    net.restart(0)
    assert refusal(net, 0) == ""


def test_a_home_that_reaches_nobody_serves_in_the_end() -> None:
    net = Network(2)
    net.link(0, 1)
    net.place(0, "sell", 10, 100)
    net.place(1, "buy", 1, 20)
    net.restart(0)
    net.run(ALONE_S - 1)
    assert "listens" in refusal(net, 0)
    net.run(2)
    assert refusal(net, 0) == ""


class Neighbours:
    """Links that say how far this clock is ahead, and a home that hears them."""

    def __init__(self) -> None:
        self.links: dict[str, Any] = {}
        self.now = 1_790_000_000.0
        self.clock = HybridClock(int(self.now * 1000))
        table: Any = SimpleNamespace(by_key=self.links)
        self.clocks = NeighbourClocks(table)
        self.serving = Serving(
            self.clock, self.clocks, lambda: list(self.links.values()), [], lambda: False
        )

    def say(self, *ahead_s: float, outbound: bool = True) -> None:
        for number, seconds in enumerate(ahead_s):
            self.links[f"{outbound}{number}"] = SimpleNamespace(
                clock_ahead_s=seconds, clock_at=self.now, outbound=outbound
            )

    def after(self, seconds: int) -> None:
        for _ in range(seconds):
            self.now += 1.0
            for link in self.links.values():
                link.clock_at = self.now
            self.serving.tick(self.now)


def test_a_home_whose_clock_is_off_takes_no_new_orders_and_names_both_clocks() -> None:
    home = Neighbours()
    told: list[tuple[int, int]] = []
    home.serving.on_change.append(lambda alarms, warns: told.append((len(alarms), len(warns))))
    home.serving.begin(False, True, home.now)
    home.say(0.4, 0.2)
    home.after(2)
    home.say(3.0, 3.1)
    home.after(2)
    home.serving.must_take()
    [warning] = home.serving.warnings()
    assert warning.count("UTC") == 2
    home.say(7.0, 8.0)
    home.after(2)
    with pytest.raises(OrderError, match=r"UTC.*UTC"):
        home.serving.must_take()
    home.serving.must_sign()  # what it promised before, it keeps
    home.say(0.1, 0.1)
    home.after(1)
    home.serving.must_take()
    assert told == [(0, 1), (1, 0), (0, 0)], "each change is told once"


def test_one_liar_of_two_or_many_that_dial_in_do_not_stop_a_home() -> None:
    home = Neighbours()
    home.serving.begin(False, True, home.now)
    home.say(0.1, HOUR)
    home.after(1)
    home.serving.must_take()
    home.say(*[HOUR] * 9, outbound=False)
    home.after(1)
    home.serving.must_take()


@pytest.mark.parametrize("wrong", [3 * HOUR, -3 * HOUR])
def test_a_home_that_boots_with_a_clock_hours_wrong_does_not_follow_it(wrong: float) -> None:
    home = Neighbours()
    right_ms = home.clock.ms
    home.now += wrong
    home.serving.begin(True, True, home.now)
    home.say(wrong, wrong, wrong)
    home.after(20)
    assert not home.serving.listening
    assert home.clock.resting
    assert abs(home.clock.stamp(home.now)[0] - right_ms) < 60_000
    with pytest.raises(OrderError, match="UTC"):
        home.serving.must_take()
    home.now -= wrong - 60
    home.say(0.0, 0.0, 0.0)
    home.after(2)
    assert not home.clock.resting
    home.serving.must_take()


def test_a_clock_that_is_an_hour_ahead_before_the_network_is_up_is_not_followed() -> None:
    """Otherwise its stamps would be an hour ahead for an hour, and nobody would take them."""
    home = Neighbours()
    right_ms = home.clock.ms
    home.now += HOUR
    home.serving.begin(True, True, home.now)
    home.after(int(ALONE_S) + 1)
    home.serving.must_take()
    home.links["new"] = SimpleNamespace(clock_ahead_s=None, clock_at=0.0, outbound=True)
    home.after(40)  # one that has not told its time
    assert home.clock.stamp(home.now)[0] == right_ms
    home.now -= HOUR
    home.say(0.0)
    home.after(1)
    assert home.clock.read_ms(home.now) == right_ms + 52_000


def test_a_clock_that_leapt_is_followed_when_nobody_tells_the_time_for_long() -> None:
    home = Neighbours()
    home.now += HOUR  # it was switched off
    home.serving.begin(True, True, home.now)
    home.after(int(DOUBT_S) - 1)
    assert home.clock.resting
    home.after(1)
    assert home.clock.read_ms(home.now) == int(home.now * 1000)


def test_a_clock_that_leaps_is_followed_when_the_neighbours_agree_or_are_gone() -> None:
    home = Neighbours()
    home.serving.begin(False, False, home.now)
    home.say(0.0)
    home.after(2)
    home.now += HOUR  # asleep, and so were the measurements
    assert home.clock.read_ms(home.now) < (home.now - HOUR + 10) * 1000
    home.serving.tick(home.now)
    assert home.clock.resting
    home.after(1)
    assert home.clock.read_ms(home.now) == int(home.now * 1000)
    home.links.clear()
    home.now += HOUR
    assert home.clock.read_ms(home.now) == int(home.now * 1000)


def test_a_time_that_is_about_to_be_put_right_is_not_followed() -> None:
    home = Neighbours()
    before = home.clock.ms
    home.now += HOUR  # the machine booted with a wrong clock
    home.serving.begin(True, True, home.now)
    home.say(HOUR)
    home.after(30)
    home.serving.wall_jumps = lambda: True  # it is right by now, and followed when that has lasted
    home.after(int(DOUBT_S))
    assert home.clock.resting and home.clock.ms == before
    home.now -= HOUR
    home.serving.wall_jumps = lambda: False
    home.say(0.0)
    home.after(10)
    assert home.clock.read_ms(home.now) == int(home.now * 1000)
    home.serving.must_take()


def test_one_neighbour_alone_is_not_believed_for_ever() -> None:
    home = Neighbours()
    home.serving.begin(True, True, home.now)
    home.say(HOUR)
    home.after(30)
    with pytest.raises(OrderError, match="a neighbour's"):
        home.serving.must_take()
    home.after(int(DOUBT_S))
    home.serving.must_take()
    assert home.serving.warnings()


def test_a_home_whose_stamps_are_an_hour_ahead_says_so_and_takes_no_orders() -> None:
    """Its wall clock was put right since; nobody takes what it signs before that hour has come."""
    home = Neighbours()
    home.serving.begin(False, False, home.now)
    home.clock.resume(int((home.now + HOUR) * 1000), 0)
    home.after(1)
    home.serving.must_take()  # a market of one
    home.say(0.1, -0.1)
    home.after(1)
    assert list(home.serving.raised()) == ["stamps-ahead"]
    [alarm] = home.serving.alarms()
    assert alarm.count(" UTC") == 3
    with pytest.raises(OrderError, match="log is of"):
        home.serving.must_take()
    home.serving.must_sign()  # cancels and fills
    home.after(int(HOUR))
    assert not home.serving.raised()
    home.serving.must_take()


@pytest.mark.parametrize("lie", [HOUR, -HOUR])
def test_one_neighbour_cannot_make_a_home_think_its_stamps_ahead(lie: float) -> None:
    home = Neighbours()
    home.serving.begin(False, True, home.now)
    home.say(lie)
    home.after(2)
    assert "stamps-ahead" not in home.serving.raised()
    home.serving.must_take()


def test_a_home_with_a_clock_an_hour_behind_names_the_clock_and_not_its_stamps() -> None:
    home = Neighbours()
    home.now -= HOUR
    home.serving.begin(True, True, home.now)
    home.say(-HOUR, -HOUR)
    home.after(5)
    assert list(home.serving.raised()) == ["clock-wrong"]


def test_both_sides_of_a_link_say_that_a_home_is_an_hour_ahead() -> None:
    net = Network(2)
    net.link(0, 1)
    net.run(10)
    net[0].clock.resume(int((net.now + HOUR) * 1000), 0)
    net.run(10)
    assert [each["id"] for each in net[0].status(net.now)["raised"]] == ["stamps-ahead"]
    early = net[1].status(net.now)["early"]
    assert (early["home"], early["s_ago"] < 10) == (net[0].key, True)
    assert early["time"] / 1000 > net.now + HOUR - 60
