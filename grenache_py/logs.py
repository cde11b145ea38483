"""
Logging to one stream, the same under twistd, twist and our own tools.

Shell: writes to the stream it is given, in the form that `log_lines` makes of an event.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, TextIO

from twisted.application.service import MultiService, Service
from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    InvalidLogLevelError,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
)
from twisted.python.components import Componentized
from twisted.python.usage import Options

from grenache_py.errors import ConfigError
from grenache_py.log_lines import json_line, level_name, text_line

__all__ = ["FORMATS", "Levels", "begin", "observer", "under_runner"]

#: The forms of a log line.
FORMATS = ("text", "json")
#: Namespaces in which Twisted logs each connection and each port at info. Our own events say
#: what matters about them.
_QUIET = ("log_legacy", "twisted.web.client._HTTP11ClientFactory")
#: The priorities that journald reads from the beginning of a line, see sd-daemon(3).
_JOURNAL_PRIORITY = {"debug": 7, "info": 6, "warn": 4, "error": 3, "critical": 2}


class Levels:
    """
    Which events are written: a level for all, and others for some namespaces.

    Written ``info`` or ``info,grenache_py.dht=debug,grenache_py.exchange.storage.store=warn``; a
    namespace includes what lies below it. May be changed while the daemon runs. Twisted's own
    chatter, such as each port that opens, is left out unless its namespace is named.
    """

    def __init__(self, spec: str = "info") -> None:
        """
        Raises:
            ConfigError: a level that does not exist, or an entry that is not ``[namespace=]level``.
        """
        self.predicate = LogLevelFilterPredicate()
        self._before_debug: dict[str, str] | None = None
        self._set: dict[str, str] = {}
        self._replace({"": "info"})
        for entry in spec.split(","):
            namespace, equals, level = entry.strip().rpartition("=")
            if equals and not namespace:
                raise ConfigError(f"log level {entry.strip()!r} names no namespace before the '='")
            self.set(level, namespace)

    def _replace(self, levels: dict[str, str]) -> None:
        self.predicate.clearLogLevels()
        for namespace in _QUIET:
            self.predicate.setLogLevelForNamespace(namespace, LogLevel.warn)
        self._set.clear()
        for namespace, level in levels.items():
            self.set(level, namespace)

    def follow(self, other: Levels) -> None:
        """Take the levels of ``other`` in place of all that were set."""
        self._before_debug = None
        self._replace(other._set)

    def toggle_debug(self, tell: Callable[[bool], None]) -> None:
        """
        Write everything, or go back to what was written before.

        Args:
            tell: called with which of the two it is, while everything is written.
        """
        before = self._before_debug
        if before is None:
            self._before_debug = dict(self._set)
            self._replace(dict.fromkeys(self._set, "debug"))
            tell(True)
        else:
            tell(False)
            self._before_debug = None
            self._replace(before)

    def set(self, level: str, namespace: str = "") -> None:
        """
        Change the level of ``namespace`` and what is below it; of everything when empty.

        Raises:
            ConfigError: there is no such level.
        """
        name = {"warning": "warn"}.get(level.strip().lower(), level.strip().lower())
        try:
            constant = LogLevel.levelWithName(name)
        except InvalidLogLevelError:
            known = ", ".join(each.name for each in LogLevel.iterconstants())
            raise ConfigError(f"no log level {level!r}: choose one of {known}") from None
        self.predicate.setLogLevelForNamespace(namespace, constant)
        self._set[namespace] = name

    def __str__(self) -> str:
        """The levels in the form that the constructor reads."""
        return ",".join(
            f"{namespace}={level}" if namespace else level
            for namespace, level in sorted(self._set.items())
        )


class SurvivingStream:
    """
    Writes to a stream whose reader may go away, or whose disk may be full: nothing dies of that.

    The first line that is lost is told of on stderr, and that lines are written again in the log.
    """

    def __init__(
        self,
        stream: TextIO | None,
        format: str = "text",
        complain: Callable[[str], None] | None = None,
    ) -> None:
        """
        Args:
            stream: None when it was closed before the program began.
            complain: told the one line for stderr.
        """
        self._stream = stream
        self._format = format
        self._complain = _to_stderr if complain is None else complain
        self.lost = 0

    def write(self, text: str) -> None:
        """Write ``text`` whole, or lose it."""
        if self.lost:
            note = f"{self.lost} lines of the log before this one could not be written"
            text = f"{json.dumps({'message': note}) if self._format == 'json' else note}\n{text}"
        try:
            if self._stream is None:
                raise ValueError("it was closed")
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError) as error:  # ValueError: it is closed
            if not self.lost:
                reason = getattr(error, "strerror", None) or error
                self._complain(f"the log cannot be written: {reason}; this goes on without it")
            self.lost += 1
        else:
            self.lost = 0

    def flush(self) -> None:
        """Each line is flushed as it is written."""

    def reopen(self) -> None:
        """
        Open the file anew if the stream is one: it was renamed, as logrotate does.

        Raises:
            ConfigError: it cannot be opened; the old one is written on.
        """
        before: Any = self._stream
        path = getattr(before, "name", None)
        if before in (None, sys.__stdout__, sys.__stderr__) or not isinstance(path, str):
            return
        self._stream = _open(path)
        with suppress(OSError):  # full: its lines were counted as lost already
            before.close()


def _to_stderr(line: str) -> None:
    with suppress(OSError, ValueError, AttributeError):  # no stderr either
        print(line, file=sys.__stderr__, flush=True)


def _open(path: str) -> TextIO:
    """Open a log file so that each line goes to its end, wherever somebody else put that."""
    try:
        return open(path, "a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise ConfigError(f"cannot open log file {path}: {error.strerror}") from error


def observer(
    stream: TextIO, format: str, levels: Levels, streams: list[SurvivingStream] | None = None
) -> ILogObserver:
    """
    Return an observer that writes the events ``levels`` lets through to ``stream``.

    A stream that cannot be written costs the lines, and nothing else (`SurvivingStream`).

    Args:
        streams: gets what is written to, for whoever wants it reopened.

    When ``stream`` is systemd's journal, each text line begins with the priority that
    ``journalctl -p`` selects by.

    Raises:
        ConfigError: ``format`` is not one of `FORMATS`.
    """
    if format not in FORMATS:
        raise ConfigError(f"no log format {format!r}: choose one of {', '.join(FORMATS)}")
    line: Callable[[LogEvent], str] = json_line if format == "json" else text_line
    if format == "text" and _is_journal(stream, os.environ):

        def formatted(event: LogEvent) -> str:
            return f"<{_JOURNAL_PRIORITY.get(level_name(event), 6)}>{line(event)}\n"
    else:

        def formatted(event: LogEvent) -> str:
            return f"{line(event)}\n"

    surviving: Any = SurvivingStream(stream, format)
    if streams is not None:
        streams.append(surviving)
    return FilteringLogObserver(FileLogObserver(surviving, formatted), [levels.predicate])


def begin(stream: TextIO, format: str, levels: Levels) -> None:
    """Begin logging in a program that is neither twistd nor twist, leaving stdout to it."""
    globalLogBeginner.beginLoggingTo([observer(stream, format, levels)], redirectStandardIO=False)


def under_runner(
    service: Service,
    options: Options,
    format: str,
    levels: Levels,
    streams: list[SurvivingStream] | None = None,
) -> Service:
    """
    Have twistd or twist, whichever runs ``service``, log as `observer` does.

    Call it in ``makeService``, which both call before they begin to log, and return its
    result. The runner's ``--logfile`` (twistd) and ``--log-file`` (twist) say where to;
    twistd's ``--logger`` and ``--syslog`` win over ours.

    Args:
        options: The plugin's own; its parent is the runner's.
        streams: as for `observer`.

    Raises:
        ConfigError: the format does not exist, or the log file cannot be opened.
    """
    if format not in FORMATS:
        raise ConfigError(f"no log format {format!r}: choose one of {', '.join(FORMATS)}")
    runner: MutableMapping[str, Any] = getattr(options, "parent", None) or {}
    if "fileLogObserverFactory" in runner:  # twist
        runner["fileLogObserverFactory"] = lambda stream: observer(stream, format, levels, streams)
        runner["logLevel"] = LogLevel.debug  # ours decides
        return service
    if not runner or runner.get("logger") or runner.get("syslog"):
        return service
    root = _LoggedService(observer(_twistd_stream(runner), format, levels, streams))
    service.setServiceParent(root)
    return root


class _LoggedService(MultiService):
    """Gives the application its observer, which twistd asks for when it begins to log."""

    def __init__(self, log_observer: ILogObserver) -> None:
        super().__init__()
        self._log_observer = log_observer

    def setServiceParent(self, parent: Any) -> None:
        if isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._log_observer)
        super().setServiceParent(parent)


def _twistd_stream(runner: Mapping[str, Any]) -> TextIO:
    """Return what twistd itself would log to: stdout, or a file."""
    name = runner.get("logfile") or ("-" if runner.get("nodaemon", True) else "twistd.log")
    if name == "-":
        return sys.stdout
    return _open(os.path.abspath(name))


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether ``stream`` is the connection to journald that systemd.exec(5) describes."""
    try:
        status = os.fstat(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
