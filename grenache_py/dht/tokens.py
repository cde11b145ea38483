"""
Write tokens: who wants to store here shows that it can receive at the address it claims.

Pure. A token is a keyed BLAKE2b of the asker's IP address and of the five-minute
epoch, 20 bytes as Node's are. It holds for any key and any port of that address and
for the epoch after its own: 5 to 10 minutes, as Node grapes and BEP 5 have it.
Because the epoch comes from the clock and the key may outlive the process, a
restarted node honours the tokens it gave before.
"""

from __future__ import annotations

from hashlib import blake2b
from hmac import compare_digest

from grenache_py.wire.krpc import pack_host

__all__ = ["TOKEN_BYTES", "WriteTokens"]

#: As Node's.
TOKEN_BYTES = 20
#: A token holds in the epoch that it is given in and in the next.
EPOCH_S = 300.0


class WriteTokens:
    """
    Gives and checks tokens.

    Args:
        key: 32 secret bytes.
        remembered_max: Addresses whose token is kept for the current epoch.
    """

    def __init__(self, key: bytes, remembered_max: int = 4096) -> None:
        self._key = key
        self._remembered_max = remembered_max
        self._epoch = -1
        self._given: dict[str, bytes] = {}

    def give(self, host: str, now: float) -> bytes:
        """The token for ``host``, an IP literal."""
        epoch = int(now // EPOCH_S)
        if epoch != self._epoch:
            self._epoch = epoch
            self._given.clear()
        token = self._given.get(host)
        if token is None:
            if len(self._given) >= self._remembered_max:
                self._given.clear()
            token = self._given[host] = self._make(host, epoch)
        return token

    def valid(self, token: bytes, host: str, now: float) -> bool:
        """Whether ``token`` was given to ``host`` in this epoch or the one before."""
        if compare_digest(token, self.give(host, now)):
            return True
        return compare_digest(token, self._make(host, int(now // EPOCH_S) - 1))

    def _make(self, host: str, epoch: int) -> bytes:
        return blake2b(
            b"%d " % epoch + pack_host(host), key=self._key, digest_size=TOKEN_BYTES
        ).digest()
