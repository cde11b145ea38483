"""
Who may do what on the client port: tokens and their scopes.

Pure. The token file is TOML and must be readable by its owner (and group) only:

    [[token]]
    token = "at least 16 characters"
    scopes = ["read", "trade"]      # any of read, trade, admin
    account = "alice"               # optional: may act for this account only
    ends = 2027-01-31               # optional: not taken from that day on (UTC), or a time

Tokens are kept as SHA-256 digests, so neither memory dumps nor the time a comparison takes
give one away.
"""

from __future__ import annotations

from datetime import date, datetime, timezone
from hashlib import sha256
from typing import Any

import attrs

from grenache_py.errors import ConfigError

__all__ = ["ALL_SCOPES", "ClientTokens", "Grant", "digest_of"]

ALL_SCOPES = frozenset({"read", "trade", "admin"})
TOKEN_CHARS_MIN = 16
TOKENS_MAX = 10_000
_MEMBERS = {"token", "scopes", "account", "ends"}


def digest_of(token: str) -> bytes:
    """What is kept of a token."""
    return sha256(token.encode()).digest()


@attrs.frozen
class Grant:
    """
    What a connection may do.

    Attributes:
        scopes: of ``read``, ``trade`` and ``admin``.
        account: the only account it may act for; None: any.
        ends: when it is not taken any more, in seconds since 1970; None: it is for ever. Two grants
            that differ in this alone allow the same.
    """

    scopes: frozenset[str]
    account: str | None = None
    ends: float | None = attrs.field(default=None, eq=False)

    def over(self, now: float) -> bool:
        """Whether it has ended."""
        return self.ends is not None and self.ends <= now


class ClientTokens:
    """
    The grants of a token file.

    Attributes:
        first_end: when the first of them ends, and which number it has in the file; None when none
            does.
    """

    def __init__(self, grants: dict[bytes, Grant]) -> None:
        self._grants = grants
        self.first_end: tuple[float, int] | None = min(
            (
                (grant.ends, number)
                for number, grant in enumerate(grants.values(), 1)
                if grant.ends is not None
            ),
            default=None,
        )

    @classmethod
    def of(cls, table: dict[str, Any]) -> ClientTokens:
        """
        Read a token file's content, already parsed.

        Raises:
            ConfigError: it is not as this module describes; the message says where.
        """
        entries = table.get("token")
        if set(table) != {"token"} or not isinstance(entries, list) or not entries:
            raise ConfigError("a token file holds [[token]] tables and nothing else")
        if len(entries) > TOKENS_MAX:
            raise ConfigError(f"a token file holds at most {TOKENS_MAX} tokens")
        grants: dict[bytes, Grant] = {}
        for number, entry in enumerate(entries, 1):
            where = f"[[token]] number {number}"
            if not isinstance(entry, dict) or not set(entry) <= _MEMBERS:
                raise ConfigError(f"{where}: its members are token, scopes, account and ends")
            token, scopes, account = entry.get("token"), entry.get("scopes"), entry.get("account")
            if not isinstance(token, str) or len(token) < TOKEN_CHARS_MIN:
                raise ConfigError(f"{where}: token must be {TOKEN_CHARS_MIN} characters or more")
            if not isinstance(scopes, list) or not scopes or not set(scopes) <= ALL_SCOPES:
                raise ConfigError(f"{where}: scopes must be of {', '.join(sorted(ALL_SCOPES))}")
            if account is not None and not isinstance(account, str):
                raise ConfigError(f"{where}: account must be a string")
            digest = digest_of(token)
            if digest in grants:
                raise ConfigError(f"{where}: this token stands in the file twice")
            grants[digest] = Grant(frozenset(scopes), account, _seconds(entry.get("ends"), where))
        return cls(grants)

    def grant(self, token: str) -> Grant | None:
        """Return what ``token`` allows, or None for a token that is not known."""
        return self.by_digest(digest_of(token))

    def by_digest(self, digest: bytes) -> Grant | None:
        """Likewise, by what `digest_of` made of the token."""
        return self._grants.get(digest)


def _seconds(ends: object, where: str) -> float | None:
    if ends is None:
        return None
    if isinstance(ends, datetime) and ends.tzinfo is not None:
        return ends.timestamp()
    if isinstance(ends, date) and not isinstance(ends, datetime):
        return datetime(ends.year, ends.month, ends.day, tzinfo=timezone.utc).timestamp()
    raise ConfigError(
        f"{where}: ends must be a day (2027-01-31) or a time with its zone (2027-01-31T18:00:00Z),"
        " without quotes"
    )
