"""
``python -m grenache_py.demo``, which is ``make demo``: play the show, then stay up until Ctrl-C.

Edge: reads argv, makes a temporary folder for all data, decides the exit code. With ``--once``
the network ends with the show. What does not happen by its deadline ends the demo with a
sentence, the log of the daemon it concerns, and exit code 1.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import click

from grenache_py.demo.processes import DemoFailed
from grenache_py.demo.show import console, how_to_talk, say, show

__all__ = ["main"]


@click.command()
@click.option("--once", is_flag=True, help="End with exit code 0 after the show.")
def main(once: bool) -> None:
    """Start a small network on loopback and make a trade on it."""
    # `kill` of the demo must not leave the daemons behind: let the ExitStack unwind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="grenache-demo-") as folder, ExitStack() as running:
        try:
            grapes, peers = show(Path(folder), running)
            how_to_talk(grapes, peers) if not once else say("That was all.")
            while not once:
                signal.pause()
        except KeyboardInterrupt:
            say("Ending the daemons")
        except DemoFailed as error:
            console.print(f"\n[red]The demo failed:[/red] {error}", soft_wrap=True)
            sys.exit(1)


if __name__ == "__main__":
    main()
