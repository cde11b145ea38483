"""
What an error means for who called the tool: its exit code, and one line on stderr.

Edge: writes to stderr.
"""

from __future__ import annotations

from typing import Any

import click

from grenache_py.errors import GrenacheError
from grenache_py.exchange.cli.tool import (
    EXIT_FAILED,
    EXIT_LATER,
    EXIT_NOT_ALLOWED,
    EXIT_NOTHING,
    EXIT_UNKNOWN,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    say,
    say_json,
)
from grenache_py.exchange.errors import (
    BUSY,
    INVALID_PARAMS,
    NO_SUCH_METHOD,
    NOT_A_MULTIPLE,
    NOT_AUTHORISED,
    RATE_LIMITED,
    SHUTTING_DOWN,
    STANDBY,
    UNKNOWN_MARKET,
    UNKNOWN_ORDER,
)
from grenache_py.trading import AnswerTimeout, NotConnected, OutcomeUnknown, Refused

__all__ = ["complain"]

HOW_TO_BE_ALLOWED = (
    " (--token-file or EXCHANGE_TOKEN shows the daemon a token; a daemon without --tokens lets"
    " callers from other machines, or from outside of its container, only read)"
)

#: What an error code of the protocol means for who called the tool; of any other it is 1.
_EXIT = {
    INVALID_PARAMS: EXIT_USAGE,
    NO_SUCH_METHOD: EXIT_USAGE,
    NOT_A_MULTIPLE: EXIT_USAGE,
    UNKNOWN_ORDER: EXIT_NOTHING,
    UNKNOWN_MARKET: EXIT_NOTHING,
    NOT_AUTHORISED: EXIT_NOT_ALLOWED,
    RATE_LIMITED: EXIT_LATER,
    BUSY: EXIT_LATER,
    SHUTTING_DOWN: EXIT_LATER,
    STANDBY: EXIT_LATER,
}


def complain(error: GrenacheError | click.ClickException, as_json: bool) -> int:
    """Say on one line of stderr what is wrong; the exit code."""
    name, message, more = type(error).__name__, str(error), dict[str, Any]()
    if isinstance(error, click.ClickException):
        code, name, message = EXIT_USAGE, "Usage", error.format_message()
        if not as_json:
            error.show()
            return code
    elif isinstance(error, Refused):
        code = _EXIT.get(error.code, EXIT_FAILED)
        more = {"code": error.code, "data": error.data}
        if error.code == NOT_AUTHORISED:
            message += HOW_TO_BE_ALLOWED
    elif isinstance(error, NotConnected | AnswerTimeout):
        code = EXIT_UNREACHABLE
    elif isinstance(error, OutcomeUnknown):
        code, more = EXIT_UNKNOWN, {"client_order_id": error.client_order_id}
        if error.client_order_id:
            message += f"; `exchange orders {error.client_order_id}` tells"
    else:
        code = EXIT_FAILED
    if as_json:
        say_json({"error": {"name": name, "message": message, **more, "exit": code}}, err=True)
    else:
        say(f"exchange: {message}", err=True)
    return code
