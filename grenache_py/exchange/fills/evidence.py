"""
What two homes signed about a trade, kept for a receipt (docs/settlement.rst#kept).

Pure. A home has it in its hands when it trades: answers, requests and the other home's log are
forgotten soon, and a busy home's own log within hours.
"""

from __future__ import annotations

from grenache_py.exchange.effects.batch import Outbox
from grenache_py.exchange.effects.rows import EvidenceRow
from grenache_py.exchange.signed_log.merkle import Signed

__all__ = ["keep_evidence"]


def keep_evidence(outbox: Outbox, times: set[int], *proofs: Signed) -> None:
    """Keep ``proofs``, found again by the times of the trades that they are about, in ms."""
    for time_ms in sorted(times):
        outbox.rows += [EvidenceRow(time_ms, *signed.row()) for signed in proofs]
