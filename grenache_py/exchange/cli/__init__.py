"""
``exchange``: the tool with which people and scripts trade and look after a peer.

Exit codes: 0 done, 1 failed (the reason on stderr), 2 wrong usage, 3 the thing named is not there,
4 not allowed, 5 the daemon cannot be reached, 6 outcome unknown, 7 try again later. Tables and
colours are for people; ``--json`` prints one JSON value a line.

Edge: the console script.
"""

import gc

__all__ = ["main"]


def main() -> None:
    """The console script, see :mod:`grenache_py.exchange.cli.commands`."""
    gc.disable()  # until the command is there: what is imported is no garbage
    from grenache_py.exchange.cli.commands import main as run

    run()
