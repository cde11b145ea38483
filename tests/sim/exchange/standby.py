"""
Daemons of one identity that share a database, in a world with other homes.

A ``Member`` is a process: a role, and a node while it holds the term. The rules are those of
docs/design/standby.rst; S1 to S5 are its invariants.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from grenache_py.exchange.effects.batch import Batch
from grenache_py.exchange.effects.rows import LogRow, RecordRow, Snapshot
from grenache_py.exchange.node import ExchangeNode, NodeConfig
from grenache_py.exchange.signed_log.entries import Entry
from grenache_py.exchange.signed_log.keys import Identity
from grenache_py.exchange.standby import role_effects as wishes
from grenache_py.exchange.standby.role import SILENT_S, DaemonRole
from grenache_py.exchange.standby.role_states import RoleState
from grenache_py.exchange.standby.term import Sight, Term
from grenache_py.exchange.storage.history import records
from tests.sim.exchange.invariants import Violation
from tests.sim.exchange.network import Disk, Network, Peer
from tests.sim.exchange.shared_database import Session, SharedDatabase, Transaction
from tests.sim.exchange.world import CHAOS_S, Report, World
from tests.support.virtual_clock import Timer

__all__ = ["MUST_HAPPEN", "STANDBY_KINDS", "Member", "StandbyWorld", "run_standby"]

#: What may go wrong with daemons and their database.
STANDBY_KINDS = (
    *("daemon crash", "daemon pause", "cut from database", "standby gone", "failover"),
    *("isolated primary", "wait cancelled", "commit fault", "stale replica", "promoted"),
    *("forced failover", "asynchronous", "stopped in commit", "unreplicated"),
)
#: What must have happened somewhere in a set of seeds.
MUST_HAPPEN = (*STANDBY_KINDS, "takeover", "term given up", "term raised again", "superseded")
#: So long nobody may serve while a database and a daemon are well (S4).
UNSERVED_S_MAX = 12.0


class Member(Peer):
    """
    One daemon of an identity with several.

    Attributes:
        database: that they share.
        role: None while the process is down.
        cut_off: nothing gets from it to the database.
        new_epoch: the operator starts its processes with ``--new-epoch``, until there is one.
        held: the operator does not start it now.
        heeds_epoch, heeds_warnings, heeds_settings: rules that ablations switch off.
    """

    def __init__(
        self,
        name: str,
        network: Network,
        config: NodeConfig,
        who: Identity,
        disk: Disk,
        rng: random.Random,
    ) -> None:
        super().__init__(name, network, config, who, disk, rng)
        self.database: SharedDatabase
        self.role: DaemonRole | None = None
        self.cut_off = False
        self.new_epoch = self.held = False
        self.heeds_epoch = self.heeds_warnings = self.heeds_settings = True
        self.loads_new_epoch = False
        self.process = 0
        self.session: Session | None = None
        self._role_timer: Timer | None = None
        self._boot = ""

    # The process.

    def start(self) -> None:
        if self.role is not None or self.held:
            return
        self.process += 1
        self._boot = f"{self.rng.getrandbits(128):032x}"
        self.role = DaemonRole(self._boot, self.address, self.network.clock.now)
        if self.new_epoch:
            self.role.promote(self.network.clock.now, new_epoch=self.heeds_epoch)
        self._pump()

    def crash(self) -> None:
        self.role = None
        self.process += 1
        self.paused = False
        self._queue.clear()
        self._drop_node()

    def _drop_node(self) -> None:
        super().crash()
        session, self.session = self.session, None
        if session is not None:
            self.database.close(session)

    def when_running(self, call: Callable[[], None]) -> None:
        """Do it, or when the process that is stopped now goes on; never in another process."""
        if self.role is None:
            return
        if self.paused:
            process = self.process
            self._queue.append(lambda: call() if self.process == process else None)
        else:
            call()

    def resume(self) -> None:
        super().resume()
        self._pump()

    # The role.

    def _answer(self, call: Callable[..., None], *rest: Any) -> None:
        """Tell the role what came of something, when the process runs."""
        process = self.process

        def tell() -> None:
            if self.process == process and call.__self__ is self.role:  # type: ignore[attr-defined]
                call(*rest, self.network.clock.now)
                self._pump()

        self.when_running(tell)

    def _pump(self) -> None:
        if self.paused:
            return
        role = self.role
        while role is not None and (effects := role.take_effects()):
            for effect in effects:
                self._carry_out(role, effect)
        if self._role_timer is not None:
            self._role_timer.cancel()
        deadline = None if role is None else role.deadline()
        if role is not None and deadline is not None:
            wait = max(0.0, deadline - self.network.clock.now)
            self._role_timer = self.network.clock.after(wait, lambda: self._answer(role.tick))

    def _outcome(self, well: Callable[..., None], step: int, *rest: Any) -> Callable[[str], None]:
        """What tells the role how a step ended."""
        role: DaemonRole = well.__self__  # type: ignore[attr-defined]

        def tell(how: str) -> None:
            if how == "committed" or (how == "warned" and not self.heeds_warnings):
                if well == role.given_up:
                    self.network.count("term given up")
                self._answer(well, step, *rest)
            elif how == "outrun":
                self._answer(role.outrun, step)
            else:
                self._answer(role.failed, step, how)

        return tell

    def _carry_out(self, role: DaemonRole, effect: wishes.RoleEffect) -> None:
        database, clock = self.database, self.network.clock
        if isinstance(effect, wishes.Look):

            def seen(sight: Sight | None) -> None:
                if sight is None:
                    self._answer(role.look_failed, effect.step, "no answer")
                    return
                if not self.heeds_settings:
                    sight = attrs.evolve(sight, unsafe="")
                self._answer(role.seen, effect.step, sight)

            database.look(self, self._boot, effect.alive, seen)
        elif isinstance(effect, wishes.EndSessions):
            database.end_sessions(self, effect, self._outcome(role.ended, effect.step))
        elif isinstance(effect, wishes.Raise):
            raised = self._outcome(role.raised, effect.step, effect.number)
            database.raise_term(self, effect, raised)
        elif isinstance(effect, wishes.LoadNode):

            def loaded(what: tuple[Session, Snapshot] | None) -> None:
                if what is None:
                    self._answer(role.failed, effect.step, "no answer")
                    return
                process = self.process
                self.when_running(
                    lambda: self._loaded(role, effect, *what) if self.process == process else None
                )

            database.load(self, loaded)
        elif isinstance(effect, wishes.DropNode):
            self._drop_node()
        elif isinstance(effect, wishes.Finish):
            self._finish(role, effect)
        elif isinstance(effect, wishes.GiveUp):
            database.give_up(self, effect.number, self._outcome(role.given_up, effect.step))
        elif isinstance(effect, wishes.Ask):
            database.ask(self, effect.boot)
        else:
            assert isinstance(effect, wishes.TwoDatabases)
            raise Violation(f"S: {self.name} takes a takeover for a copy at {clock.now}")

    def _loaded(
        self, role: DaemonRole, load: wishes.LoadNode, session: Session, snapshot: Snapshot
    ) -> None:
        loading = role is self.role and role.state is RoleState.LOADING
        if not loading or role.term != load.term:
            self.database.close(session)
            return
        session.term = load.term
        self.session = session
        self.life += 1
        self._committing = False
        config = attrs.evolve(
            self.config,
            peering=attrs.evolve(self.config.peering, term=load.term),
            new_epoch=load.new_epoch or (self.loads_new_epoch and snapshot.head is not None),
            followed=not load.listen,
        )
        if load.new_epoch:
            self.network.count("new epoch")
        self.node = ExchangeNode(config, self.identity, snapshot, self.rng, self.wall())
        self.on_start(self.node)
        role.loaded(load.step, self.network.clock.now)
        self._kick()
        self._pump()

    def _finish(self, role: DaemonRole, effect: wishes.Finish) -> None:
        """Nothing more is asked of the node; go on when what it decided is committed."""
        process = self.process

        def look() -> None:
            if self.process != process or role.state is not RoleState.DEMOTING:
                return
            if self._committing or self._turning:
                self.network.clock.after(0.01, lambda: self.when_running(look))
            else:
                super(Member, self).do(lambda node, now: node.goodbye(now))
                self._answer(role.finished, effect.step)

        look()

    # The node.

    def do(self, call: Callable[[ExchangeNode, float], Any]) -> Any:
        role = self.role
        if role is not None and role.state is RoleState.DEMOTING and not self.paused:
            return None  # it takes no more
        done = super().do(call)
        if self.node is not None and role is not None and self.node.peering.claims.rival:
            rival = self.node.peering.claims.rival
            if role.term and rival > role.term:
                self.network.count("superseded")
                role.superseded(rival, self.network.clock.now)
                self._pump()
        return done

    def _commit(self, life: int, batch: Batch) -> None:
        if self.life != life or self.node is None or self.session is None:
            return
        if self.crash_at_commit == "before":
            self.crash_at_commit = ""
            self.network.count("crash before commit")
            self.crash()
            return

        def ended(how: str) -> None:
            process = self.process
            self.when_running(
                lambda: self._ended(life, batch, how) if self.process == process else None
            )

        self.database.commit(self.session, batch.rows, self.was_silent, ended)

    def stored(self, order_ids: Sequence[str]) -> list[RecordRow]:
        if self.session is None:
            return []
        return records(self.session.server.database.connection, order_ids)

    def _ended(self, life: int, batch: Batch, how: str) -> None:
        role = self.role
        if self.life != life or self.node is None or role is None:
            return
        if how == "lost" or (how == "warned" and self.heeds_warnings):
            self.store_failures += 1
            role.store_failed(how, self.network.clock.now)
            self._pump()
            return
        if self.crash_at_commit == "after":
            self.crash_at_commit = ""
            self.network.count("crash after commit")
            self.crash()
            return
        heads = [(row.epoch, row.seq) for row in batch.rows if type(row) is LogRow]
        role.committed(max(heads, default=(0, 0)))
        self._committing = False
        self._release(batch)
        self._kick()


class StandbyWorld(World):
    """
    Two homes whose daemons stand by for each other, among others that have a disk.

    Args:
        standby: kinds of ``STANDBY_KINDS``; None lets the seed choose.
        pairs: homes with two daemons.
    """

    def __init__(
        self,
        seed: int,
        standby: tuple[str, ...] | None = None,
        pairs: int = 1,
        prepare_standby: Callable[[StandbyWorld], None] | None = None,
        **settings: Any,
    ) -> None:
        self._pairs = pairs
        self.groups: list[tuple[Member, ...]] = []
        self.terms: dict[str, int] = {}
        self._served: dict[str, float] = {}
        settings.setdefault("faults", ())
        super().__init__(seed, **settings)
        rng = self.standby_rng = random.Random(f"standby {seed}")
        if standby is None:
            standby = tuple(kind for kind in STANDBY_KINDS if rng.random() < 0.4)
        self.standby = standby
        self.epochs_begun: set[str] = set()
        self.checker.process_of = self._writer
        for first in list(self.peers[:pairs]):
            self._pair(first, rng)
        if prepare_standby is not None:
            prepare_standby(self)

    def _pair(self, first: Peer, rng: random.Random) -> None:
        database_rng = random.Random(rng.getrandbits(64))
        members = []
        for name in (first.name, f"{first.name}s"):
            listen = f"{name}:7071"
            peering = attrs.evolve(first.config.peering, listen=listen)
            member = Member(
                name,
                self.network,
                attrs.evolve(first.config, peering=peering),
                first.identity,
                Disk(lambda: 0.0),
                random.Random(rng.getrandbits(64)),
            )
            member.on_commit, member.on_release = first.on_commit, self._released
            if "clock offset" in self.kinds:
                member.offset = rng.uniform(-2.0, 2.0)
            members.append(member)
        database = SharedDatabase(self.clock, database_rng, self._durable)
        database.on_raise = self._raised
        for member in members:
            member.database = database
        self.peers[self.peers.index(first)] = members[0]
        self.peers.append(members[1])
        self.groups.append(tuple(members))

    def _writer(self, peer: Peer) -> str:
        return peer.identity.key if isinstance(peer, Member) else peer.name

    # Invariants.

    def _durable(self, transaction: Transaction) -> None:
        """What the database has promised is written down, in the order in which it has."""
        member, session = transaction.session.member, transaction.session
        key = member.identity.key
        if key not in self.checker.amnesia:
            if session.term < self.terms.get(key, 0):
                raise Violation(
                    f"S2: {member.name} writes in term {session.term} after {self.terms}"
                )
        self.terms[key] = max(self.terms.get(key, 0), session.term)
        for row in transaction.rows:
            if type(row) is LogRow and Entry.decode(row.payload).epoch != 1:
                if key not in self.epochs_begun:
                    raise Violation(f"S3: {member.name} begins an epoch by itself")
        silent, member.was_silent = member.was_silent, transaction.was_silent
        member.on_commit(member, transaction.rows)
        member.was_silent = silent

    def _released(self, peer: Peer, batch: Batch) -> None:
        self.checker.released(peer, batch)
        self._one_serves()

    def _one_serves(self) -> None:
        now = self.clock.now
        for group in self.groups:
            sure = [m.name for m in group if m.role is not None and m.role.certain(now)]
            if len(sure) > 1:
                raise Violation(f"S1: {sure} serve at once")

    def _raised(self, member: Member, before: Term, after: Term, silent_s: float) -> None:
        if after.number <= before.number:
            raise Violation(f"S5: term {before} became {after}")
        if before.boot == after.boot and before.holder:
            self.network.count("term raised again")
        elif before.holder:
            self.network.count("takeover")
            if silent_s < SILENT_S:
                raise Violation(f"S5: {member.name} takes the term of a holder that lives")
        elif before.number:
            self.network.count("takeover")

    def _watch(self) -> None:
        """S4: somebody serves while there is a database for it, and a daemon."""
        now = self.clock.now
        self._one_serves()
        for group in self.groups:
            database = group[0].database
            primary = database.primary
            able = primary.standby and primary.synchronous and not database.isolated
            awake = [
                m
                for m in group
                if m.role is not None and not (m.paused or m.cut_off or m.name in database.stale)
            ]
            serves = any(m.node is not None for m in awake)
            name = group[0].name
            if serves or not able or not awake or name not in self._served:
                self._served[name] = now
            elif now - self._served[name] > UNSERVED_S_MAX:
                states = [
                    (m.name, m.role and m.role.state, m.role and m.role.reason) for m in group
                ]
                raise Violation(f"S4: nobody serves: {states}")
        self.clock.after(0.5, self._watch)

    # Trouble.

    def restart(self, peer: Peer) -> None:
        if isinstance(peer, Member):
            if peer.role is None:
                peer.start()
        else:
            super().restart(peer)

    def trouble(self) -> None:
        super().trouble()
        self._watch()
        rng = self.standby_rng
        for kind, rate, act in (
            ("daemon crash", 10.0, self._kill),
            ("daemon pause", 10.0, self._stop),
            ("stopped in commit", 15.0, self._stop_in_commit),
            ("cut from database", 12.0, self._cut_off),
            ("standby gone", 15.0, self._standby_gone),
            ("failover", 15.0, lambda group: self._fail_over(group, False, False)),
            ("isolated primary", 20.0, lambda group: self._fail_over(group, True, False)),
            ("asynchronous", 20.0, lambda group: self._fail_over(group, False, True)),
            ("wait cancelled", 4.0, self._cancel),
            ("unreplicated", 15.0, self._unreplicated),
            ("commit fault", 8.0, self._fault),
            ("stale replica", 12.0, self._stale),
            ("promoted", 10.0, self._promote),
            ("forced failover", 40.0, self._forced),
        ):
            if kind in self.standby:
                for group in self.groups:
                    at = 3.0 + rng.expovariate(1 / rate)
                    while at < CHAOS_S - 3.0:
                        self.clock.at(at, lambda act=act, group=group: act(group))
                        at += rng.expovariate(1 / rate)

    def _kill(self, group: tuple[Member, ...]) -> None:
        member = self.standby_rng.choice(group)
        if member.role is not None:
            self.network.count("daemon crash")
            member.crash()
            self.clock.after(self.standby_rng.uniform(0.3, 12.0), lambda: self.restart(member))

    def _stop(self, group: tuple[Member, ...]) -> None:
        """SIGSTOP, rather of the one that serves."""
        serving = [m for m in group if m.node is not None and not m.paused]
        member = self.standby_rng.choice(serving or group)
        if member.role is not None and not member.paused:
            self.network.count("daemon pause")
            self._pause_for(member, self.standby_rng.choice((0.5, 2.0, 8.0, 25.0)))

    def _stop_in_commit(self, group: tuple[Member, ...]) -> None:
        """Likewise, just when it holds the term's row."""

        def begun(member: Member) -> None:
            group[0].database.on_begun = lambda member: None
            self.network.count("stopped in commit")
            self._pause_for(member, 25.0)

        group[0].database.on_begun = begun

    def _pause_for(self, member: Member, seconds: float) -> None:
        member.pause()
        process = member.process
        self.clock.after(
            seconds,
            lambda: member.resume() if member.paused and member.process == process else None,
        )

    def _cut_off(self, group: tuple[Member, ...]) -> None:
        member = self.standby_rng.choice(group)
        self.network.count("cut from database")
        member.cut_off = True
        self.clock.after(
            self.standby_rng.uniform(0.5, 12.0), lambda: setattr(member, "cut_off", False)
        )

    def _standby_gone(self, group: tuple[Member, ...]) -> None:
        database = group[0].database
        primary = database.primary
        if not primary.attached:
            return
        self.network.count("standby gone")
        database.set_standby(False)

        def back() -> None:
            if database.primary is primary:
                database.set_standby(True)

        self.clock.after(self.standby_rng.uniform(0.5, 10.0), back)

    def _fail_over(self, group: tuple[Member, ...], isolated: bool, careless: bool) -> None:
        rng, database = self.standby_rng, group[0].database
        if not database.primary.attached or database.isolated:
            return
        stuck: set[str] = set()
        if isolated:
            self.network.count("isolated primary")
            stuck = {member.name for member in group if member.node is not None}
            self.clock.after(rng.uniform(3.0, 15.0), database.end_isolation)
        database.fail_over(stuck)
        self.network.count("asynchronous" if careless else "failover")
        primary = database.primary
        if careless:
            primary.synchronous = False

        def complete() -> None:
            primary.synchronous = True
            if database.primary is primary:
                database.set_standby(True)

        self.clock.after(rng.uniform(1.0, 8.0), complete)

    def _cancel(self, group: tuple[Member, ...]) -> None:
        """The next wait that is found is ended by somebody."""

        def attempt(left: int) -> None:
            if group[0].database.cancel_some_wait():
                self.network.count("wait cancelled")
            elif left:
                self.clock.after(0.001, lambda: attempt(left - 1))

        attempt(2000)

    def _unreplicated(self, group: tuple[Member, ...]) -> None:
        """A wait is cancelled while the standby is out of sight, and the standby takes over."""
        database = group[0].database
        if database.primary.attached and not database.isolated:
            self.network.count("unreplicated")
            database.set_standby(False)
            self._cancel(group)
            after = self.standby_rng.uniform(2.0, 6.0)
            self.clock.after(after, lambda: self._fail_over(group, False, False))

    def _fault(self, group: tuple[Member, ...]) -> None:
        self.network.count("commit fault")
        group[0].database.next_fault = self.standby_rng.choice(("before", "after"))

    def _stale(self, group: tuple[Member, ...]) -> None:
        """A daemon reaches nothing but a replica for a while."""
        database, member = group[0].database, self.standby_rng.choice(group)
        self.network.count("stale replica")
        database.stale.add(member.name)
        self.clock.after(
            self.standby_rng.uniform(1.0, 8.0), lambda: database.stale.discard(member.name)
        )

    def _promote(self, group: tuple[Member, ...]) -> None:
        waiting = [m for m in group if m.role is not None and m.node is None and not m.paused]
        if waiting:
            self.network.count("promoted")
            member = self.standby_rng.choice(waiting)
            assert member.role is not None
            member.role.promote(self.clock.now)
            member._pump()

    def _forced(self, group: tuple[Member, ...]) -> None:
        """
        Primary and standby are lost, and a replica that lags is all there is.

        The operator stops the daemons first, and says so to the first that is started.
        """
        database, rng = group[0].database, self.standby_rng
        key = group[0].identity.key
        if not database.primary.standby or database.isolated or key in self.epochs_begun:
            return  # a home begins an epoch a minute at most
        self.network.count("forced failover")
        for member in group:
            member.crash()
            member.held = True
        database.fail_over(set(), lose=rng.randrange(3, 30))
        epoch = database.primary.head[0]
        self.checker.amnesia.add(key)
        self.epochs_begun.add(key)
        self.clock.after(2.0, lambda: database.set_standby(True))
        first, *others = rng.sample(group, len(group))

        def begin() -> None:
            first.new_epoch, first.held = True, False
            first.start()
            begun()

        def begun() -> None:
            if database.primary.head[0] == epoch and first.heeds_epoch:
                self.clock.after(0.5, begun)
                return
            first.new_epoch = False
            for member in others:
                member.held = False
                self.restart(member)

        self.clock.after(1.0, begin)

    def heal(self) -> None:
        for group in self.groups:
            database = group[0].database
            database.end_isolation()
            database.stale.clear()
            database.next_fault = ""
            database.primary.synchronous = True
            for member in group:
                member.cut_off = False
            database.set_standby(True)
        super().heal()

    # At rest.

    def _run(self) -> Report:
        """As in a world of disks; only who serves is asked what holds at rest."""
        everybody = self.peers
        report = super()._run()
        self.peers = everybody
        return report

    def _until_quiet(self) -> None:
        for group in self.groups:
            serving = [member for member in group if member.node is not None]
            roles = [member.role.state.value for member in group if member.role is not None]
            if sorted(roles) != sorted(["serving"] + ["standby"] * (len(group) - 1)):
                raise Violation(f"S4: at rest the daemons of a home are {roles}")
            self.peers = [p for p in self.peers if p not in group or p in serving]
        super()._until_quiet()


def run_standby(seed: int, **settings: Any) -> Report:
    """
    One seed.

    Raises:
        Violation: with the seed and its kinds of trouble.
    """
    shaped = {"peers": 3, "orders": 80, **settings}
    world = StandbyWorld(seed, **shaped)
    try:
        return world.run()
    except Violation as violation:
        raise Violation(
            f"{violation}\n  SEED={seed} {world.standby} at {world.clock.now:.3f} s"
        ) from violation
