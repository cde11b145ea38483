"""
Who may do what on the client port: tokens and their scopes.

Pure. The token file is TOML and must be readable by its owner (and group) only:

    [[token]]
    token = "at least 16 characters"
    scopes = ["read", "trade"]      # any of read, trade, admin
    account = "alice"               # optional: may act for this account only

Tokens are kept as SHA-256 digests, so neither memory dumps nor the time a comparison takes
give one away.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import attrs

from grenache_py.errors import ConfigError

__all__ = ["ALL_SCOPES", "ClientTokens", "Grant", "digest_of"]

ALL_SCOPES = frozenset({"read", "trade", "admin"})
TOKEN_CHARS_MIN = 16
TOKENS_MAX = 10_000


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
    """

    scopes: frozenset[str]
    account: str | None = None


class ClientTokens:
    """The grants of a token file."""

    def __init__(self, grants: dict[bytes, Grant]) -> None:
        self._grants = grants

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
            if not isinstance(entry, dict) or not set(entry) <= {"token", "scopes", "account"}:
                raise ConfigError(f"{where}: its members are token, scopes and account")
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
            grants[digest] = Grant(frozenset(scopes), account)
        return cls(grants)

    def grant(self, token: str) -> Grant | None:
        """Return what ``token`` allows, or None for a token that is not known."""
        return self.by_digest(digest_of(token))

    def by_digest(self, digest: bytes) -> Grant | None:
        """Likewise, by what `digest_of` made of the token."""
        return self._grants.get(digest)
