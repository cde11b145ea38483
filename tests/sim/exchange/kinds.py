"""
What may happen in a seed, by name: kinds of fault, small limits, evil peers, lying neighbours.

The names are those that ``--kinds`` takes and that ``NOT_YET`` lists. ``wide`` kinds have a random
generator of their own: to add one changes nothing of what the others do in a seed.
"""

from __future__ import annotations

from tests.sim.exchange.evil import Nuisance
from tests.sim.exchange.neighbour import Liar
from tests.sim.exchange.small_limits import LIMITS

__all__ = [
    "ALL",
    "EVIL_MUST_HAPPEN",
    "KINDS",
    "MUST_HAPPEN",
    "NOT_YET",
    "WIDE_KINDS",
    "WIDE_MUST_HAPPEN",
    "ready",
]

#: Faults of network, disks and clocks.
KINDS = (
    *("loss", "duplicate", "reorder", "delay", "crash", "disk", "slow disk", "partition"),
    *("one-way cut", "reset", "clock offset", "clock drift", "clock jump", "pause"),
)
#: What else is wrong in the real world.
WIDE_KINDS = (
    *("nat", "few links", "clock hours", "long outage", "new epoch", "retention"),
    *("fewer markets", "markets differ", "markets change"),
)
#: Everything with a name.
ALL = (
    *KINDS,
    *WIDE_KINDS,
    *(f"limit: {name}" for name in LIMITS),
    *(f"evil: {kind}" for kind in Nuisance.KINDS),
    *(f"neighbour: {kind}" for kind in Liar.KINDS),
    "months",
)
#: Kinds that seeds do not draw yet, and what is known of each. ``--kinds`` runs them. Whoever mends
#: one takes it out.
NOT_YET: tuple[tuple[str, str], ...] = ()
_LATER = frozenset(kind for kind, _ in NOT_YET)


def ready(kind: str) -> bool:
    """Whether seeds may draw this kind."""
    return kind not in _LATER


#: What must have happened somewhere in a set of seeds, or they prove nothing.
MUST_HAPPEN = (
    *("trade between homes", "trade at one home", "local match replayed", "still trades"),
    *("lost", "duplicated", "reordered", "delayed", "split"),
    *("partition", "one-way cut", "cut off", "reset"),
    *("crash", "crash before commit", "crash after commit"),
    *("disk fault before", "disk fault after", "slow commit", "clock jump", "pause"),
    "relayed during a commit",
    *("fill repeated", "fill refused", "fill asked again"),
    *("entries fetched", "records adopted", "catch-ups", "meddled"),
    *("post only made", "fill or kill filled", "immediate or cancel traded"),
    *("stop triggered", "stop reached when placed", "good till date expired"),
    *("lowered in place", "replaced by a new order"),
    *(f"cancelled beside a new order: {policy}" for policy in ("newest", "oldest", "both")),
)
#: Likewise in a large set; each of these is in one seed of several.
WIDE_MUST_HAPPEN = (
    *(name for name in ALL if not name.startswith("evil") and name not in KINDS and ready(name)),
    *(() if "months" in _LATER else ("a day slept through", "a day switched off")),
)
#: Likewise, where evil peers are about.
EVIL_MUST_HAPPEN = (
    *(f"evil: {kind}" for kind in Nuisance.KINDS if ready(f"evil: {kind}")),
    "trade with an evil taker",
    "fill an evil maker never answers",
)
