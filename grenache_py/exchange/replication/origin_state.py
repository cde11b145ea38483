"""
How far another home's log is believed here: its states and their transitions.

Pure. The table says which event may happen in which state, and nothing else changes a state.
Whether an origin's orders stand in the books depends on its lease too (``Origin.visible``).
"""

from __future__ import annotations

from enum import Enum

from grenache_py.state_machine import Transitions

__all__ = ["ORIGIN_TRANSITIONS", "OriginEvent", "OriginState"]


class OriginState(Enum):
    """
    What is known of the live set that is held of an origin.

    Attributes:
        FOLLOWING: entries are applied in order; no heartbeat has confirmed the live set yet.
        VERIFIED: the newest heartbeat agreed with it, or the log that follows a heartbeat.
        UNSURE: it differs from what its home signed; it must be reconciled.
        ADOPTED: it was taken from a neighbour, with the heartbeat that is now the head; what the
            log says from there on must agree with it, or the next heartbeat.
        FROZEN: its home broke the rules; nothing of it is believed any more.
    """

    FOLLOWING = "following"
    VERIFIED = "verified"
    UNSURE = "unsure"
    ADOPTED = "adopted"
    FROZEN = "frozen"


class OriginEvent(Enum):
    """
    What may happen to an origin.

    Attributes:
        BEAT_AGREED, BEAT_DIFFERED: a heartbeat was applied; its fingerprint is that of the live set
            held here, or is not.
        LOG_AGREED: the live set held here became the one that the log describes.
        CHAIN_BROKE: the entry with the next number does not follow the head: one of the two is
            not in the log that the home shows others.
        HEAD_ADOPTED: the head moved to a heartbeat whose live set was taken from a neighbour.
        SET_ADOPTED: a live set was taken from a neighbour, and the head is past its heartbeat.
        EPOCH_BEGAN: the home started a new log.
        RULE_BROKEN: the home signed two entries with one number, or broke another rule.
    """

    BEAT_AGREED = "beat agreed"
    BEAT_DIFFERED = "beat differed"
    LOG_AGREED = "log agreed"
    CHAIN_BROKE = "chain broke"
    HEAD_ADOPTED = "head adopted"
    SET_ADOPTED = "set adopted"
    EPOCH_BEGAN = "epoch began"
    RULE_BROKEN = "rule broken"


def _transitions() -> dict[tuple[OriginState, OriginEvent], OriginState]:
    believed: tuple[OriginState, ...] = (
        OriginState.FOLLOWING,
        OriginState.VERIFIED,
        OriginState.UNSURE,
        OriginState.ADOPTED,
    )
    from_any = {
        OriginEvent.BEAT_AGREED: OriginState.VERIFIED,
        OriginEvent.BEAT_DIFFERED: OriginState.UNSURE,
        OriginEvent.CHAIN_BROKE: OriginState.UNSURE,
        OriginEvent.HEAD_ADOPTED: OriginState.ADOPTED,
        OriginEvent.EPOCH_BEGAN: OriginState.FOLLOWING,
        OriginEvent.RULE_BROKEN: OriginState.FROZEN,
    }
    table = {(state, event): after for event, after in from_any.items() for state in believed}
    for unproven in (OriginState.ADOPTED, OriginState.UNSURE, OriginState.FOLLOWING):
        table[unproven, OriginEvent.LOG_AGREED] = OriginState.VERIFIED
    # Only a set that is known to differ is reconciled without a newer heartbeat.
    table[OriginState.UNSURE, OriginEvent.SET_ADOPTED] = OriginState.FOLLOWING
    return table


ORIGIN_TRANSITIONS = Transitions("origin", _transitions())
