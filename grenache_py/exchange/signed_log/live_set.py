"""
A home's live set as peers compare it: one element for each live order at one version.

Pure. A heartbeat has the size and the fingerprint of its home's live set; reconciliation finds the
elements in which two peers differ.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

__all__ = ["FINGERPRINT_MODULUS", "LiveSetChanged", "element"]

#: Fingerprints are sums modulo this.
FINGERPRINT_MODULUS = 1 << 256

#: Called as (order id, ``time_ms`` of its key, element before or None, element now or None).
LiveSetChanged = Callable[[str, int, int | None, int | None], None]


def element(order_id: str, version: int) -> int:
    """
    A live order at one version, as an element of the sets that peers reconcile.

    Fingerprints are sums of elements modulo 2**256, so they follow a change in two additions.
    """
    return int.from_bytes(sha256(f"{order_id}:{version}".encode()).digest(), "big")
