"""
Which alarms of a daemon are raised, since when, and the lines of the log that say so.

Shell: logs. An alarm is told of when it comes and when it is over, not while it lasts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger, LogLevel

from grenache_py.alarms import AlarmKind, raised

__all__ = ["LOOK_S", "AlarmWatch"]

#: How often it is looked, whether anybody asks or not.
LOOK_S = 5.0


class AlarmWatch:
    """The alarms of one daemon."""

    log = Logger()

    def __init__(self, clock: IReactorTime, kinds: Mapping[str, AlarmKind]) -> None:
        """
        Args:
            kinds: those of this kind of daemon, of ``alarms.py``.
        """
        self._clock = clock
        self._kinds = kinds
        self._since: dict[str, float] = {}
        self._told: set[str] = set()

    def look(self, found: Mapping[str, str]) -> list[dict[str, Any]]:
        """
        Take up what is wrong now.

        Args:
            found: by the id of its alarm, what is wrong in particular.

        Returns:
            the alarms that are raised, the gravest first, in plain JSON values: ``id``, ``level``
            (``alarm`` or ``warning``), ``text``, and for how many seconds (``for_s``).
        """
        now = self._clock.seconds()
        self._since = {id: min(now, self._since.get(id, now)) for id in found}
        lasted = {id: now - since for id, since in self._since.items()}
        held = {id: found[id] for id, s in lasted.items() if s >= self._kinds[id].hold_s}
        self._tell(held)
        return [{**each, "for_s": round(lasted[each["id"]])} for each in raised(self._kinds, held)]

    def _tell(self, held: Mapping[str, str]) -> None:
        for id in held.keys() - self._told:
            level = self._kinds[id].level
            self.log.emit(
                LogLevel.error if level == "alarm" else LogLevel.warn,
                "{kind} {id}: {text}; what to do: docs/operator.rst#alarm-{id}",
                kind=level,
                id=id,
                text=held[id],
            )
        for id in self._told - held.keys():
            self.log.info("{kind} {id} is over", kind=self._kinds[id].level, id=id)
        self._told = set(held)
