"""
Twisted's log in Python's ``logging``.

Shell: writes to the loggers of the program.
"""

from __future__ import annotations

import logging
import warnings

from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import provider

from grenache_py.plain_text import harmless

__all__ = ["begin_logging", "pass_on"]

_LEVELS = {
    LogLevel.debug: logging.DEBUG,
    LogLevel.info: logging.INFO,
    LogLevel.warn: logging.WARNING,
    LogLevel.error: logging.ERROR,
    LogLevel.critical: logging.CRITICAL,
}


def begin_logging() -> None:
    """
    Send Twisted's events to the loggers of the same names, unless the program has said where to.

    Until somebody begins, Twisted keeps the last 65,536 events in memory.
    """
    if getattr(globalLogBeginner, "_temporaryObserver", None) is None:
        return
    shown = warnings.showwarning
    globalLogBeginner.beginLoggingTo([pass_on], redirectStandardIO=False)
    warnings.showwarning = shown  # warnings stay with the program


@provider(ILogObserver)
def pass_on(event: LogEvent) -> None:
    """Log one event; of Twisted's own chatter only what is a warning at least."""
    namespace = str(event.get("log_namespace", "twisted"))
    level = _LEVELS.get(event.get("log_level", LogLevel.info), logging.INFO)
    own = namespace.partition(".")[0] not in ("twisted", "log_legacy")
    logger = logging.getLogger(namespace)
    if (own or level >= logging.WARNING) and logger.isEnabledFor(level):
        failure = event.get("log_failure")
        error = failure.value if isinstance(failure, Failure) else None
        logger.log(level, "%s", harmless(formatEvent(event)), exc_info=error)
