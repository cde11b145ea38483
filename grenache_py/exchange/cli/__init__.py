"""
``exchange``: the tool with which people and scripts trade and look after a peer.

Exit codes: 0 done, 1 failed (the reason on stderr), 2 wrong usage, 3 nothing found. Tables and
colours are for people; ``--json`` prints one JSON value a line.
"""

from grenache_py.exchange.cli.commands import exchange, main

__all__ = ["exchange", "main"]
