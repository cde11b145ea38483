"""
What is to leave with the current batch: lines, ends of links and dials, in order.

Pure. Nothing is sent from here: all of it waits for ``drain``, after the batch it belongs to was
sealed. So a line may quote signatures that do not exist when it is queued. Greetings wait for no
batch, when somebody asks for them (``at_once``).

These two are where lines leave, and where their length is looked at. Every message is
made short enough where it is made (``notify_list``, limits of its members), so a line that is too
long is a bug of this peer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import attrs
from msgspec import Raw, json

from grenache_py.errors import LocalProtocolError
from grenache_py.exchange.effects.batch import CloseLink, Dial, Send
from grenache_py.exchange.peers.link import LinkState, PeerLink
from grenache_py.exchange.peers.mesh import LINE_BYTES
from grenache_py.exchange.peers.message_table import PeerParams
from grenache_py.wire.jsonlines import LINE_BYTES_MAX
from grenache_py.wire.jsonrpc import notification_line

__all__ = ["Outgoing"]

_CLOSING = LinkState.CLOSING
_Unsealed: TypeAlias = "tuple[int, Callable[[], bytes]]"


@attrs.define
class Outgoing:
    """
    The queue. A link that is closing takes no more lines.

    Args:
        strict: raise LocalProtocolError for a line that is too long, for tests.

    Attributes:
        too_long: lines that were dropped because the other side would end the link for them; each
            is a bug here.
    """

    _strict: bool = False
    too_long: int = 0
    _waiting: list[Send | CloseLink | Dial | _Unsealed] = attrs.Factory(list)
    _greetings: list[Send] = attrs.Factory(list)

    def greet(self, link: PeerLink, line: bytes) -> None:
        """Queue a line of the handshake, which leaves before all else."""
        if link.state is not _CLOSING:
            self._greetings.append(Send(link.id, line))

    def send(self, link: PeerLink, line: bytes) -> None:
        """Queue a line."""
        if link.state is not _CLOSING:
            self._waiting.append(Send(link.id, line))

    def send_later(self, link: PeerLink, line: Callable[[], bytes]) -> None:
        """Queue a line that is made once the batch is sealed."""
        if link.state is not _CLOSING:
            self._waiting.append((link.id, line))

    def notify(self, link: PeerLink, method: str, params: PeerParams) -> None:
        """Tell one neighbour something that has no answer."""
        self.send(link, notification_line(method, params))

    def notify_later(self, link: PeerLink, method: str, params: Callable[[], PeerParams]) -> None:
        """Likewise, with params that are made once the batch is sealed."""
        self.send_later(link, lambda: notification_line(method, params()))

    def notify_list(self, link: PeerLink, method: str, member: str, items: Iterable[Any]) -> None:
        """Tell one neighbour a list, in as few messages as lines of at most 65,536 bytes allow."""
        part: list[Raw] = []
        size = 0
        for item in items:
            raw = json.encode(item)
            if part and size + len(raw) >= LINE_BYTES:
                self.notify(link, method, {member: part})
                part, size = [], 0
            part.append(Raw(raw))
            size += len(raw) + 1
        if part:
            self.notify(link, method, {member: part})

    def close(self, number: int, reason: str) -> None:
        """Have the shell close a link once what was queued before is out."""
        self._waiting.append(CloseLink(number, reason))

    def dial(self, address: str, inside: frozenset[str] | None) -> None:
        """Have the shell open a connection; ``inside`` as in `Dial`."""
        self._waiting.append(Dial(address, inside))

    @property
    def greets(self) -> bool:
        """Whether a line of a handshake waits."""
        return bool(self._greetings)

    def at_once(self, first: Iterable[tuple[int, bytes]]) -> list[Send | CloseLink | Dial]:
        """Greetings, and then the lines ``first``."""
        greetings, self._greetings = self._greetings, []
        return self._checked([*greetings, *(Send(number, line) for number, line in first)])

    def drain(self, first: Iterable[tuple[int, bytes]]) -> list[Send | CloseLink | Dial]:
        """All that waits: greetings, then the lines ``first``, then the rest; it is sealed."""
        waiting, self._waiting = self._waiting, []
        rest = [Send(each[0], each[1]()) if isinstance(each, tuple) else each for each in waiting]
        return [*self.at_once(first), *self._checked(rest)]

    def _checked(self, out: list[Send | CloseLink | Dial]) -> list[Send | CloseLink | Dial]:
        if any(isinstance(item, Send) and len(item.line) > LINE_BYTES_MAX for item in out):
            return [item for item in out if not self._is_too_long(item)]
        return out

    def _is_too_long(self, item: Send | CloseLink | Dial) -> bool:
        if not isinstance(item, Send) or len(item.line) <= LINE_BYTES_MAX:
            return False
        self.too_long += 1
        if self._strict:
            raise LocalProtocolError(f"a line of {len(item.line)} bytes: {item.line[:80]!r}")
        return True
