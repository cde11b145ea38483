"""
Every method of the client port, by name.

Pure. Importing a module registers its methods, in the order in which ``help`` lists them.
"""

from __future__ import annotations

from grenache_py.exchange.client_port.methods import (
    description,
    executions,
    markets,
    orders,
    peers,
    positions,
)
from grenache_py.exchange.client_port.methods.registry import METHODS

__all__ = ["METHODS", "description", "executions", "markets", "orders", "peers", "positions"]
