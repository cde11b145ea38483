"""
A model of the database that daemons of one identity share: a primary and its synchronous standby.

As PostgreSQL does it: a transaction holds the term's row (``FOR SHARE``) until it ends; a commit is
on the primary first, then waits until the standby has it; who ends the wait or the session makes it
visible without; a failover leaves what the standby had. What reached the standby is told to
``on_durable``, in order: that much is promised. See docs/design/standby.rst#standby-model.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import attrs

from grenache_py.exchange.effects.rows import LogRow, Row, Snapshot
from grenache_py.exchange.standby.role_effects import EndSessions, Raise
from grenache_py.exchange.standby.term import Sight, Term
from tests.support.memory_database import MemoryDatabase
from tests.support.virtual_clock import Scheduler

if TYPE_CHECKING:
    from tests.sim.exchange.standby import Member

__all__ = ["Session", "SharedDatabase", "Transaction"]

T = TypeVar("T")

#: A client of the database that has no answer by then takes its connection for dead.
PATIENCE_S = 4.0
#: The database's clock when a simulation begins.
BEGAN_S = 1_800_000_000.0


@attrs.define(eq=False)
class Transaction:
    """
    One transaction.

    Attributes:
        ended: called with "committed", "warned" (its wait was cancelled) or "lost".
    """

    session: Session
    ended: Callable[[str], None]
    rows: list[Row] = attrs.Factory(list)
    term: Term | None = None
    beat_s: float | None = None
    wanted: str | None = None
    was_silent: bool = False
    visible: bool = False
    over: bool = False
    sent_s: float = 0.0

    def end(self, how: str) -> None:
        if not self.over:
            self.over = True
            self.ended(how)


@attrs.define(eq=False)
class Session:
    """A connection of a daemon: of the term that it holds, 0 for none."""

    member: Member
    server: Server
    term: int
    open: bool = True
    transaction: Transaction | None = None


class Server:
    """
    One database server.

    Attributes:
        log: what is committed here, waiting or not.
        replicated: how many of those the standby has.
        synchronous: commits wait for the standby.
        standby: it is reached; what it has is enough to take over from.
        attached: there is one.
    """

    def __init__(self, number: int, log: list[Transaction]) -> None:
        self.name = f"server {number}"
        self.log = log
        self.replicated = len(log)
        self.synchronous = self.standby = self.attached = True
        self.database = MemoryDatabase()
        self.term = Term()
        self.beat_s = float("-inf")
        self.wanted = ""
        self.head = (0, 0)
        for transaction in log:
            self._apply(transaction)

    def show(self, transaction: Transaction) -> None:
        """Let others see a transaction."""
        if not transaction.visible:
            transaction.visible = True
            self._apply(transaction)

    def _apply(self, transaction: Transaction) -> None:
        if transaction.rows:
            self.database.commit(transaction.rows)
        for row in transaction.rows:
            if type(row) is LogRow:
                self.head = max(self.head, (row.epoch, row.seq))
        if transaction.term is not None:
            self.term = transaction.term
        if transaction.beat_s is not None:
            self.beat_s = transaction.beat_s
        if transaction.wanted is not None:
            self.wanted = transaction.wanted


class SharedDatabase:
    """
    Args:
        on_durable: called with each transaction that has rows when the standby has it.

    Attributes:
        primary: the server that takes writes.
        isolated: the members that still reach the primary before, which is cut off.
        checks_term, waits_for_term: rules that ablations switch off.
        on_begun: called with the daemon that has just begun a transaction with rows.
        next_fault: of the next commit: "" none, "before": its session ends before it; "after":
            its wait is cancelled.
    """

    def __init__(
        self, clock: Scheduler, rng: random.Random, on_durable: Callable[[Transaction], None]
    ) -> None:
        self.clock = clock
        self.rng = rng
        self.on_durable = on_durable
        self.primary = Server(1, [])
        self.sessions: list[Session] = []
        self.isolated: dict[str, Server] = {}
        self.stale: set[str] = set()
        self.checks_term = self.waits_for_term = self.ends_sessions = True
        self.next_fault = ""
        self.on_raise: Callable[[Member, Term, Term, float], None] = lambda *_: None
        self.on_begun: Callable[[Member], None] = lambda member: None
        self._servers = 1
        self._old: tuple[float, Sight] | None = None  # what a stale replica shows

    # What daemons do. Every answer comes later, or, after PATIENCE_S, "lost".

    def connect(self, member: Member, term: int) -> Session:
        """A session of a member that holds ``term``."""
        server = self.isolated.get(member.name, self.primary)
        session = Session(member, server, term)
        self.sessions.append(session)
        return session

    def close(self, session: Session) -> None:
        """The daemon's end is gone; a server notices, but not while it waits for its standby."""
        transaction = session.transaction
        if transaction is None or transaction not in session.server.log:
            self._end(session)

    def look(
        self, member: Member, boot: str, alive: int, seen: Callable[[Sight | None], None]
    ) -> None:
        """Read the term, and first write that its holder lives; None: no answer."""
        answered = self._once(seen, None)
        server = self.isolated.get(member.name, self.primary)

        def arrived() -> None:
            if member.cut_off:
                return
            if member.name in self.stale and self._old is not None:
                answered(attrs.evolve(self._old[1], unsafe="this server is a replica"))
                return
            if not (alive and server.term.number == alive and server.term.boot == boot):
                answered(self._sight(server))
                return
            session = Session(member, server, alive)
            self.sessions.append(session)

            def ended(how: str) -> None:
                self._end(session)
                answered(self._sight(server) if how == "committed" else None)

            self._local(Transaction(session, ended, beat_s=self.clock.now))

        self._soon(arrived)

    def _sight(self, server: Server) -> Sight:
        now = self.clock.now
        unsafe = "" if server.synchronous else "no synchronous standby is named"
        waiting = [s.transaction for s in self.sessions if s.server is server and s.transaction]
        waits_s = [now - each.sent_s for each in waiting if each in server.log]
        sight = Sight(
            server.term,
            BEGAN_S + now,
            now - server.beat_s,
            server.name,
            server.head,
            server.wanted,
            unsafe,
            max(waits_s, default=0.0),
        )
        if self._old is None or now - self._old[0] > 10.0:
            self._old = now, sight
        return sight

    def end_sessions(self, member: Member, wish: EndSessions, ended: Callable[[str], None]) -> None:
        """End what belongs to the terms up to a number: "committed", "outrun" or "lost"."""
        answered = self._once(ended, "lost")
        server = self.isolated.get(member.name, self.primary)

        def arrived() -> None:
            if member.cut_off:
                return
            if not self._gone(server, wish.silent_s):
                answered("outrun")
                return
            for session in list(self.sessions):
                old = 0 < session.term <= wish.number and session.server is server
                if self.ends_sessions and old:
                    self._end(session)
            answered("committed")

        self._soon(arrived)

    def _gone(self, server: Server, silent_s: float) -> bool:
        return not server.term.holder or self.clock.now - server.beat_s >= silent_s

    def raise_term(self, member: Member, wish: Raise, ended: Callable[[str], None]) -> None:
        """Compare, swap and wait: "committed", "outrun", "warned" or "lost"."""
        answered = self._once(ended, "lost")
        server = self.isolated.get(member.name, self.primary)
        session = Session(member, server, wish.number)
        until = self.clock.now + PATIENCE_S

        def attempt() -> None:
            if member.cut_off or self.clock.now > until:
                return
            if server is not self.primary and server is not self.isolated.get(member.name):
                return
            others = (s for s in self.sessions if s.server is server and s is not session)
            if self.checks_term and any(s.transaction is not None and s.term for s in others):
                self.clock.after(0.02, attempt)  # the row is held
                return
            term, now = server.term, self.clock.now
            if term.number != wish.expected or not self._gone(server, wish.silent_s):
                answered("outrun")
                return
            new = Term(wish.number, wish.holder, wish.boot, int(now * 1000))
            self.on_raise(member, term, new, now - server.beat_s)
            self.sessions.append(session)

            def over(how: str) -> None:
                self._end(session)
                answered(how)

            raised = Transaction(session, over, term=new, beat_s=now, wanted="")
            self._local(raised)
            if not self.waits_for_term:
                server.show(raised)
                answered("committed")

        self._soon(attempt)

    def load(
        self, member: Member, loaded: Callable[[tuple[Session, Snapshot] | None], None]
    ) -> None:
        """Everything visible, and a session to go on with."""
        answered = self._once(loaded, None)
        server = self.isolated.get(member.name, self.primary)

        def arrived() -> None:
            if not member.cut_off:
                answered((self.connect(member, server.term.number), server.database.load()))

        self._soon(arrived)

    def commit(
        self,
        session: Session,
        rows: list[Row],
        was_silent: bool,
        ended: Callable[[str], None],
    ) -> None:
        """Commit a batch: "committed", "warned" or "lost"."""
        answered = self._once(ended, "lost")
        member, server = session.member, session.server
        transaction = Transaction(session, answered, rows, was_silent=was_silent)

        def begun() -> None:
            if not session.open or member.cut_off:
                return
            if self.checks_term and server.term.number != session.term:
                answered("lost")
                return
            session.transaction = transaction  # the row is held from here on
            self.on_begun(member)
            self._soon(lambda: member.when_running(written))

        def written() -> None:
            """The daemon sends its COMMIT, if it lives and the session does."""
            if not session.open or member.cut_off:
                return
            fault, self.next_fault = self.next_fault, ""
            if fault == "before":
                self._end(session)
                return
            self._local(transaction)
            if fault == "after":
                self.cancel_wait(transaction)

        self._soon(begun)

    def give_up(self, member: Member, number: int, ended: Callable[[str], None]) -> None:
        """Leave the term without a holder."""
        answered = self._once(ended, "lost")
        server = self.isolated.get(member.name, self.primary)
        session = Session(member, server, number)

        def arrived() -> None:
            if member.cut_off:
                return
            if server.term.number != number:
                answered("outrun")
                return
            self.sessions.append(session)

            def over(how: str) -> None:
                self._end(session)
                answered(how)

            self._local(Transaction(session, over, term=attrs.evolve(server.term, holder="")))

        self._soon(arrived)

    def ask(self, member: Member, boot: str) -> None:
        """Write who is wanted to serve."""
        server = self.isolated.get(member.name, self.primary)

        def arrived() -> None:
            if not member.cut_off:
                session = Session(member, server, 0)
                self.sessions.append(session)
                self._local(Transaction(session, lambda how: self._end(session), wanted=boot))

        self._soon(arrived)

    # What it does.

    def _soon(self, call: Callable[[], None]) -> None:
        self.clock.after(self.rng.uniform(0.0005, 0.006), call)

    def _once(self, call: Callable[[T], None], otherwise: T) -> Callable[[T], None]:
        """Answer once: with what comes, or otherwise when nothing does."""
        answers: list[T] = []

        def answered(answer: T) -> None:
            if not answers:
                answers.append(answer)
                timer.cancel()
                self._soon(lambda: call(answer))

        timer = self.clock.after(PATIENCE_S, lambda: answered(otherwise))
        return answered

    def _local(self, transaction: Transaction) -> None:
        """A commit is on its server; it waits for the standby."""
        session = transaction.session
        server = session.server
        session.transaction, transaction.sent_s = transaction, self.clock.now
        server.log.append(transaction)
        if not server.synchronous:
            self._finish(server, transaction, "committed")
        self._replicate(server)

    def _replicate(self, server: Server) -> None:
        if not server.standby or server is not self.primary:
            return
        upto = len(server.log)
        self.clock.after(self.rng.uniform(0.0005, 0.004), lambda: self._acknowledged(server, upto))

    def _acknowledged(self, server: Server, upto: int) -> None:
        if server is not self.primary or not server.standby:
            return
        for transaction in server.log[server.replicated : upto]:
            server.replicated += 1
            if transaction.rows:
                self.on_durable(transaction)
            self._finish(server, transaction, "committed")

    def _finish(self, server: Server, transaction: Transaction, how: str) -> None:
        server.show(transaction)
        if transaction.session.transaction is transaction:
            transaction.session.transaction = None
        transaction.end(how)

    def _end(self, session: Session) -> None:
        """A session ends: what waits is visible from now on, what was not committed is not."""
        session.open = False
        if session in self.sessions:
            self.sessions.remove(session)
        transaction, session.transaction = session.transaction, None
        if transaction is not None:
            if transaction in session.server.log:
                session.server.show(transaction)
            transaction.end("lost")

    # What happens to it.

    def cancel_wait(self, transaction: Transaction) -> None:
        """Somebody ends a wait: the client gets a warning, not an error."""
        self._finish(transaction.session.server, transaction, "warned")

    def cancel_some_wait(self) -> bool:
        """Likewise, of one that has rows and waits; whether there was one."""
        for session in self.sessions:
            waiting = session.transaction
            if waiting is not None and waiting.rows and waiting in session.server.log:
                self.cancel_wait(waiting)
                return True
        return False

    def set_standby(self, there: bool) -> None:
        """The primary's standby is lost sight of, or is there and catches up."""
        self.primary.standby = there
        self.primary.attached |= there
        self._replicate(self.primary)

    def fail_over(self, stuck: set[str], lose: int = 0) -> None:
        """
        The standby becomes the primary, without one of its own for now.

        Args:
            stuck: names of the members that go on with the primary before, which is cut off.
            lose: so many of the newest replicated transactions are lost: it was forced.
        """
        before = self.primary
        before.standby = False
        kept = before.log[: max(0, before.replicated - lose)]
        self._servers += 1
        for transaction in kept:
            transaction.visible = True
        self.primary = Server(self._servers, kept)
        self.primary.standby = self.primary.attached = False
        self.isolated = dict.fromkeys(stuck, before)
        for session in list(self.sessions):
            if session.server is before and session.member.name not in stuck:
                self._lose(session)

    def end_isolation(self) -> None:
        """The primary before is switched off for good."""
        servers, self.isolated = set(self.isolated.values()), {}
        for session in list(self.sessions):
            if session.server in servers and session.server is not self.primary:
                self._lose(session)

    def _lose(self, session: Session) -> None:
        """A server is gone, and its sessions with it."""
        session.open = False
        self.sessions.remove(session)
        transaction, session.transaction = session.transaction, None
        if transaction is not None:
            transaction.end("lost")
