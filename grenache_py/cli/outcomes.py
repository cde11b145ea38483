"""
What an error means for who called ``grenache``: its exit code, and one line on stderr.

Edge: decides exit codes.
"""

from __future__ import annotations

from typing import Any

import click

from grenache_py.cli.output import say, to_json
from grenache_py.link.errors import GrapeRefused

__all__ = [
    "EXIT_FAILED",
    "EXIT_LATER",
    "EXIT_NOTHING",
    "EXIT_UNKNOWN",
    "EXIT_UNREACHABLE",
    "EXIT_USAGE",
    "complain",
    "complain_of",
]

#: 1 and 2 are the same next time; 3: nobody, or nothing, is there; 5: nobody could be reached, and
#: nothing happened; 6: it may have happened; 7: try again later. (4 is for ``exchange``.)
EXIT_FAILED, EXIT_USAGE, EXIT_NOTHING = 1, 2, 3
EXIT_UNREACHABLE, EXIT_UNKNOWN, EXIT_LATER = 5, 6, 7


#: By name, so that a command does not import the errors of what it does not use.
_EXIT = {
    "NoPeerFound": EXIT_NOTHING,
    "LocalProtocolError": EXIT_USAGE,
    "MaybeDone": EXIT_UNKNOWN,
    "PeerLost": EXIT_UNKNOWN,
    "RequestTimedOut": EXIT_UNKNOWN,
    "GrapeUnreachable": EXIT_UNREACHABLE,
    "PeerUnreachable": EXIT_UNREACHABLE,
    "LinkBusy": EXIT_LATER,
    "TooManyRequests": EXIT_LATER,
}


def complain_of(error: Exception, as_json: bool) -> int:
    """Say on one line of stderr what is wrong; the exit code."""
    if isinstance(error, click.ClickException):
        if not as_json:
            error.show()
            return error.exit_code
        return complain(error.format_message(), error.exit_code, as_json, "Usage")
    if isinstance(error, OSError) and error.filename:
        return complain(f"{error.filename}: {error.strerror}", EXIT_FAILED, as_json, "OSError")
    names = (kind.__name__ for kind in type(error).__mro__)
    code = next((_EXIT[name] for name in names if name in _EXIT), EXIT_FAILED)
    more: dict[str, Any] = {}
    if isinstance(error, GrapeRefused):
        code = EXIT_LATER if error.lonely else code
        more = {"code": error.code, "status": error.status, "grape": error.grape}
    elif getattr(error, "data", None) is not None:  # of an RPCFailure
        more = {"data": error.data}  # type: ignore[attr-defined]
    return complain(str(error), code, as_json, type(error).__name__, **more)


def complain(message: str, exit: int, as_json: bool, name: str, **more: Any) -> int:
    """Say on one line of stderr what is wrong, and return ``exit``, the exit code."""
    if as_json:
        say(to_json({"error": {"name": name, "message": message, **more, "exit": exit}}))
    else:
        say(f"grenache: {' '.join(message.split())}")
    return exit
