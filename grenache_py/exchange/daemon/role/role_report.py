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

    def facts(self, role: DaemonRole, now: float, seen_at: float) -> dict[str, Any]:
        """
        The role, for ``status``.

        Args:
            seen_at: when ``role.sight`` was seen, by the same clock as ``now``.
        """
        found: dict[str, Any] = {
            "role": "serving" if role.certain(now) else "standby",
            "state": role.state.value,
            "reason": role.reason,
            "term": role.term,
        }
        sight = role.sight
        if sight is not None:
            silent_s, seen_s_ago = max(0.0, sight.silent_s), now - seen_at
            found |= {
                "newest_term": sight.term.number,
                "since": sight.term.since_ms,
                "holder": sight.term.holder,
                # All that its holder had committed by then is read here, unless it is not seen.
                "age_s": round(silent_s + seen_s_ago, 3),
            }
        return found
