"""
The one timer of the commit loop: it calls the node when that has something to do.

Shell: touches the clock only.
"""

from __future__ import annotations

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from grenache_py.exchange.daemon.loop.guarded_node import GuardedNode

__all__ = ["TICK_S_MAX", "NodeTimer"]

#: The node is called so often at least, whatever its deadlines say.
TICK_S_MAX = 2.0


class NodeTimer:
    """See the module."""

    def __init__(self, clock: IReactorTime, guarded: GuardedNode) -> None:
        self._clock = clock
        self._guarded = guarded
        self._timer: IDelayedCall | None = None
        self._armed_for = 0.0

    def arm(self) -> None:
        """Go off at the node's next deadline; its turn then arms it again."""
        node = self._guarded.node
        if node is None:
            return
        deadline = node.next_deadline()
        timer = self._timer
        if timer is not None and timer.active():
            if self._armed_for <= deadline:
                return  # too early does no harm: it will be armed again then
            timer.cancel()
        self._armed_for = deadline
        # Deadlines are wall time, which may be put back.
        delay = min(max(0.0, deadline - self._clock.seconds()), TICK_S_MAX)
        self._timer = self._clock.callLater(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._guarded.ask("clock work", lambda node, now: node.tick(now))

    def cancel(self) -> None:
        """Do not go off."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
