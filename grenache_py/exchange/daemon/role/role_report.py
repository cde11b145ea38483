"""
What a daemon says of its role: in its log, and in ``status``.

Shell: writes to the log.
"""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger

from grenache_py.exchange.standby.role import DaemonRole
from grenache_py.exchange.standby.role_states import RoleState

__all__ = ["RoleReport"]

_SAID = {
    RoleState.STANDBY: "stands by: {reason}",
    RoleState.ENDING: "takes the term, which {holder} has",
    RoleState.SERVING: "serves, in term {term}",
    RoleState.DEMOTING: "finishes what it took, and gives term {term} up",
    RoleState.FENCED: "serves no more: {reason}",
}
_WHY = frozenset({RoleState.STANDBY, RoleState.FENCED})


class RoleReport:
    """See the module."""

    log = Logger()

    def __init__(self) -> None:
        self._said = (RoleState.STANDBY, "")

    def say(self, role: DaemonRole, known: str) -> None:
        """
        Log that the role is another one.

        Args:
            known: a reason that the log has already.
        """
        said = role.state, role.reason if role.state in _WHY else ""
        if said == self._said or role.state not in _SAID or role.sight is None:
            return
        self._said = said
        if role.state is not RoleState.FENCED or role.reason != known:
            holder = role.sight.term.holder or "nobody"
            self.log.info(_SAID[role.state], reason=role.reason, term=role.term, holder=holder)

    def facts(self, role: DaemonRole, now: float, age_s: float) -> dict[str, Any]:
        """
        The role, for ``status``.

        Args:
            age_s: how long ago the holder was last known to live.
        """
        found: dict[str, Any] = {
            "role": "serving" if role.certain(now) else "standby",
            "state": role.state.value,
            "reason": role.reason,
            "term": role.term,
        }
        sight = role.sight
        if sight is not None:
            found |= {
                "newest_term": sight.term.number,
                "since": sight.term.since_ms,
                "holder": sight.term.holder,
                "age_s": round(age_s, 3),
            }
        return found
