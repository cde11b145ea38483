"""
The states of the commit loop: whether its node may be asked, and where it is in a turn.

Pure. The two do not depend on each other: a node can break while the disk is at work or while
nothing happens, and a daemon that stops still commits. So each has a table of its own.
"""

from __future__ import annotations

from enum import Enum

from grenache_py.state_machine import Transitions

__all__ = [
    "NODE_TRANSITIONS",
    "TURN_TRANSITIONS",
    "NodeEvent",
    "NodeState",
    "TurnEvent",
    "TurnState",
]


class NodeState(Enum):
    """Whether there is a node, and whether it may be asked."""

    #: The store has not been opened yet; there is no node.
    OPENING = "opening"
    #: The node takes requests.
    SERVING = "serving"
    #: The node raised what it must not. It is asked nothing more, and the next turn drops it.
    BROKEN = "broken"
    #: There is no node; the store is being opened again.
    RECOVERING = "recovering"
    #: The node finishes what came before the stop, and takes no new link.
    STOPPING = "stopping"
    #: The daemon stops, and there is no node to finish with, or none that may be asked.
    STOPPED = "stopped"


class NodeEvent(Enum):
    """What happens to the node."""

    #: The store was opened, and a node was made from it.
    OPENED = "opened"
    #: The node raised what it must not: a bug of ours.
    RAISED = "raised"
    #: What is not durable is forgotten, and the node with it.
    DROPPED = "dropped"
    #: The daemon is to stop.
    STOP = "stop"


NODE_TRANSITIONS = Transitions(
    "node of the commit loop",
    {
        (NodeState.OPENING, NodeEvent.OPENED): NodeState.SERVING,
        (NodeState.OPENING, NodeEvent.RAISED): NodeState.OPENING,
        (NodeState.OPENING, NodeEvent.STOP): NodeState.STOPPED,
        (NodeState.SERVING, NodeEvent.RAISED): NodeState.BROKEN,
        (NodeState.SERVING, NodeEvent.DROPPED): NodeState.RECOVERING,
        (NodeState.SERVING, NodeEvent.STOP): NodeState.STOPPING,
        (NodeState.BROKEN, NodeEvent.RAISED): NodeState.BROKEN,
        (NodeState.BROKEN, NodeEvent.DROPPED): NodeState.RECOVERING,
        (NodeState.BROKEN, NodeEvent.STOP): NodeState.STOPPED,
        (NodeState.RECOVERING, NodeEvent.OPENED): NodeState.SERVING,
        (NodeState.RECOVERING, NodeEvent.RAISED): NodeState.RECOVERING,
        (NodeState.RECOVERING, NodeEvent.STOP): NodeState.STOPPED,
        (NodeState.STOPPING, NodeEvent.RAISED): NodeState.STOPPED,
        (NodeState.STOPPING, NodeEvent.DROPPED): NodeState.STOPPED,
        (NodeState.STOPPED, NodeEvent.RAISED): NodeState.STOPPED,
        (NodeState.STOPPED, NodeEvent.DROPPED): NodeState.STOPPED,
    },
)


class TurnState(Enum):
    """Where the loop is between input and disk."""

    #: Nothing waits to be written.
    IDLE = "idle"
    #: Something does: the reactor will call for a turn.
    SCHEDULED = "scheduled"
    #: The disk is at work, and nothing has come since.
    COMMITTING = "committing"
    #: The disk is at work, and the next turn has something to write already.
    COMMITTING_MORE = "committing_more"


class TurnEvent(Enum):
    """What moves the loop."""

    #: Something was done that has to be written or released.
    KICK = "kick"
    #: The reactor calls for the turn.
    TURN = "turn"
    #: The batch of this turn goes to the disk.
    WRITE = "write"
    #: It is durable.
    WRITTEN = "written"
    #: It is not.
    WRITE_FAILED = "write_failed"
    #: The turn that was asked for will not come: the daemon has stopped.
    CANCELLED = "cancelled"


TURN_TRANSITIONS = Transitions(
    "turn of the commit loop",
    {
        (TurnState.IDLE, TurnEvent.KICK): TurnState.SCHEDULED,
        (TurnState.IDLE, TurnEvent.WRITE): TurnState.COMMITTING,
        (TurnState.SCHEDULED, TurnEvent.KICK): TurnState.SCHEDULED,
        (TurnState.SCHEDULED, TurnEvent.TURN): TurnState.IDLE,
        (TurnState.SCHEDULED, TurnEvent.CANCELLED): TurnState.IDLE,
        (TurnState.COMMITTING, TurnEvent.KICK): TurnState.COMMITTING_MORE,
        (TurnState.COMMITTING, TurnEvent.WRITTEN): TurnState.IDLE,
        (TurnState.COMMITTING, TurnEvent.WRITE_FAILED): TurnState.IDLE,
        (TurnState.COMMITTING_MORE, TurnEvent.KICK): TurnState.COMMITTING_MORE,
        (TurnState.COMMITTING_MORE, TurnEvent.WRITTEN): TurnState.SCHEDULED,
        (TurnState.COMMITTING_MORE, TurnEvent.WRITE_FAILED): TurnState.IDLE,
    },
)
