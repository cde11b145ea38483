"""
Plays the role of a daemon among several of one home: looks, takes over, serves, gives the term up.

Shell: carries out what a `DaemonRole` wants with the database and the commit loop, and tells it
what came of that. docs/design/standby.rst has the rules.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from threading import Event
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from grenache_py.deferreds import Background, DeadlinePassed, OneShot, deadline
from grenache_py.errors import ConfigError
from grenache_py.exchange.condition.symptoms import OPENING, STANDS_BY
from grenache_py.exchange.daemon.loop.commit_loop import CommitLoop
from grenache_py.exchange.daemon.role.role_report import RoleReport
from grenache_py.exchange.daemon.role.stored_reads import StoredReads
from grenache_py.exchange.errors import BUSY, INVALID_REQUEST, STANDBY, OrderError, StoreError
from grenache_py.exchange.standby import role_effects as wishes
from grenache_py.exchange.standby.role import SILENT_S, DaemonRole
from grenache_py.exchange.standby.role_states import RoleState
from grenache_py.exchange.standby.term import Sight, Term
from grenache_py.exchange.storage.postgresql.stored_term import in_use

if TYPE_CHECKING:
    from grenache_py.exchange.client_port.gateway import Gateway
    from grenache_py.exchange.node import ExchangeNode
    from grenache_py.exchange.storage.postgresql.postgresql_store import PostgreSQLStore

__all__ = ["ServingRole"]

#: How long a daemon that stops tries to say that its term is free.
GIVE_UP_S = 2.0
#: When a client may ask again that came while nobody could say who serves.
AGAIN_MS = 250

_LATER_S = 0.01  # what a time that was computed from two others may differ by
_TAKING_OVER = frozenset({RoleState.ENDING, RoleState.RAISING, RoleState.LOADING})


class ServingRole:
    """
    One daemon's role, played.

    Attributes:
        on_serving, on_standby: called when this daemon serves, and when it does not any more.
        load: of the newest node.
    """

    log = Logger()

    def __init__(
        self,
        store: PostgreSQLStore,
        commit_loop: CommitLoop,
        gateway: Gateway,
        clock: IReactorTime,
        seconds: Callable[[], float],
        *,
        stands_by: bool,
        new_epoch: bool,
        cannot: Callable[[Failure], None],
    ) -> None:
        """
        Args:
            commit_loop: asks here what follows when its node is lost.
            seconds: a clock that only goes forward, also while the machine sleeps.
            stands_by: it may begin while another daemon serves.
            new_epoch: the operator's word that the database may have lost commits.
            cannot: called when it cannot serve with these settings, after it had begun.
        """
        self.on_serving: Callable[[], None] = lambda: None
        self.on_standby: Callable[[], None] = lambda: None
        self.load: wishes.LoadNode | None = None
        self._store = store
        self._watcher = watcher = store.watcher
        self._commit_loop = commit_loop
        self._gateway = gateway
        self._clock = clock
        self._seconds = seconds
        self._stands_by = stands_by
        self._new_epoch = new_epoch
        self._cannot = cannot
        self._boot = watcher.database.claimant.boot
        self._role = DaemonRole(self._boot, "", seconds())
        self._begun: OneShot[None] = OneShot()
        self._loaded = Event()  # of the newest node
        self._spoke_s = 0.0  # when the holder was first seen to have spoken
        self._seen_at = seconds()
        self._at_work = False
        self._timer: IDelayedCall | None = None
        self._report = RoleReport()
        self._serves = False
        self._answered = False  # the newest look was
        self._asking = False
        self._background = Background(self.log)
        self._reads = StoredReads(
            store, gateway, clock, seconds, self._background, self._sight_age_s
        )

    async def begin(self, holder: str) -> None:
        """
        Look at the database; return when this daemon serves, or stands by.

        Args:
            holder: where clients reach it.

        Raises:
            StoreError: the database cannot be used, or another daemon serves.
            ConfigError: what it holds does not fit the settings.
        """
        sight = await self._watcher.look()
        if sight.unsafe:
            raise StoreError("refused", sight.unsafe)
        role = self._role = DaemonRole(self._boot, holder, self._seconds())
        self._commit_loop.lost = self._lost
        self._gateway.unsure = self._unsure
        if self._new_epoch:
            role.promote(self._seconds(), new_epoch=True)
        self._go_on()
        try:
            await self._begun.when()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Give the term up, if there is one, once the commit loop has stopped; look no more."""
        role, term = self._role, self._role.term
        role.stop()
        role.take_effects()
        self._arm()
        if term:
            try:
                await deadline(self._store.give_up(), GIVE_UP_S, self._clock, "giving the term up")
            except (StoreError, DeadlinePassed) as error:
                self.log.warn("the term is not given up: {error}", error=str(error))
        self._loaded.set()
        await self._background.stop()
        await self._watcher.close()

    # What an operator wants.

    def promote(self, new_epoch: bool) -> None:
        """See `gateway.Admin`."""
        role, sight = self._role, self._role.sight
        if new_epoch:
            term = Term() if sight is None else sight.term
            other = term.holder and term.boot != self._boot
            if role.term or (other and sight is not None and sight.silent_s < SILENT_S):
                raise OrderError(
                    INVALID_REQUEST,
                    "A new epoch closes all open orders; it is for a database that lost what was"
                    " acknowledged. The daemon that serves has lost nothing: stop it first, or"
                    " promote without a new epoch.",
                )
            self._watcher.database.accept_copy = True
        role.promote(self._seconds(), new_epoch)
        self._go_on()

    def demote(self) -> None:
        """See `gateway.Admin`."""
        self._role.demote(self._seconds())
        self._go_on()

    # What the commit loop and the clients ask.

    def _lost(self, reason: str) -> None:
        self._tell(self._role.store_failed, reason)

    def _unsure(self) -> OrderError | None:
        if self._role.certain(self._seconds()) or self._role.state is not RoleState.SERVING:
            return None
        return OrderError(
            BUSY,
            "This daemon has not heard of its database for a while, and looks whether it serves"
            " still; ask again in a moment.",
            retry_after_ms=AGAIN_MS,
        )

    # The role.

    def _tell(self, happened: Callable[..., None], *what: Any) -> None:
        """Tell the role what came of something, and do what it wants then."""
        self._role.committed(self._store.head)
        happened(*what, self._seconds())
        self._go_on()

    def _go_on(self) -> None:
        if self._at_work:
            return
        self._at_work = True
        try:
            while effects := self._role.take_effects():
                for effect in effects:
                    self._carry_out(effect)
        finally:
            self._at_work = False
        self._show()
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        at = self._role.deadline()
        if at is not None:
            self._timer = self._clock.callLater(max(0.0, at - self._seconds()), self._tick)

    def _tick(self) -> None:
        node = self._commit_loop.node
        if node is not None and node.peering.claims.rival:
            self._role.superseded(node.peering.claims.rival, self._seconds())
        self._tell(self._role.tick)

    def _carry_out(self, effect: wishes.RoleEffect) -> None:
        role, store = self._role, self._store
        if isinstance(effect, wishes.Look):
            step = effect.step

            def missed(failure: Failure) -> None:
                self._answered = False
                self._tell(role.look_failed, step, self._reason(failure))

            looking = self._watcher.look(effect.alive)
            self._logged(looking.addCallbacks(lambda sight: self._seen(step, sight), missed))
        elif isinstance(effect, wishes.EndSessions):
            self._step(store.end_sessions(effect.silent_s), role.ended, effect.step)
        elif isinstance(effect, wishes.Raise):
            raising = store.raise_term(
                effect.expected, effect.number, effect.holder, effect.silent_s
            )
            self._step(raising, role.raised, effect.step, effect.number)
        elif isinstance(effect, wishes.LoadNode):
            self._step(Deferred.fromCoroutine(self._load(effect)), role.loaded, effect.step)
        elif isinstance(effect, wishes.DropNode):
            self._commit_loop.drop(effect.reason)
            store.drop()
        elif isinstance(effect, wishes.Finish):
            told = OrderError(
                BUSY,
                "This daemon leaves its home to another one; ask again in a moment.",
                retry_after_ms=AGAIN_MS,
            )
            finishing = Deferred.fromCoroutine(self._commit_loop.finish(told))
            self._step(finishing, role.finished, effect.step)
        elif isinstance(effect, wishes.GiveUp):
            self._step(store.give_up(), role.given_up, effect.step)
        elif isinstance(effect, wishes.Ask):
            # Who starts takes nothing from a daemon that lives.
            if self._begun.happened and not self._asking:
                self._background.spawn("asking for the term", self._ask())
        else:
            self._commit_loop.guarded.ask("two databases", _two_databases(effect.number))

    def _step(
        self, doing: Deferred[None], done: Callable[..., None], step: int, *what: Any
    ) -> None:
        """Tell the role how a step ends."""
        role = self._role

        def failed(failure: Failure) -> None:
            error = failure.value
            if isinstance(error, StoreError) and error.fault == "fenced":
                self._tell(role.outrun, step)
                return
            if not self._begun.happened and isinstance(error, (StoreError, ConfigError)):
                self._begun.fail(failure)
            elif isinstance(error, ConfigError):
                self._cannot(failure)
            self._tell(role.failed, step, self._reason(failure))

        self._logged(doing.addCallbacks(lambda _: self._tell(done, step, *what), failed))

    def _reason(self, failure: Failure) -> str:
        if not failure.check(StoreError, ConfigError):
            self.log.failure("a step of the role failed as it must not", failure)
        return failure.getErrorMessage()

    def _logged(self, doing: Deferred[None]) -> None:
        doing.addErrback(lambda failure: self.log.failure("playing the role failed", failure))

    async def _ask(self) -> None:
        self._asking = True
        try:
            await self._watcher.ask()
        except StoreError as error:
            self.log.warn("cannot ask for the term: {reason}", reason=error.message)
        finally:
            self._asking = False

    async def _load(self, load: wishes.LoadNode) -> None:
        role = self._role
        # While this thread makes the node.
        loaded = self._loaded = self._watcher.stay_alive(load.term)
        try:
            snapshot = await self._store.load()
            if role.state is RoleState.LOADING and role.term == load.term:
                self.load = load
                self._commit_loop.begin(snapshot)
        finally:
            loaded.set()

    def _seen(self, step: int, sight: Sight) -> None:
        self._seen_at, self._answered = self._seconds(), True
        if not self._stands_by and not self._begun.happened:
            self._see_whether_served(sight)
        self._tell(self._role.seen, step, sight)

    def _see_whether_served(self, sight: Sight) -> None:
        """A daemon that may not stand by does not begin while another one speaks."""
        term = sight.term
        if not term.holder or term.boot == self._boot:
            return
        spoke_s = sight.at_s - sight.silent_s
        self._spoke_s = self._spoke_s or spoke_s
        if spoke_s > self._spoke_s + _LATER_S and sight.silent_s < SILENT_S:
            place = self._watcher.database.place
            self._begun.fail(StoreError("locked", f"{place} {in_use(term)}"))

    # What others see of it.

    def _show(self) -> None:
        role, state, store = self._role, self._role.state, self._store
        if state is RoleState.STOPPED:
            return
        self._report.say(role, self._commit_loop.failed)
        if (state is RoleState.SERVING) is not self._serves:
            self._serves = not self._serves
            (self.on_serving if self._serves else self.on_standby)()
        if state is RoleState.STANDBY and role.sight is not None:
            store.follows = self._answered and not (role.sight.unsafe or role.older)
            self._refer()
        elif store.follows:
            store.follows = False
            if state in _TAKING_OVER:
                told = "This daemon takes over; ask again in a moment."
                self._commit_loop.guarded.refuse(OrderError(BUSY, told, retry_after_ms=AGAIN_MS))
        reads = store.follows and self._gateway.from_store
        if not self._begun.happened and (
            role.certain(self._seconds()) or (reads and self._stands_by)
        ):
            self._begun.fire(None)

    def _refer(self) -> None:
        """Send clients to the daemon that serves, and let them read here what is stored."""
        gateway, sight = self._gateway, self._role.sight
        serving = ""
        if sight is not None and sight.term.boot != self._boot:
            serving = sight.term.holder
        if self._store.follows:
            self._reads.begin(self._show)
        where = f"the one that serves, at {serving}" if serving else "another one, when one serves"
        self._commit_loop.guarded.refuse(
            OrderError(STANDBY, f"This daemon stands by: ask {where}.", serving=serving),
            gateway.from_store and self._store.follows,
        )

    def _sight_age_s(self) -> float:
        """How long ago the holder was last known to live; for ever, before the first look."""
        sight = self._role.sight
        if sight is None:
            return inf
        # All that its holder had committed by then is read here, unless it is not seen.
        return max(0.0, sight.silent_s) + self._seconds() - self._seen_at

    def facts(self) -> dict[str, Any]:
        """What ``status`` says of it, by member."""
        role = self._role
        database = self._report.facts(role, self._seconds(), self._sight_age_s())
        found: dict[str, Any] = {
            "role": database["role"],
            "database": {**self._store.facts["database"], **database},
        }
        if self._commit_loop.node is None:
            if self._gateway.from_store and self._store.follows:
                found["store"] = STANDS_BY
            elif role.state in _TAKING_OVER or not self._begun.happened:
                found["store"] = OPENING
            else:
                found["store"] = role.reason
        return found


def _two_databases(number: int) -> Callable[[ExchangeNode, float], None]:
    def alarm(node: ExchangeNode, now: float) -> None:
        node.replica.alarms.append(
            f"another database has given this identity term {number}: there are two, and one of"
            " them must not be used any more; see which, and stop this daemon if it is this one"
        )

    return alarm
