"""What asking a grape can end in, other than an answer. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from grenache_py.errors import GrenacheError, RemoteProtocolError

__all__ = ["BadAnswer", "GrapeRefused", "GrapeUnreachable", "LinkBusy", "LinkError"]

#: Refusals that say something about the grape's neighbours, not about the request:
#: another grape may well accept what this one did not.
LONELY = frozenset({"No nodes to query", "All queries failed"})


class LinkError(GrenacheError):
    """Base of everything a Link's Deferred fails with, cancellation apart."""


class GrapeUnreachable(LinkError):
    """
    No grape gave a usable answer before the deadline.

    Attributes:
        attempts: one line for each try, ``"<url>: <what happened>"``, oldest first.
    """

    def __init__(self, summary: str, attempts: Sequence[str]) -> None:
        self.attempts = tuple(attempts)
        different = dict.fromkeys(attempts)  # a reason that repeats is shown once
        super().__init__(f"{summary}: {'; '.join(different)}" if different else summary)


class GrapeRefused(LinkError):
    """
    A grape answered, and the answer is an error.

    Grapes send most errors as HTTP 200 with a JSON string, which Node's link hands
    on as a success; here they all end up in this type.

    Attributes:
        code: the grape's own text, such as ``ERR_GRAPE_SERVICE_PORT`` or ``All queries failed``.
        status: the HTTP status: 200, 301 (``cas`` did not match), 302 (``seq`` is not
            newer than the stored one), 413 (too large) or 500.
        grape: the URL of the grape that said so.
    """

    def __init__(self, code: str, status: int, grape: str = "") -> None:
        self.code = code
        self.status = status
        self.grape = grape
        super().__init__(code, status)

    def __str__(self) -> str:
        where = f"the grape {self.grape}" if self.grape else "the grape"
        hint = "; no other grape took it" if self.lonely else ""
        status = "" if self.status == 200 else f" (HTTP {self.status})"
        return f"{where} refused: {self.code}{status}{hint}"

    @property
    def lonely(self) -> bool:
        """Whether the grape merely lacks neighbours: ask another one, or ask again later."""
        return self.code in LONELY


class BadAnswer(LinkError, RemoteProtocolError):
    """A grape's answer is not of the agreed shape, or does not match its hash or signature."""


class LinkBusy(LinkError):
    """This Link has as many requests in flight as it allows; wait for some of them."""
