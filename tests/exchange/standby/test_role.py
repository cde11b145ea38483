"""One daemon's role: when it takes the term, when it has none, and that it always ends a wait."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grenache_py.exchange.standby.role import LOOK_S, MODEST_S, SILENT_S, DaemonRole
from grenache_py.exchange.standby.role_effects import (
    Ask,
    DropNode,
    EndSessions,
    Finish,
    GiveUp,
    LoadNode,
    Look,
    Raise,
    RoleEffect,
    TwoDatabases,
)
from grenache_py.exchange.standby.role_states import RoleState
from grenache_py.exchange.standby.term import Sight, Term

ME, OTHER = "a" * 32, "b" * 32
FREE = Sight(Term(3, "", OTHER), 1000.0, 60.0, "s1")
MINE = Sight(Term(4, "me:7070", ME), 1000.0, 0.1, "s1", (1, 50))
HELD = Sight(Term(4, "other:7070", OTHER), 1000.0, 0.1, "s1")


class Daemon:
    """A role whose clock and database a test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.role = DaemonRole(ME, "me:7070", self.now)

    def effects(self, *kinds: type) -> list[Any]:
        """What it wants now, which must be of these kinds."""
        effects = self.role.take_effects()
        assert [type(effect) for effect in effects] == list(kinds), effects
        return effects

    def look(self, sight: Sight | None, after: float = LOOK_S) -> None:
        """It looks, and sees that."""
        self.now += after
        self.role.tick(self.now)
        [look] = self.effects(Look)
        if sight is None:
            self.role.look_failed(look.step, "no answer", self.now)
        else:
            self.role.seen(look.step, attrs.evolve(sight, at_s=1000.0 + self.now), self.now)

    def raise_term(self) -> LoadNode:
        """It takes over, as far as the node."""
        [ending] = self.effects(EndSessions)
        self.role.ended(ending.step, self.now)
        [raising] = self.effects(Raise)
        self.role.raised(raising.step, raising.number, self.now)
        [load] = self.effects(LoadNode)
        return load

    def serve(self) -> LoadNode:
        """It takes a free term."""
        self.look(FREE, after=0.0)
        load = self.raise_term()
        self.role.loaded(load.step, self.now)
        assert self.role.state is RoleState.SERVING
        return load


def test_a_term_that_was_given_up_is_taken_step_by_step() -> None:
    daemon = Daemon()
    daemon.look(FREE, after=0.0)
    [ending] = daemon.effects(EndSessions)
    assert (ending.number, ending.silent_s) == (3, SILENT_S)
    daemon.role.ended(ending.step, 0.0)
    [raising] = daemon.effects(Raise)
    assert (raising.expected, raising.number, raising.silent_s) == (3, 4, SILENT_S)
    daemon.role.raised(raising.step, 4, 0.0)
    [load] = daemon.effects(LoadNode)
    assert (load.term, load.new_epoch) == (4, False)
    assert daemon.role.state is RoleState.LOADING
    daemon.role.loaded(load.step, 0.0)
    assert (daemon.role.state, daemon.role.term) == (RoleState.SERVING, 4)


def test_a_holder_is_replaced_when_it_was_silent_in_every_look_for_so_long() -> None:
    daemon = Daemon()
    silent = attrs.evolve(HELD, silent_s=9.0)
    for _ in range(4):
        daemon.look(silent)
    daemon.look(None)  # who knows what was said meanwhile
    for _ in range(5):
        daemon.look(silent)
        assert daemon.role.state is RoleState.STANDBY
    daemon.look(silent)
    assert daemon.role.state is RoleState.ENDING


def test_it_looks_at_the_moment_when_a_silence_is_long_enough_and_else_every_quarter() -> None:
    daemon = Daemon()
    for _ in range(9):
        daemon.look(HELD)
    for silent_s, pause_s in ((0.9, LOOK_S), (1.15, 0.105), (1.2495, 0.0055)):
        daemon.look(attrs.evolve(HELD, silent_s=silent_s))
        assert daemon.role.deadline() == pytest.approx(daemon.now + pause_s)
        assert daemon.role.state is RoleState.STANDBY


def test_while_a_commit_waits_for_the_standby_nobody_takes_the_term() -> None:
    watching, holding = Daemon(), Daemon()
    for _ in range(9):
        watching.look(HELD)
    holding.serve()
    holding.role.store_failed("not confirmed", holding.now)
    holding.effects(DropNode)
    for daemon, sight in ((watching, attrs.evolve(HELD, silent_s=9.0)), (holding, MINE)):
        for _ in range(20):
            daemon.look(attrs.evolve(sight, waits_s=1.5))
            daemon.effects()
            assert "synchronous standby that does not answer" in daemon.role.reason
            assert daemon.role.deadline() == daemon.now + LOOK_S
        daemon.look(attrs.evolve(sight, waits_s=0.5))  # as any commit may
        daemon.effects(EndSessions)
    waiting = Daemon()
    waiting.look(attrs.evolve(FREE, waits_s=1.5), after=0.0)
    waiting.effects()


def test_another_server_is_watched_from_the_beginning() -> None:
    daemon = Daemon()
    for _ in range(5):
        daemon.look(attrs.evolve(HELD, silent_s=9.0))
    for _ in range(5):
        daemon.look(attrs.evolve(HELD, silent_s=9.0, server="s2"))
    assert daemon.role.state is RoleState.STANDBY


def test_who_saw_the_holder_alive_at_this_server_need_not_listen() -> None:
    for seen_alive in (True, False):
        daemon = Daemon()
        silent = attrs.evolve(HELD, silent_s=9.0)
        for _ in range(2):
            daemon.look(HELD if seen_alive else silent)
        while daemon.role.state is RoleState.STANDBY:
            daemon.look(silent)
        assert daemon.raise_term().listen is not seen_alive


def test_after_a_failed_commit_its_own_term_is_raised_before_anything_is_loaded() -> None:
    daemon = Daemon()
    daemon.serve()
    daemon.role.store_failed("the wait was cancelled", daemon.now)
    daemon.effects(DropNode)
    assert daemon.role.state is RoleState.FENCED
    daemon.look(MINE)
    [ending] = daemon.effects(EndSessions)
    assert (ending.number, ending.silent_s) == (4, 0.0)
    daemon.role.ended(ending.step, daemon.now)
    [raising] = daemon.effects(Raise)
    assert (raising.expected, raising.number, raising.silent_s) == (4, 5, 0.0)


def test_a_daemon_that_wakes_to_another_holder_stands_by() -> None:
    daemon = Daemon()
    daemon.serve()
    assert daemon.role.certain(daemon.now)
    daemon.now += 60.0
    assert not daemon.role.certain(daemon.now), "it has looked at nothing for a minute"
    daemon.role.store_failed("term 4 is over", daemon.now)
    daemon.effects(DropNode)
    daemon.look(attrs.evolve(HELD, term=Term(5, "other:7070", OTHER)))
    assert daemon.role.state is RoleState.STANDBY
    daemon.effects()


def test_a_holder_sees_by_itself_that_its_term_is_over() -> None:
    daemon = Daemon()
    daemon.serve()
    daemon.look(attrs.evolve(HELD, term=Term(5, "other:7070", OTHER)), after=0.0)
    daemon.effects(DropNode)
    assert daemon.role.state is RoleState.STANDBY


def test_who_decided_to_take_over_and_was_stopped_leaves_a_holder_that_spoke_alone() -> None:
    daemon = Daemon()
    daemon.look(FREE, after=0.0)
    [ending] = daemon.effects(EndSessions)
    daemon.role.outrun(ending.step, daemon.now)
    assert daemon.role.state is RoleState.STANDBY
    daemon.effects()


def test_an_answer_that_comes_too_late_changes_nothing() -> None:
    daemon = Daemon()
    daemon.look(FREE, after=0.0)
    [ending] = daemon.effects(EndSessions)
    daemon.now += 11.0
    daemon.role.tick(daemon.now)
    assert daemon.role.state is RoleState.FENCED
    daemon.role.ended(ending.step, daemon.now)
    assert daemon.role.state is RoleState.FENCED
    daemon.effects()


def test_a_holder_finishes_what_it_took_and_gives_the_term_up_to_the_one_that_is_wanted() -> None:
    daemon = Daemon()
    daemon.serve()
    daemon.look(attrs.evolve(MINE, wanted=OTHER), after=0.0)
    [finish] = daemon.effects(Finish)
    assert daemon.role.state is RoleState.DEMOTING
    daemon.role.finished(finish.step, daemon.now)
    [giving] = daemon.effects(GiveUp)
    assert giving.number == 4
    daemon.role.given_up(giving.step, daemon.now)
    daemon.effects(DropNode)
    free = attrs.evolve(FREE, term=Term(4, "", ME), head=MINE.head)
    daemon.look(free)
    assert daemon.role.state is RoleState.STANDBY, "it leaves it to others"
    daemon.look(free, after=MODEST_S)
    assert daemon.role.state is RoleState.ENDING, "there are none"


def test_who_gave_the_term_up_takes_it_again_once_another_daemon_has_had_it() -> None:
    for had in (False, True):
        daemon = Daemon()
        daemon.serve()
        daemon.role.demote(daemon.now)
        [finish] = daemon.effects(Finish)
        daemon.role.finished(finish.step, daemon.now)
        [giving] = daemon.effects(GiveUp)
        daemon.role.given_up(giving.step, daemon.now)
        daemon.effects(DropNode)
        if had:
            daemon.look(attrs.evolve(HELD, term=attrs.evolve(HELD.term, number=5)))
        daemon.look(Sight(Term(5, "", OTHER if had else ME), 1000.0, 0.1, "s1"))
        assert daemon.role.state is (RoleState.ENDING if had else RoleState.STANDBY)


def test_a_term_is_left_to_the_daemon_that_is_wanted() -> None:
    daemon = Daemon()
    daemon.look(attrs.evolve(FREE, silent_s=1.0, wanted=OTHER), after=0.0)
    assert daemon.role.state is RoleState.STANDBY
    daemon.role.promote(daemon.now)
    assert daemon.effects(Ask)[0].boot == ME
    daemon.look(attrs.evolve(FREE, silent_s=1.0, wanted=ME))
    assert daemon.role.state is RoleState.ENDING


def test_nobody_serves_from_a_database_that_may_lose_commits() -> None:
    daemon = Daemon()
    daemon.look(attrs.evolve(FREE, unsafe="no standby is named"), after=0.0)
    assert (daemon.role.state, daemon.role.reason) == (RoleState.STANDBY, "no standby is named")
    daemon.look(FREE)
    load = daemon.raise_term()
    daemon.role.loaded(load.step, daemon.now)
    daemon.look(attrs.evolve(MINE, unsafe="no standby is named"), after=0.0)
    daemon.effects(DropNode)
    assert daemon.role.state is RoleState.FENCED


def test_a_database_that_has_less_than_was_acknowledged_needs_the_operators_word() -> None:
    daemon = Daemon()
    daemon.serve()
    daemon.role.committed((1, 50))
    daemon.role.store_failed("gone", daemon.now)
    daemon.effects(DropNode)
    older = attrs.evolve(MINE, head=(1, 49), server="s2")
    daemon.look(older)
    assert daemon.role.state is RoleState.FENCED
    assert "--new-epoch" in daemon.role.reason
    daemon.role.promote(daemon.now, new_epoch=True)
    daemon.effects(Ask)
    daemon.look(older)
    load = daemon.raise_term()
    assert load.new_epoch
    daemon.role.loaded(load.step, daemon.now)
    daemon.role.store_failed("again, before the epoch was written", daemon.now)
    daemon.effects(DropNode)
    daemon.look(attrs.evolve(older, term=Term(load.term, "me:7070", ME)))
    assert daemon.raise_term().new_epoch, "it still has to begin one"
    daemon.role.committed((9, 1))
    daemon.role.store_failed("after it", daemon.now)
    daemon.effects(DropNode)
    daemon.look(attrs.evolve(older, term=Term(load.term + 1, "me:7070", ME), head=(9, 1)))
    assert not daemon.raise_term().new_epoch


def test_a_term_after_a_loss_is_above_any_that_was_lost() -> None:
    daemon = Daemon()
    daemon.role.promote(daemon.now, new_epoch=True)
    daemon.effects(Ask)
    daemon.role.tick(daemon.now)
    [look] = daemon.effects(Look)
    daemon.role.seen(look.step, attrs.evolve(FREE, at_s=1_800_000_000.0), daemon.now)
    assert daemon.raise_term().term == 1_800_000_000 - 1_767_225_600


def test_a_higher_term_that_a_peer_shows_is_a_takeover_or_a_copy_as_the_database_says() -> None:
    for sight, kind, state in (
        (attrs.evolve(HELD, term=Term(9, "other:7070", OTHER)), DropNode, RoleState.STANDBY),
        (MINE, TwoDatabases, RoleState.SERVING),
    ):
        daemon = Daemon()
        daemon.serve()
        daemon.role.tick(daemon.now)
        [before] = daemon.effects(Look)
        daemon.role.superseded(9, daemon.now)
        daemon.role.seen(before.step, MINE, daemon.now)
        daemon.effects()  # that look may have been made before the takeover
        daemon.look(sight)
        daemon.effects(kind)
        assert daemon.role.state is state


def test_a_stopped_daemon_wants_nothing_more() -> None:
    daemon = Daemon()
    daemon.serve()
    daemon.role.stop()
    daemon.effects(DropNode)
    daemon.role.tick(99.0)
    daemon.role.stop()
    daemon.effects()
    assert daemon.role.deadline() is None


sights = st.builds(
    Sight,
    st.sampled_from([Term(), FREE.term, HELD.term, MINE.term, Term(7, "me:7070", ME)]),
    st.just(0.0),
    st.sampled_from([0.0, 2.0, 60.0]),
    st.sampled_from(["s1", "s2"]),
    st.sampled_from([(0, 0), (1, 5), (1, 9)]),
    st.sampled_from(["", ME, OTHER]),
    st.sampled_from(["", "", "", "no standby is named"]),
)


class Follower:
    """What a shell may do with one role, in any order, and what must hold of it."""

    def __init__(self) -> None:
        self.role = DaemonRole(ME, "me:7070", 0.0)
        self.now = 0.0
        self.under_way: list[RoleEffect] = []
        self.has_node = False
        self.raised = 0

    def do(self, what: str, sight: Sight, which: int, seconds: float) -> None:
        role, self.now = self.role, self.now + seconds
        if what in {"answer", "fail", "outrun"} and self.under_way:
            self.answer(self.under_way.pop(which % len(self.under_way)), what, sight)
        elif what == "commit fails":
            role.store_failed("it failed", self.now)
        elif what == "promote":
            role.promote(self.now, new_epoch=which == 0)
        elif what == "demote":
            role.demote(self.now)
        elif what == "superseded":
            role.superseded(which, self.now)
        elif what == "stop":
            role.stop()
        else:
            role.tick(self.now)
        self.check()

    def answer(self, effect: RoleEffect, how: str, sight: Sight) -> None:
        role, now = self.role, self.now
        if isinstance(effect, Look):
            if how != "fail":
                role.seen(effect.step, attrs.evolve(sight, at_s=now), now)
            else:
                role.look_failed(effect.step, "no answer", now)
        elif isinstance(effect, EndSessions | Raise | LoadNode | Finish | GiveUp):
            if how == "fail":
                role.failed(effect.step, "no answer", now)
            elif isinstance(effect, EndSessions | Raise) and how == "outrun":
                role.outrun(effect.step, now)
            elif isinstance(effect, EndSessions):
                role.ended(effect.step, now)
            elif isinstance(effect, Raise):
                role.raised(effect.step, effect.number, now)
            elif isinstance(effect, LoadNode):
                role.loaded(effect.step, now)
            elif isinstance(effect, Finish):
                role.finished(effect.step, now)
            else:
                role.given_up(effect.step, now)

    def check(self) -> None:
        role = self.role
        for effect in role.take_effects():
            if isinstance(effect, LoadNode):
                assert not self.has_node, "one node at a time"
                assert effect.term > self.raised, "each node has a term of its own"
                self.has_node, self.raised = True, effect.term
            elif isinstance(effect, DropNode):
                assert self.has_node
                self.has_node = False
            elif isinstance(effect, Raise):
                assert effect.number > effect.expected
                assert not self.has_node
            if not isinstance(effect, DropNode | Ask | TwoDatabases):
                self.under_way.append(effect)
        with_node = {RoleState.LOADING, RoleState.SERVING, RoleState.DEMOTING}
        assert self.has_node is (role.state in with_node)
        assert bool(role.term) is self.has_node
        assert bool(role.reason) is (role.state is not RoleState.SERVING)
        if role.state is not RoleState.SERVING:
            assert not role.certain(self.now)
        deadline = role.deadline()
        if role.state is RoleState.STOPPED:
            assert deadline is None
        else:
            assert deadline is not None, "every wait ends"


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                ["answer"] * 6
                + [
                    "fail",
                    "outrun",
                    "tick",
                    "tick",
                    "commit fails",
                    "promote",
                    "demote",
                    "superseded",
                ]
                + ["stop"]
            ),
            sights,
            st.integers(0, 9),
            st.sampled_from([0.0, 0.01, 0.25, 1.0, 20.0]),
        ),
        max_size=60,
    )
)
def test_whatever_happens_in_whatever_order_there_is_one_node_a_term_and_an_end_to_each_wait(
    events: list[tuple[str, Sight, int, float]],
) -> None:
    follower = Follower()
    for event in events:
        follower.do(*event)
