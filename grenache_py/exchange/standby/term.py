"""
The term: which daemon of an identity may write to the identity's database.

Pure. See docs/design/standby.rst#term. It is one row, which only a compare-and-swap changes.
"""

from __future__ import annotations

import attrs

__all__ = ["Sight", "Term", "Watch"]


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
    """

    term: Term
    at_s: float
    silent_s: float
    server: str = ""
    head: tuple[int, int] = (0, 0)
    wanted: str = ""
    unsafe: str = ""


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
