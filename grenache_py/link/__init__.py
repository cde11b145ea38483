"""The client of a grape's HTTP API."""

from grenache_py.link.client import Announcement, Link
from grenache_py.link.errors import (
    BadAnswer,
    GrapeRefused,
    GrapeUnreachable,
    LinkBusy,
    LinkError,
)
from grenache_py.link.items import Item
from grenache_py.link.keys import ItemKey
from grenache_py.link.watching import AddressWatch

__all__ = [
    "AddressWatch",
    "Announcement",
    "BadAnswer",
    "GrapeRefused",
    "GrapeUnreachable",
    "Item",
    "ItemKey",
    "Link",
    "LinkBusy",
    "LinkError",
]
