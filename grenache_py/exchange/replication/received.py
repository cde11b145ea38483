"""
What became of a log entry that a neighbour sent.

Pure.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from grenache_py.exchange.replication.origin import Origin
from grenache_py.exchange.signed_log.head import Head
from grenache_py.exchange.signed_log.merkle import Signed

__all__ = ["EntryVerdict", "Novel", "Received"]

EntryVerdict: TypeAlias = Literal["applied", "waiting", "known", "early", "full", "frozen", "own"]
#: Entries that were applied, in order: payload, origin, and the head it moved to.
Novel: TypeAlias = list[tuple[Signed, str, Head]]


@attrs.frozen
class Received:
    """
    What an entry did.

    Attributes:
        verdict: ``applied``; ``waiting`` for a gap to close; ``known`` and ``own`` changed
            nothing; ``early`` and ``full`` entries cannot be taken yet; ``frozen``: the entry
            contradicts an earlier one and the pair is in ``Forks.proofs``.
        origin: None for an own entry, and when too many homes are known.
        novel: exactly what is to be forwarded.
    """

    verdict: EntryVerdict
    origin: Origin | None
    novel: Novel = attrs.Factory(list)
