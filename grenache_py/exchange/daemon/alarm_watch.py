"""
Which alarms of a peer are raised, since when, and the lines of the log that say so.

Shell: logs. An alarm is told of when it comes and when it is over, not while it lasts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

from grenache_py.alarms import PEER, raised
from grenache_py.exchange.condition.symptoms import symptoms

__all__ = ["LOOK_S", "AlarmWatch"]

#: How often it is looked, whether anybody asks or not.
LOOK_S = 5.0


class AlarmWatch:
    """The alarms of one peer."""

    log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._since: dict[str, float] = {}
        self._told: set[str] = set()

    def look(self, status: Mapping[str, Any]) -> list[dict[str, Any]]:
        """
        Judge a peer's status.

        Returns:
            the alarms that are raised, the gravest first, in plain JSON values: ``id``, ``level``
            (``alarm`` or ``warning``), ``text``, and for how many seconds (``for_s``).
        """
        now = self._clock.seconds()
        found = symptoms(status)
        self._since = {id: min(now, self._since.get(id, now)) for id in found}
        lasted = {id: now - since for id, since in self._since.items()}
        held = {id: found[id] for id, s in lasted.items() if s >= PEER[id].hold_s}
        self._tell(held)
        return [{**each, "for_s": round(lasted[each["id"]])} for each in raised(PEER, held)]

    def _tell(self, held: Mapping[str, str]) -> None:
        for id in held.keys() - self._told:
            level = PEER[id].level
            self.log.emit(
                LogLevel.error if level == "alarm" else LogLevel.warn,
                "{kind} {id}: {text}; what to do: docs/operator.rst#alarm-{id}",
                kind=level,
                id=id,
                text=held[id],
            )
        for id in self._told - held.keys():
            self.log.info("{kind} {id} is over", kind=PEER[id].level, id=id)
        self._told = set(held)
