"""
The client of a grape's HTTP API.

What is named here is imported when it is asked for: what is pure below needs no Twisted, and a
command of the shell that uses it starts in half the time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_MODULES = {
    "AddressWatch": "watching",
    "Announcement": "client",
    "Item": "items",
    "ItemKey": "keys",
    "Link": "client",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_MODULES.get(name, 'errors')}")
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
