"""
How fast one sender may ask: token buckets, per connection and per account.

Pure. A bucket holds up to ``burst`` tokens and is refilled at ``per_s``; a request takes one,
or is told in how many milliseconds there will be one again.
"""

from __future__ import annotations

from math import ceil

import attrs

__all__ = ["NO_LIMIT", "Rate", "RateLimits", "TokenBucket"]

#: Accounts whose bucket is remembered; beyond it the one used longest ago is dropped, and starts
#: full again.
ACCOUNTS_MAX = 10_000


@attrs.frozen
class Rate:
    """``per_s`` requests a second on the long run, ``burst`` at once. ``per_s`` 0: no limit."""

    per_s: float
    burst: int

    @classmethod
    def parse(cls, text: str) -> Rate:
        """
        Read ``PER_SECOND`` or ``PER_SECOND/BURST``; a burst not given is two seconds' worth.

        Raises:
            ValueError: it is neither; the message says so.
        """
        per_s_text, _, burst_text = text.partition("/")
        try:
            per_s = float(per_s_text)
            burst = int(burst_text) if burst_text else max(1, ceil(2 * per_s))
        except (ValueError, OverflowError):
            raise ValueError(f"a rate is PER_SECOND or PER_SECOND/BURST, not {text!r}") from None
        if not 0 <= per_s < 1e9 or burst < 1:
            raise ValueError(f"a rate is not negative and its burst at least 1, unlike {text!r}")
        return cls(per_s, burst)


#: Whoever comes back exactly when told to must not be refused for the last bit of a float.
ROUNDING = 1e-5
#: The rate of a sender that is never held up.
NO_LIMIT = Rate(0, 1)


class TokenBucket:
    """One sender's tokens."""

    __slots__ = ("_filled_at", "_rate", "_tokens")

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate = rate
        self._tokens = float(rate.burst)
        self._filled_at = now

    def take(self, now: float) -> int:
        """Take one token; return 0, or after how many milliseconds to come back (nothing taken)."""
        rate = self._rate
        if not rate.per_s:
            return 0
        if now > self._filled_at:
            self._tokens = min(rate.burst, self._tokens + (now - self._filled_at) * rate.per_s)
        self._filled_at = now  # a clock set back must not hold the sender up
        if self._tokens > 1 - ROUNDING:
            self._tokens -= 1
            return 0
        return max(1, ceil((1 - self._tokens) / rate.per_s * 1000))


class RateLimits:
    """
    The limits of a client port: one bucket for each connection, one for each account.

    Attributes:
        of_accounts: whether accounts have a limit.
    """

    def __init__(self, connection: Rate, account: Rate) -> None:
        self._connection = connection
        self._account = account
        self.of_accounts = account.per_s > 0
        self._accounts: dict[str, TokenBucket] = {}  # least recently used first

    def connection(self, now: float) -> TokenBucket:
        """Return a new connection's bucket."""
        return TokenBucket(self._connection, now)

    def take_account(self, account: str, now: float) -> int:
        """`TokenBucket.take` from the bucket of ``account``."""
        if not self.of_accounts:
            return 0
        bucket = self._accounts.pop(account, None)
        if bucket is None:
            bucket = TokenBucket(self._account, now)
            if len(self._accounts) >= ACCOUNTS_MAX:
                del self._accounts[next(iter(self._accounts))]
        self._accounts[account] = bucket
        return bucket.take(now)
