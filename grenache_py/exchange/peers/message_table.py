"""
What peers can say to each other: a row for each message, and who carries it out.

Pure. The rows are given by ``peer_messages.py``. A name means one thing
(docs/failure-modes.rst#f3): a method that has no row, or has been registered before, is refused,
and so is a row that nobody registered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any, TypeAlias

import attrs

from grenache_py.errors import LocalProtocolError
from grenache_py.exchange.errors import OrderError
from grenache_py.exchange.peers.link import PeerLink

__all__ = [
    "SIGNATURE_POINTS",
    "Cost",
    "Later",
    "MessageTable",
    "PeerMessage",
    "PeerMethod",
    "PeerParams",
    "PeerResult",
]

#: What a signature costs that has to be checked, on top of the message it comes with. Most are
#: known: a batch has one.
SIGNATURE_POINTS = 10

PeerParams: TypeAlias = Mapping[str, Any]
#: A method's result; a callable is asked once the current batch is sealed.
PeerResult: TypeAlias = "dict[str, Any] | Callable[[], dict[str, Any]] | Later | None"
#: Called with the link, what the row's ``decode`` made of the params, and the time.
PeerMethod: TypeAlias = Callable[[PeerLink, Any, float], PeerResult]
#: Raises RemoteProtocolError, naming the member, when the params are not as they must be.
Decode: TypeAlias = Callable[[PeerParams], Any]


@attrs.frozen
class Later:
    """
    A result that leaves with a later batch.

    Attributes:
        begin: called when somebody waits for it, with what is to be called once with the result,
            or with the error that is the answer.
    """

    begin: Callable[[Callable[[dict[str, Any] | OrderError], None]], None]


@attrs.frozen
class Cost:
    """
    What a message costs whoever carries it out, in points of 10 µs of one core.

    Attributes:
        base: points of the message itself.
        each: points on top for every ``of`` things, named by ``unit``.
    """

    base: int
    each: int = 0
    of: int = 1
    unit: str = ""

    def points(self, count: int) -> int:
        """What it is for ``count`` things, rounded up."""
        return self.base - (-self.each * count // self.of)

    def __str__(self) -> str:
        if not self.each:
            return str(self.base)
        more = f"{self.each} for each {self.unit if self.of == 1 else f'{self.of:,} {self.unit}'}"
        return f"{self.base}, and {more}" if self.base else more


@attrs.frozen
class PeerMessage:
    """
    One message of the peer port.

    Attributes:
        name: the JSON-RPC method.
        cost: taken off the turn of the link that says it (``turns.py``), as is each signature that
            has to be checked for it (``SIGNATURE_POINTS``).
        answered: a request, which has an ``id``; otherwise a notification.
        decode: makes of the params what the method is called with. None: the method is handed
            the members as they came, and reads them as it needs them.
        count: of what ``decode`` returned, how many things there are to be paid for. None: as
            many as orders are held, when ``each`` is not 0; or see ``counted_later``.
        counted_later: the method adds the things to ``PeerLink.points`` as it meets them.
        proven: only a peer that proved its key may say it.
        stall_s: of a request: a neighbour that answers none of its kind for so long has stalled.
            REQUEST_TIMEOUT_S (``requests.py``) is the end in any case.
    """

    name: str
    cost: Cost
    answered: bool
    decode: Decode | None = None
    count: Callable[[Any], int] | None = None
    counted_later: bool = False
    proven: bool = True
    stall_s: float = inf


class MessageTable:
    """
    The rows, and the method that carries out each.

    Attributes:
        rows: by name.
        orders_held: how many live orders this peer holds, which some costs depend on.
        methods: by name, as far as they are registered.
        bound: the same with their rows, ready to be called.
    """

    def __init__(self, rows: Iterable[PeerMessage]) -> None:
        self.rows = {row.name: row for row in rows}
        self.orders_held: Callable[[], int] = lambda: 0
        self.methods: dict[str, PeerMethod] = {}
        self.bound: dict[str, tuple[PeerMessage, PeerMethod]] = {}

    def method(self, name: str, call: PeerMethod) -> None:
        """
        Have ``call`` carry out the message ``name``.

        Raises:
            LocalProtocolError: the name has no row, or is taken already.
        """
        row = self.rows.get(name)
        if row is None:
            raise LocalProtocolError(f"{name} is not in the table of peer messages")
        if name in self.methods:
            raise LocalProtocolError(f"two methods are named {name}")
        self.methods[name] = call
        self.bound[name] = (row, call)

    def points(self, row: PeerMessage, decoded: Any) -> int:
        """What a message costs, given what its row's ``decode`` returned."""
        cost = row.cost
        if not cost.each or row.counted_later:
            return cost.base
        return cost.points(self.orders_held() if row.count is None else row.count(decoded))

    def check_complete(self) -> None:
        """
        Raises:
            LocalProtocolError: a row has no method; the message names all such rows.
        """
        missing = [name for name in self.rows if name not in self.methods]
        if missing:
            raise LocalProtocolError(f"no method carries out {', '.join(missing)}")
