"""
Every method of the client port, by name.

Pure. Importing a module registers its methods, in the order in which ``help`` lists them.
"""

from __future__ import annotations

from grenache_py.exchange import market_methods, order_methods, peer_methods
from grenache_py.exchange.registry import METHODS

__all__ = ["METHODS", "market_methods", "order_methods", "peer_methods"]
