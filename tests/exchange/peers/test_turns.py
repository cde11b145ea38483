"""Whose turn it is: links pay for what they ask, and nobody is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grenache_py.exchange.peers.turns import (
    ANSWER_BYTES_AT_ONCE,
    ANSWER_BYTES_EARNED_PER_S,
    ANSWER_BYTES_PER_S,
    LINE_POINT_BYTES,
    TURN_LINES_MAX,
    TURN_POINTS,
    Turn,
    Turns,
)


def work(turns: Turns, turn: Turn, lines: int, points: int) -> int:
    """A link takes as many lines as it may, and waits with the rest; how many it took."""
    taken = 0
    if turns.begin(turn):
        while taken < lines and turns.goes_on(turn):
            turns.pay_line(turn, b"")
            turns.pay(turn, points, 0)
            taken += 1
    if taken < lines:
        turns.wait(turn)
    return taken


def test_a_turn_has_so_many_lines_or_points() -> None:
    assert work(Turns(), Turn(), 100, 1) == TURN_LINES_MAX
    assert work(Turns(), Turn(), 100, 100) == TURN_POINTS // 100
    assert work(Turns(), Turn(), 100, 2_000) == 1


def test_all_links_together_get_one_turn_between_two_visits() -> None:
    turns, links = Turns(), [Turn() for _ in range(10)]
    line = TURN_POINTS // 5
    assert sum(work(turns, link, 10, line) for link in links) == 5
    assert turns.visit() is links[0], "it was the first to wait"
    assert work(turns, links[0], 5, line) == 5
    assert work(turns, links[1], 10, line) == 0, "its turn is after the next visit"
    assert turns.visit() is links[1]


@given(st.lists(st.tuples(st.integers(1, 3_000), st.integers(1, 64)), min_size=2, max_size=8))
def test_what_was_overspent_is_owed_so_all_get_the_same_points(
    kinds: list[tuple[int, int]],
) -> None:
    turns = Turns()
    links = {Turn(): points for points, _ in kinds}
    spent = dict.fromkeys(links, 0)
    for link in links:
        turns.wait(link)
    for _ in range(4_000):
        link = turns.visit()
        if link is not None:
            spent[link] += links[link] * work(turns, link, 1_000, links[link])
    for link, points in links.items():
        cheap = points * TURN_LINES_MAX < TURN_POINTS  # its turns end with their lines
        assert cheap or max(spent.values()) - spent[link] <= TURN_POINTS + max(links.values())


def test_an_only_link_that_owes_much_is_served_after_some_visits() -> None:
    turns, link = Turns(), Turn()
    assert work(turns, link, 2, 4 * TURN_POINTS + 100) == 1
    visits = [turns.visit() for _ in range(4)]
    assert visits == [None, None, None, link]
    assert work(turns, link, 1, 2_100) == 1


def test_a_link_that_is_gone_leaves_the_row() -> None:
    turns, link = Turns(), Turn()
    work(turns, link, 2, 2_100)
    turns.forget(link)
    turns.forget(link)
    assert turns.empty and turns.visit() is None


def test_bytes_of_answers_beyond_what_is_given_at_once_come_at_their_rate() -> None:
    turns, link = Turns(), Turn()
    assert turns.answers_wait_s(link, 100.0) == 0
    turns.pay(link, 1, ANSWER_BYTES_AT_ONCE + ANSWER_BYTES_PER_S)
    assert turns.answers_wait_s(link, 100.0) == pytest.approx(1.0)
    assert turns.answers_wait_s(link, 100.5) == pytest.approx(0.5)
    assert turns.answers_wait_s(link, 90.0) == pytest.approx(0.5), "a clock that was set back"
    assert turns.answers_wait_s(link, 90.5) == 0
    assert turns.answers_wait_s(link, 1_000.0) == 0
    turns.pay(link, 1, ANSWER_BYTES_AT_ONCE)
    assert turns.answers_wait_s(link, 1_000.0) == 0


def test_links_that_owe_answers_share_what_one_alone_would_get() -> None:
    turns, links = Turns(), [Turn() for _ in range(4)]
    for link in links:
        turns.answers_wait_s(link, 0.0)
        turns.pay(link, 1, ANSWER_BYTES_AT_ONCE + ANSWER_BYTES_PER_S // 4)
    assert turns.answers_wait_s(links[0], 0.0) == pytest.approx(1.0)
    for gone in links[2:]:
        turns.forget(gone)
    assert turns.answers_wait_s(links[0], 0.25) == pytest.approx(0.25), "half of it is left"


@given(st.integers(1, 48), st.integers(1, 65_536))
def test_however_many_ask_their_answers_keep_to_the_rate_of_all(many: int, size: int) -> None:
    turns, links = Turns(), [Turn() for _ in range(many)]
    sent, seconds, steps = 0, 4, 400
    for step in range(steps):
        for link in links:
            if not turns.answers_wait_s(link, step * seconds / steps):
                turns.pay(link, 1, size * 256)
                sent += size * 256
    most = many * (ANSWER_BYTES_AT_ONCE + seconds * ANSWER_BYTES_EARNED_PER_S + size * 256)
    assert sent <= most + seconds * ANSWER_BYTES_PER_S


def test_a_long_line_costs_what_it_takes_to_decode_at_worst() -> None:
    turns, link = Turns(), Turn()
    assert turns.begin(link)
    turns.pay_line(link, b"x" * 62_000)
    assert link.points == TURN_POINTS - 62_000 // LINE_POINT_BYTES
    turns.pay_line(link, b"x" * 62_000)
    assert not turns.goes_on(link)
