"""
Reading and writing the members of ``lease.*`` messages.

Pure. Every ``read_`` function raises RemoteProtocolError, which names the member that is wrong.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from grenache_py.errors import RemoteProtocolError
from grenache_py.exchange.peers.message_table import PeerParams
from grenache_py.exchange.replication.leases import Lease
from grenache_py.exchange.replication.messages import read_key
from grenache_py.exchange.signed_log.statement import VALUE_BYTES

__all__ = [
    "HOMES_MAX",
    "UNKNOWN_MAX",
    "SignsOfLife",
    "Wanted",
    "read_on",
    "read_shown",
    "read_wanted",
    "shown_params",
    "split",
]

#: Of one message: statements, pulses, homes that are asked about, and values. Each fits a line.
STATED_MAX, PULSES_MAX, HOMES_MAX, UNKNOWN_MAX = 200, 3_000, 400, 10


class SignsOfLife(NamedTuple):
    """
    What one message shows.

    Attributes:
        stated: statements as they travel, each with number and value of a pulse.
        pulses: of homes whose statement was told before.
    """

    stated: list[tuple[bytes, int, bytes]]
    pulses: list[bytes]

    def __len__(self) -> int:
        return len(self.pulses)


class Wanted(NamedTuple):
    """
    What one message asks for.

    Attributes:
        homes: keys; whether they live.
        values: pulses that lead nowhere; whose they are.
    """

    homes: list[str]
    values: list[bytes]

    def __len__(self) -> int:
        return len(self.homes) + len(self.values)


def split(row: bytes) -> list[bytes]:
    """The values in a row."""
    return [row[at : at + VALUE_BYTES] for at in range(0, len(row), VALUE_BYTES)]


def shown_params(stated: list[Lease], pulses: Iterable[bytes]) -> Iterator[PeerParams]:
    """The params of as many ``lease.show`` as it takes."""
    values = list(pulses)
    while stated or values:
        params: dict[str, Any] = {}
        if stated:
            params["stated"] = [
                [_text(lease.data), lease.number, _text(lease.value)]
                for lease in stated[:STATED_MAX]
            ]
            stated = stated[STATED_MAX:]
        else:
            params["pulses"] = _text(b"".join(values[:PULSES_MAX]))
            values = values[PULSES_MAX:]
        yield params


def read_shown(params: PeerParams) -> SignsOfLife:
    """The params of ``lease.show``."""
    stated, pulses = params.get("stated", []), _bytes(params.get("pulses", ""), "pulses")
    if not isinstance(stated, list) or len(stated) > STATED_MAX:
        raise RemoteProtocolError("'stated' must be a list of [statement, number, value]")
    if not (stated or pulses):
        raise RemoteProtocolError("neither 'stated' nor 'pulses': it shows nothing")
    if len(pulses) % VALUE_BYTES or len(pulses) > PULSES_MAX * VALUE_BYTES:
        raise RemoteProtocolError("'pulses' must be a row of values")
    return SignsOfLife([_read_stated(item) for item in stated], split(pulses))


def _read_stated(item: object) -> tuple[bytes, int, bytes]:
    if not isinstance(item, list) or len(item) != 3 or type(item[1]) is not int:
        raise RemoteProtocolError("'stated' must be a list of [statement, number, value]")
    return _bytes(item[0], "stated"), item[1], _bytes(item[2], "stated")


def read_wanted(params: PeerParams) -> Wanted:
    """The params of ``lease.want``."""
    homes, values = params.get("homes", []), _bytes(params.get("values", ""), "values")
    if not isinstance(homes, list) or len(homes) > HOMES_MAX:
        raise RemoteProtocolError(f"'homes' must be a list of at most {HOMES_MAX} keys")
    if not (homes or values):
        raise RemoteProtocolError("neither 'homes' nor 'values': it asks for nothing")
    if len(values) % VALUE_BYTES or len(values) > UNKNOWN_MAX * VALUE_BYTES:
        raise RemoteProtocolError("'values' must be a row of a few values")
    return Wanted([read_key({"homes": home}, "homes") for home in homes], split(values))


def read_on(params: PeerParams) -> bool:
    """The params of ``lease.link``."""
    on = params.get("on")
    if not isinstance(on, bool):
        raise RemoteProtocolError("'on' must be true or false")
    return on


def _text(data: bytes) -> str:
    return b64encode(data).decode()


def _bytes(text: object, name: str) -> bytes:
    if not isinstance(text, str):
        raise RemoteProtocolError(f"{name!r} must be a base64 string")
    try:
        return b64decode(text, validate=True)
    except ValueError:
        raise RemoteProtocolError(f"{name!r} must be a base64 string") from None
