"""
The term: which daemon of an identity may write to the identity's database.

Pure. See docs/design/standby.rst#term. It is one row, which only a compare-and-swap changes.
"""

from __future__ import annotations

import attrs

__all__ = ["STALLED_S", "Sight", "Term", "Watch"]

#: A commit that has waited for so long waits for a standby that is not there.
STALLED_S = 1.0
_STALLED = (
    "commits wait for a synchronous standby that does not answer, so nobody can take the term: look"
    " at the standby, and at the way to it"
)


@attrs.frozen
class Term:
    """
    Who may write.

    Attributes:
        number: rises each time it is taken; 0: it never was.
        holder: where clients reach the daemon that holds it; "" when it was given up.
        boot: that daemon's process, 32 hex digits.
        since_ms: when it was taken, by the database's clock.
    """

    number: int = 0
    holder: str = ""
    boot: str = ""
    since_ms: int = 0


@attrs.frozen
class Sight:
    """
    What one look at the database showed.

    Attributes:
        at_s: the database's clock.
        silent_s: seconds since the holder said that it lives, by the same clock.
        server: which server answered: another one after each failover of the database.
        wanted: the boot of the daemon that an operator wants to serve; "" for none.
        head: epoch and number of the newest entry of the home's own log.
        unsafe: why a commit in this database may be lost; "" when it may not
            (docs/design/standby.rst#rule-6).
        waits_s: how long a commit has waited for the synchronous standby, of whichever daemon.
    """

    term: Term
    at_s: float
    silent_s: float
    server: str = ""
    head: tuple[int, int] = (0, 0)
    wanted: str = ""
    unsafe: str = ""
    waits_s: float = 0.0

    @property
    def stalled(self) -> str:
        """Why nobody can take the term now: that commit would wait as well; "" when one can."""
        return _STALLED if self.waits_s > STALLED_S else ""


@attrs.define
class Watch:
    """
    What one row of looks at one server says.

    Attributes:
        server: that one.
        since_s: when it began, by the database's clock.
        alive: a holder was seen alive: the server has all that one wrote.
        broken: a look failed: the row begins anew with the next.
    """

    server: str
    since_s: float
    alive: bool = False
    broken: bool = False
