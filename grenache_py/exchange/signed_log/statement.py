"""
Signs of life: a signed statement that names the end of a hash chain, and pulses, its values.

Pure. See docs/design/leases.rst. A home that states draws a chain of values, each the hash of the
next, signs the first one (the *anchor*), and reveals one more each ``slot``. Who knows the anchor
checks such a *pulse* with a hash or a few; nobody else can make one before its home shows it.
A statement says besides how far its home's log went and what was live there.
"""

from __future__ import annotations

from hashlib import sha256
from struct import Struct
from typing import NamedTuple

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.signed_log.entries import EPOCH_MAX, SEQ_MAX
from grenache_py.exchange.signed_log.hybrid_clock import TIME_MS_MAX
from grenache_py.exchange.signed_log.merkle import Sealer, Verifier

__all__ = [
    "LEASE_S_MAX",
    "PULSES_MAX",
    "STATEMENT_BYTES",
    "VALUE_BYTES",
    "LifeStatement",
    "chain_of",
    "earlier",
]

#: Of one value. To find one that hashes to another takes 2**96 tries; it is worth a lease.
VALUE_BYTES = 12
#: Pulses of one statement: a quarter of an hour with slots of 10 s.
PULSES_MAX = 90
#: A longer lease is refused: a home that died must be gone soon.
LEASE_S_MAX = 60

_BODY = Struct(f">B32sIQQHBB{VALUE_BYTES}sI32s")
_KIND, _WHAT = 1, b"statement"
#: Of a statement with its signature.
STATEMENT_BYTES = _BODY.size + 64


def earlier(value: bytes) -> bytes:
    """The value of the chain that was revealed before this one."""
    return sha256(value).digest()[:VALUE_BYTES]


def chain_of(sealer: Sealer, ms: int) -> list[bytes]:
    """
    The values of a new chain: the anchor, and ``PULSES_MAX`` pulses.

    Nobody else can know them, and nothing of it is stored: ``ms`` is never stated twice.
    """
    seed = sha256(sealer.sign(b"chain", ms.to_bytes(8, "big"))).digest()
    values = [seed[:VALUE_BYTES]]
    for _ in range(PULSES_MAX):
        values.append(earlier(values[-1]))
    return values[::-1]


class LifeStatement(NamedTuple):
    """
    What a home says of itself.

    Attributes:
        home: its key, 64 hex digits.
        epoch, seq: of the newest entry of its log.
        ms: when it was made; pulse ``n`` is revealed ``n`` slots later.
        pulses: how many there are.
        slot_s, lease_s: between two pulses; and how long each is good. No lease: it is a goodbye.
        anchor: the value before the first pulse.
        live, fingerprint: as in a heartbeat, after that entry.
    """

    home: str
    epoch: int
    seq: int
    ms: int
    pulses: int
    slot_s: int
    lease_s: int
    anchor: bytes
    live: int
    fingerprint: int

    @property
    def place(self) -> tuple[int, int]:
        """The larger one is newer: an epoch may begin with a clock that lost its floor."""
        return self.epoch, self.ms

    def ends_ms(self, number: int) -> int:
        """Until when the home is believed to live by pulse ``number``; 0 is the statement."""
        return self.ms + 1000 * (number * self.slot_s + self.lease_s)

    def shown_ms(self, number: int) -> int:
        """When pulse ``number`` is shown, and not before."""
        return self.ms + 1000 * number * self.slot_s

    def _body(self) -> bytes:
        home, epoch, seq, ms, pulses, slot_s, lease_s, anchor, live, fingerprint = self
        return _BODY.pack(
            _KIND, bytes.fromhex(home), epoch, seq, ms, pulses, slot_s, lease_s, anchor, live,
            fingerprint.to_bytes(32, "big"),
        )  # fmt: skip

    def signed(self, sealer: Sealer) -> bytes:
        """``STATEMENT_BYTES``, as they travel."""
        body = self._body()
        return body + sealer.sign(_WHAT, body)

    @classmethod
    def read(cls, data: bytes) -> LifeStatement:
        """
        The reverse of ``signed``. The signature is not looked at.

        Raises:
            RemoteProtocolError: it is none, or says what none may say.
        """
        if len(data) != STATEMENT_BYTES or data[0] != _KIND:
            raise RemoteProtocolError("bad statement: its length or its kind")
        _, home, epoch, seq, ms, pulses, slot_s, lease_s, anchor, live, fingerprint = (
            _BODY.unpack_from(data)
        )
        if not (
            0 < epoch <= EPOCH_MAX
            and 0 < seq <= SEQ_MAX
            and ms <= TIME_MS_MAX
            and 0 < pulses <= PULSES_MAX
            and 0 < slot_s <= LEASE_S_MAX
            and (slot_s <= lease_s <= LEASE_S_MAX or not lease_s)
        ):
            raise RemoteProtocolError("bad statement: a number is out of its range")
        return cls(
            home.hex(), epoch, seq, ms, pulses, slot_s, lease_s, anchor, live,
            int.from_bytes(fingerprint, "big"),
        )  # fmt: skip

    def check(self, data: bytes, verifier: Verifier) -> None:
        """
        Raises:
            RemoteProtocolError: ``data``, which this was read from, is not signed by its home.
        """
        body, signature = data[: _BODY.size], data[_BODY.size :]
        if not verifier.signed(self.home, _WHAT, body, signature):
            raise RemoteProtocolError("bad statement: the signature is not that of its home")
