"""
One service that is kept announced.

Shell: owns one timer. When it fires is decided in ``announcing.py``.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from grenache_py.errors import GrenacheError
from grenache_py.link.announcing import AnnounceSchedule
from grenache_py.link.errors import GrapeRefused, LinkError

__all__ = ["Announcement"]


class Announcement:
    """
    A service that is kept announced; made by :meth:`Link.start_announcing`.

    Attributes:
        name: the service.
        port: where it listens, on the host of the grape.
        last_success: clock seconds of the last announcement a grape accepted, or None.
        last_count: how many other grapes recorded it then.
        last_error: why the last try failed, None after a success.
    """

    _log = Logger()

    def __init__(
        self,
        name: str,
        port: int,
        schedule: AnnounceSchedule,
        clock: IReactorTime,
        announce: Callable[[str, int], Deferred[int]],
        stopped: Callable[[Announcement], None],
    ) -> None:
        self.name = name
        self.port = port
        self.last_success: float | None = None
        self.last_count = 0
        self.last_error: GrenacheError | None = None
        self._schedule = schedule
        self._clock = clock
        self._announce = announce
        self._when_stopped = stopped
        self._waiting: list[Deferred[int]] = []
        self._timer: IDelayedCall | None = None
        self._request: Deferred[None] | None = None
        self._stopped = False

    def __repr__(self) -> str:
        if self._stopped:
            state = "stopped"
        elif self.last_error is not None:
            state = f"failing: {self.last_error}"
        else:
            state = "not yet" if self.last_success is None else f"recorded by {self.last_count}"
        return f"<Announcement {self.name!r} port {self.port}, {state}>"

    def when_announced(self) -> Deferred[int]:
        """
        Wait until the service has been announced once.

        Fires with: how many other grapes recorded it, at once if it has been announced before.
        Fails with:
            CancelledError: announcing was stopped, or the caller cancelled.
        Cancel: only this wait ends; the announcing goes on.
        """
        if self.last_success is not None:
            return succeed(self.last_count)
        if self._stopped:
            return fail(CancelledError())
        waiter: Deferred[int] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        return waiter

    def stop(self) -> None:
        """Announce no more. Grapes forget the service when its record expires, in 2 minutes."""
        if self._stopped:
            return
        self._stopped = True
        self._when_stopped(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._request is not None:
            self._request.cancel()
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.errback(CancelledError())

    def begin(self) -> None:
        """Announce now, and from now on."""
        self._timer = None
        self._request = Deferred.fromCoroutine(self._announce_once())
        self._request.addErrback(
            lambda failure: self._log.failure("announcing {name}", failure, name=self.name)
        )

    async def _announce_once(self) -> None:
        try:
            count = await self._announce(self.name, self.port)
        except CancelledError:
            return
        except LinkError as error:
            self._failed(error)
            pause = self._schedule.failed()
        else:
            self._succeeded(count)
            pause = self._schedule.succeeded()
        self._request = None
        if not self._stopped:
            self._timer = self._clock.callLater(pause, self.begin)

    def _failed(self, error: LinkError) -> None:
        if self.last_error is None:  # the first of a row; the others say the same again
            if isinstance(error, GrapeRefused) and error.lonely:
                self._log.info(
                    "{name} port {port} waits for other grapes: there is none yet to record it",
                    name=self.name,
                    port=self.port,
                )
            else:
                self._log.warn(
                    "{name} port {port} is not announced: {error}",
                    name=self.name,
                    port=self.port,
                    error=str(error),
                )
        self.last_error = error

    def _succeeded(self, count: int) -> None:
        if self.last_error is not None or self.last_success is None:
            self._log.info(
                "{name} port {port} is announced; grapes that recorded it: {count}",
                name=self.name,
                port=self.port,
                count=count,
            )
        self.last_success = self._clock.seconds()
        self.last_count = count
        self.last_error = None
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(count)
