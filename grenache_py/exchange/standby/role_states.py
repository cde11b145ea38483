"""
The states of a daemon that shares an identity's database with others.

Pure. See docs/design/standby.rst#roles.
"""

from __future__ import annotations

from enum import Enum

from grenache_py.state_machine import Transitions

__all__ = ["ROLE_TRANSITIONS", "RoleEvent", "RoleState"]


class RoleState(Enum):
    """What a daemon is to its identity."""

    #: It holds no term, and looks at who does.
    STANDBY = "standby"
    #: It takes over: the database sessions of the term before are being ended.
    ENDING = "ending"
    #: It takes over: the new term is being committed, with its synchronous wait.
    RAISING = "raising"
    #: It holds the term, and loads what the terms before have written.
    LOADING = "loading"
    #: It holds the term and has a node.
    SERVING = "serving"
    #: It finishes what it has accepted, and gives the term up.
    DEMOTING = "demoting"
    #: Something failed whose outcome nobody knows. There is no node; what does the database say?
    FENCED = "fenced"
    #: The daemon has stopped.
    STOPPED = "stopped"


class RoleEvent(Enum):
    """What happens to it."""

    #: The holder is silent or gave the term up: this daemon takes over.
    ELECT = "elect"
    #: No session of the term before is left.
    ENDED = "ended"
    #: The commit of the new term has returned, replicated.
    RAISED = "raised"
    #: There is a node.
    LOADED = "loaded"
    #: A step, or a commit, failed or was not answered: its outcome is unknown.
    LOST = "lost"
    #: The database says that the term is this daemon's still.
    HELD = "held"
    #: The database says that the term is another daemon's, or that nobody is to take it now.
    OUTRUN = "outrun"
    #: An operator wants another daemon to serve.
    DEMOTE = "demote"
    #: The term has no holder any more.
    GIVEN_UP = "given_up"
    #: The daemon is to stop.
    STOP = "stop"


#: Whatever fails leads to FENCED, and from there nothing leads to a node but a new term.
ROLE_TRANSITIONS = Transitions(
    "role",
    {
        (RoleState.STANDBY, RoleEvent.ELECT): RoleState.ENDING,
        (RoleState.ENDING, RoleEvent.ENDED): RoleState.RAISING,
        (RoleState.RAISING, RoleEvent.RAISED): RoleState.LOADING,
        (RoleState.LOADING, RoleEvent.LOADED): RoleState.SERVING,
        (RoleState.ENDING, RoleEvent.LOST): RoleState.FENCED,
        (RoleState.RAISING, RoleEvent.LOST): RoleState.FENCED,
        (RoleState.LOADING, RoleEvent.LOST): RoleState.FENCED,
        (RoleState.SERVING, RoleEvent.LOST): RoleState.FENCED,
        (RoleState.DEMOTING, RoleEvent.LOST): RoleState.FENCED,
        (RoleState.FENCED, RoleEvent.HELD): RoleState.ENDING,
        (RoleState.FENCED, RoleEvent.OUTRUN): RoleState.STANDBY,
        (RoleState.ENDING, RoleEvent.OUTRUN): RoleState.STANDBY,
        (RoleState.RAISING, RoleEvent.OUTRUN): RoleState.STANDBY,
        (RoleState.LOADING, RoleEvent.OUTRUN): RoleState.STANDBY,
        (RoleState.SERVING, RoleEvent.OUTRUN): RoleState.STANDBY,
        (RoleState.DEMOTING, RoleEvent.OUTRUN): RoleState.STANDBY,
        (RoleState.SERVING, RoleEvent.DEMOTE): RoleState.DEMOTING,
        (RoleState.DEMOTING, RoleEvent.GIVEN_UP): RoleState.STANDBY,
        (RoleState.STANDBY, RoleEvent.STOP): RoleState.STOPPED,
        (RoleState.ENDING, RoleEvent.STOP): RoleState.STOPPED,
        (RoleState.RAISING, RoleEvent.STOP): RoleState.STOPPED,
        (RoleState.LOADING, RoleEvent.STOP): RoleState.STOPPED,
        (RoleState.SERVING, RoleEvent.STOP): RoleState.STOPPED,
        (RoleState.DEMOTING, RoleEvent.STOP): RoleState.STOPPED,
        (RoleState.FENCED, RoleEvent.STOP): RoleState.STOPPED,
    },
)
