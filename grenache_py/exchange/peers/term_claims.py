"""
Signed terms: which of several processes that prove one key is the newest holder of its identity.

Pure. See docs/design/identity.rst#takeovers. A home whose database has a term signs it, with its
boot id, and shows it in its hello. Whoever meets an earlier holder shows it the newest claim, so
that it need not believe the neighbour: it asks its database.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.signed_log.merkle import Sealer, Signed, Verifier, check_canonical

__all__ = ["TERM_MAX", "TermClaims"]

TERM_MAX = 2**53
#: Keys whose newest claim is remembered.
CLAIMS_MAX = 4_096


class TermClaim(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """``peer`` says: the process ``boot`` holds term ``term`` of mine."""

    peer: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    term: Annotated[int, msgspec.Meta(ge=1, le=TERM_MAX)]
    boot: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]


class TermClaims:
    """
    This peer's own claim, and the newest one of each key.

    Attributes:
        term: this peer's own; 0 when its store has none.
        rival: a higher one that somebody showed with this peer's own signature; 0 for none.
        wire: the own claim as it travels; empty without a term.
    """

    def __init__(self, me: str, boot: str, term: int, sealer: Sealer, verifier: Verifier) -> None:
        self.term = term
        self.rival = 0
        self.wire: dict[str, Any] = {}
        self._me = me
        self._verifier = verifier
        self._newest: dict[str, tuple[int, dict[str, Any]]] = {}
        if term:
            draft = sealer.add(msgspec.json.encode(TermClaim(me, term, boot)).decode())
            sealer.seal()  # a hello does not wait for the next batch
            self.wire = msgspec.to_builtins(draft.proof.wire())
            self._newest[me] = term, self.wire

    def take(self, value: dict[str, Any], key: str, boot: str) -> int:
        """
        Read the claim of a hello, and keep it if it is the newest of its key.

        Returns:
            its term; 0 when there is no claim.

        Raises:
            RemoteProtocolError: it is malformed, or not that peer's and that process's.
        """
        if not value:
            return 0
        claim = self._read(value, key)
        if claim.boot != boot:
            raise RemoteProtocolError("bad term: it is another process's")
        if claim.term > self.newest(key) and key != self._me:
            self._newest.pop(key, None)
            self._newest[key] = claim.term, value
            if len(self._newest) > CLAIMS_MAX:
                del self._newest[next(each for each in self._newest if each != self._me)]
        return claim.term

    def newest(self, key: str) -> int:
        """The highest term that ``key`` has shown; 0 for none."""
        return self._newest.get(key, (0,))[0]

    def farewell(self, key: str) -> dict[str, Any]:
        """The params of the goodbye to an earlier holder of ``key``."""
        return {"reason": "a newer holder of this identity serves", "term": self._newest[key][1]}

    def shown(self, value: dict[str, Any]) -> None:
        """
        Somebody showed a claim that should be this peer's own.

        Raises:
            RemoteProtocolError: it is malformed, or not signed by this peer.
        """
        if self.term:
            self.superseded(self._read(value, self._me).term)

    def superseded(self, term: int) -> None:
        """Another process of this identity has ``term``."""
        if term > self.term:
            self.rival = max(self.rival, term)

    def _read(self, value: dict[str, Any], key: str) -> TermClaim:
        signed = Signed.from_wire(value)
        try:
            claim = msgspec.json.decode(signed.payload, type=TermClaim)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise RemoteProtocolError(f"bad term: {error}") from None
        check_canonical("term", claim, signed.payload)
        if claim.peer != key:
            raise RemoteProtocolError("bad term: it is another peer's")
        self._verifier.check(signed, key)
        return claim
