"""
One daemon among several of one identity: when it takes the term, and when it has none.

Pure. See docs/design/standby.rst#roles. The shell calls `DaemonRole.tick` at `DaemonRole.deadline`,
carries out what `DaemonRole.take_effects` gives, in order, and says what came of each. Time is the
daemon's steady clock; who is silent is decided by the database's clock alone.
"""

from __future__ import annotations

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
from grenache_py.exchange.standby.role_states import ROLE_TRANSITIONS, RoleEvent, RoleState
from grenache_py.exchange.standby.term import Sight, Watch

__all__ = ["LOAD_S", "LOOK_PATIENCE_S", "LOOK_S", "SILENT_S", "STEP_S", "DaemonRole"]

#: The database is looked at so often, and by its holder told so often that it lives.
LOOK_S = 0.25
#: A look that has no answer by then has failed.
LOOK_PATIENCE_S = 2.0
#: A holder that has said nothing for so long may be replaced.
SILENT_S = 1.25
#: A term that was given up for a wanted daemon is left to it for so long.
WANTED_S = 5.0
#: Who gave the term up leaves it to others for so long, or until one has had it.
MODEST_S = 30.0
#: A step of a takeover that has no answer by then has failed.
STEP_S = 10.0
#: Likewise the loading of a node: a home may be large.
LOAD_S = 300.0
#: Two clocks do not go at quite the same pace.
_LATER_S = 0.005
#: Terms are seconds since then where numbers may have been lost, as epochs are minutes.
_BEGIN_S = 1_767_225_600  # 2026-01-01

_HAS_NODE = frozenset({RoleState.LOADING, RoleState.SERVING, RoleState.DEMOTING})
_LOOKS = _HAS_NODE | {RoleState.STANDBY, RoleState.FENCED}


class DaemonRole:
    """
    See the module.

    Attributes:
        state: along ``ROLE_TRANSITIONS``.
        term: the one it holds; 0 for none.
        sight: the newest look at the database; None before the first.
        reason: why it does not serve, for people; "" while it does.
        older: the database has less than what this daemon has seen in it.
    """

    def __init__(self, boot: str, holder: str, now: float) -> None:
        """
        Args:
            boot: of this process, 32 hex digits that no other has.
            holder: where clients reach it.
        """
        self.state = RoleState.STANDBY
        self.term = 0
        self.sight: Sight | None = None
        self.reason = "it has not looked at the database yet"
        self.older = False
        self._boot = boot
        self._holder = holder
        self._effects: list[RoleEffect] = []
        self._steps = 0
        self._step = 0  # the one whose answer is awaited; 0 for none
        self._step_ends = 0.0
        self._look = 0  # likewise
        self._look_at = now  # when to look next, or when the look under way has failed
        self._looked_at = now
        self._sure_until = now
        self._watch: Watch | None = None
        self._highest = 0  # term that was ever seen here: perhaps it was not replicated
        self._durable_term = 0  # the newest term that is known to be replicated, and
        self._head = (0, 0)  # entry of the own log; and
        self._look_head = (0, 0)  # the latter when the look under way was asked for
        self._new_epoch = False  # an operator wants one, and
        self._epoch_before: int | None = None  # it is to be above this
        self._modest_until = now
        self._rival = 0  # a higher term that a peer has shown
        self._rival_step = 0  # only looks after this step know about it

    # What the shell asks.

    def take_effects(self) -> list[RoleEffect]:
        """What is to be done, in order."""
        effects, self._effects = self._effects, []
        return effects

    def deadline(self) -> float | None:
        """When ``tick`` has something to do; None: never again."""
        if self.state is RoleState.STOPPED:
            return None
        times = [self._step_ends] if self._step else []
        if self._look or self.state in _LOOKS:
            times.append(self._look_at)
        return min(times)

    def certain(self, now: float) -> bool:
        """
        Whether no other daemon can have taken the term by itself yet.

        What this one has in memory is then the newest there is. A daemon that was stopped and woke
        is not certain before its next look.
        """
        return self.state is RoleState.SERVING and now < self._sure_until

    # What happens.

    def tick(self, now: float) -> None:
        """It is that late."""
        if self.state is RoleState.STOPPED:
            return
        if self._step and now >= self._step_ends:
            self.failed(self._step, "the database did not answer in time", now)
        if now < self._look_at:
            return
        if self._look:
            self.look_failed(self._look, "the database did not answer in time", now)
        elif self.state in _LOOKS:
            self._look_now(now)

    def seen(self, step: int, sight: Sight, now: float) -> None:
        """A look was answered."""
        if step != self._look:
            return
        self._look, self._look_at = 0, now + LOOK_S
        self._watched(sight)
        self.sight = sight
        if sight.term.boot != self._boot:
            self._modest_until = now  # another daemon has had it since
        if self.state in _HAS_NODE:
            self._seen_as_holder(step, sight, now)
        elif self.state is RoleState.FENCED:
            self._seen_as_fenced(sight, now)
        elif self.state is RoleState.STANDBY:
            self.reason = self._why_not(sight, now)
            if not self.reason:
                self._take_over(RoleEvent.ELECT, sight, now)
            elif sight.term.holder:
                self._look_at = now + min(LOOK_S, self._elects_in_s(sight) or LOOK_S)

    def look_failed(self, step: int, reason: str, now: float) -> None:
        """A look has no answer. Who held the term meanwhile nobody knows."""
        if step != self._look:
            return
        self._look, self._look_at = 0, now + LOOK_S
        if self._watch is not None:
            self._watch.broken = True
        if self.state not in _HAS_NODE:  # a holder hears it from its commits
            self.reason = reason

    def ended(self, step: int, now: float) -> None:
        """The sessions of the terms before have ended."""
        if step != self._step:
            return
        self._happened(RoleEvent.ENDED)
        sight = self.sight
        assert sight is not None
        number = sight.term.number + 1
        if self._new_epoch:
            number = max(self._highest + 1, number, int(sight.at_s - _BEGIN_S))
        self._looked_at = now
        self._effects.append(
            Raise(
                self._begin_step(STEP_S, now),
                sight.term.number,
                number,
                self._boot,
                self._holder,
                self._silence(sight),
            )
        )

    def raised(self, step: int, number: int, now: float) -> None:
        """The new term is committed and replicated: what is read from now on was, too."""
        if step != self._step:
            return
        self._happened(RoleEvent.RAISED)
        self.term = self._highest = self._durable_term = number
        self._sure_until = self._looked_at + SILENT_S
        self._look_at = now
        assert self.sight is not None and self._watch is not None
        if self._new_epoch and self._epoch_before is None:
            self._epoch_before = self.sight.head[0]
        listen = not self._watch.alive
        self._effects.append(
            LoadNode(self._begin_step(LOAD_S, now), number, self._new_epoch, listen)
        )

    def outrun(self, step: int, now: float) -> None:
        """The term was not what it should be any more, or its holder has spoken."""
        if step == self._step:
            self._stand_by("another daemon was faster", now)

    def loaded(self, step: int, now: float) -> None:
        """There is a node."""
        if step != self._step:
            return
        self._step = 0
        self._happened(RoleEvent.LOADED)
        self.reason = ""

    def failed(self, step: int, reason: str, now: float) -> None:
        """A step failed, or nobody knows what became of it."""
        if step == self._step:
            self._fence(reason, now)

    def committed(self, head: tuple[int, int]) -> None:
        """A commit of the node returned as it should; ``head``: the own log's newest entry."""
        self._knows(head)

    def store_failed(self, reason: str, now: float) -> None:
        """A commit of the node failed, or nobody knows what became of it."""
        if self.state in _HAS_NODE:
            self._fence(reason, now)

    def finished(self, step: int, now: float) -> None:
        """All that was accepted before the term is given up is durable, and told."""
        if step == self._step:
            self._effects.append(GiveUp(self._begin_step(STEP_S, now), self.term))

    def given_up(self, step: int, now: float) -> None:
        """The term has no holder any more."""
        if step != self._step:
            return
        self._happened(RoleEvent.GIVEN_UP)
        self._modest_until = now + MODEST_S
        self._without_term("the term was given up", now)

    def superseded(self, number: int, now: float) -> None:
        """A peer showed a higher term, signed by this identity: ask the database at once."""
        if self.term and number > max(self.term, self._rival):
            self._rival, self._rival_step = number, self._steps
            if not self._look:
                self._look_at = min(self._look_at, now)

    # What an operator wants.

    def promote(self, now: float, new_epoch: bool = False) -> None:
        """
        Serve as soon as the holder has given the term up, which it does when it sees this.

        Args:
            new_epoch: the operator's word that the database may have lost commits, and that no
                other copy of it is in use.
        """
        if self.state is not RoleState.STOPPED and not self.term:
            if new_epoch:
                self._new_epoch, self.older = True, False
            self._modest_until = now
            self._effects.append(Ask(self._boot))

    def demote(self, now: float) -> None:
        """Finish what was accepted and give the term up, if there is one."""
        if self.state is RoleState.SERVING:
            self._happened(RoleEvent.DEMOTE)
            self.reason = "it gives the term up"
            self._effects.append(Finish(self._begin_step(STEP_S, now)))

    def stop(self) -> None:
        """Be nothing any more. Who has time to demotes first."""
        if self.state is not RoleState.STOPPED:
            had_node = self.state in _HAS_NODE
            self._happened(RoleEvent.STOP)
            self._step = self._look = self.term = 0
            self.reason = "the daemon stops"
            if had_node:
                self._effects.append(DropNode(self.reason))

    # How it decides.

    def _watched(self, sight: Sight) -> None:
        watch = self._watch
        if watch is None or watch.server != sight.server:
            watch = self._watch = Watch(sight.server, sight.at_s)
        elif watch.broken:
            watch.since_s, watch.broken = sight.at_s, False
        else:
            watch.alive |= bool(sight.term.holder) and sight.silent_s < SILENT_S
        if not self._new_epoch:
            went_back = sight.term.number < self._durable_term
            self.older = went_back or sight.head < self._look_head
        self._highest = max(self._highest, sight.term.number)

    def _knows(self, head: tuple[int, int]) -> None:
        """So far the own log is durable. A new epoch is begun once: the next node keeps it."""
        if self._epoch_before is not None and head[0] > self._epoch_before:
            self._new_epoch, self._epoch_before, self._head = False, None, head
        self._head = max(self._head, head)

    def _is_own(self, sight: Sight) -> bool:
        return bool(sight.term.holder) and sight.term.boot == self._boot

    def _silence(self, sight: Sight) -> float:
        """How long the holder must have been silent, by the database's clock."""
        return 0.0 if self._is_own(sight) else SILENT_S

    def _seen_as_holder(self, step: int, sight: Sight, now: float) -> None:
        if not self._is_own(sight):
            self._stand_by("another daemon has taken the term", now)
        elif sight.unsafe or self.older:
            self._fence(sight.unsafe or _OLDER, now)
        else:
            self._sure_until = self._looked_at + SILENT_S
            self._knows(sight.head)
            if self._rival and step > self._rival_step:
                self._effects.append(TwoDatabases(self._rival))
                self._rival = 0
            if sight.wanted not in ("", self._boot):
                self.demote(now)

    def _seen_as_fenced(self, sight: Sight, now: float) -> None:
        if not self._is_own(sight):
            self._stand_by("another daemon has taken the term", now)
            return
        self.reason = self._unfit(sight) or sight.stalled
        if not self.reason:
            self._take_over(RoleEvent.HELD, sight, now)

    def _unfit(self, sight: Sight) -> str:
        """Why nobody may serve from this database; "" when one may."""
        return sight.unsafe or (_OLDER if self.older else "")

    def _why_not(self, sight: Sight, now: float) -> str:
        """Why this daemon does not take the term now; "" when it does."""
        term = sight.term
        if unfit := self._unfit(sight):
            return unfit
        if not term.holder:
            if now < self._modest_until:
                return "it gave the term up, and leaves it to others for now"
            if sight.wanted not in ("", self._boot) and sight.silent_s < WANTED_S:
                return "another daemon is wanted"
            return sight.stalled
        if self._elects_in_s(sight):
            return f"{term.holder} holds term {term.number}"
        return sight.stalled

    def _elects_in_s(self, sight: Sight) -> float:
        """When to look whether the holder has been silent for long enough; 0: it has."""
        assert self._watch is not None
        left_s = SILENT_S - min(sight.silent_s, sight.at_s - self._watch.since_s)
        return 0.0 if left_s <= 0 else left_s + _LATER_S

    # How it changes.

    def _happened(self, event: RoleEvent) -> None:
        self.state = ROLE_TRANSITIONS.next(self.state, event)

    def _begin_step(self, patience_s: float, now: float) -> int:
        self._steps += 1
        self._step, self._step_ends = self._steps, now + patience_s
        return self._step

    def _look_now(self, now: float) -> None:
        self._steps += 1
        self._look, self._look_at, self._looked_at = self._steps, now + LOOK_PATIENCE_S, now
        self._look_head = self._head
        self._effects.append(Look(self._look, self.term))

    def _take_over(self, event: RoleEvent, sight: Sight, now: float) -> None:
        self._happened(event)
        self.reason = "it takes over"
        step = self._begin_step(STEP_S, now)
        self._effects.append(EndSessions(step, sight.term.number, self._silence(sight)))

    def _fence(self, reason: str, now: float) -> None:
        self._happened(RoleEvent.LOST)
        self._without_term(reason, now)

    def _stand_by(self, reason: str, now: float) -> None:
        self._happened(RoleEvent.OUTRUN)
        self._without_term(reason, now)

    def _without_term(self, reason: str, now: float) -> None:
        if self.term:
            self._effects.append(DropNode(reason))
        self.reason = reason
        self.term = self._step = self._look = self._rival = 0
        self._look_at = now + LOOK_S


_OLDER = (
    "the database is older than what this daemon has seen of it: it lost commits; see that no other"
    " copy is in use, then promote with --new-epoch"
)
