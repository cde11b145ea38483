"""
The console scripts ``grape`` and ``grenache``.

Edge: reads argv. Each imports its own command only, so that a grape does not load the
clients' libraries.
"""

from __future__ import annotations

import gc
import sys
from typing import NoReturn

__all__ = ["grape", "grenache"]


def grape() -> NoReturn:
    """Run a grape, see :mod:`grenache_py.grape.tap`."""
    from grenache_py.grape.tap import main

    sys.exit(main(sys.argv[1:]))


def grenache() -> NoReturn:
    """Use a Grenache network, see :mod:`grenache_py.cli.commands`."""
    gc.disable()  # until the command is there: what is imported is no garbage
    from grenache_py.cli.commands import grenache

    grenache()
    raise AssertionError("click does not return")
