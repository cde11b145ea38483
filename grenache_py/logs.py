"""
Log lines for people (text) and for machines (JSON), the same under twistd, twist and our tools.

Shell: writes to the stream it is given. One event is one line, whatever is in it: a
traceback becomes ``Error: text [file:line in function < ...]``, a line break in data
becomes ``\\n``, so that neither journald nor ``grep`` nor a hostile peer can tear an event apart.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, MutableMapping
from datetime import datetime, timezone
from pathlib import PurePath
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
    formatEvent,
    globalLogBeginner,
)
from twisted.python.components import Componentized
from twisted.python.failure import Failure
from twisted.python.logfile import LogFile
from twisted.python.usage import Options

from grenache_py.errors import ConfigError

__all__ = ["FORMATS", "Levels", "begin", "json_line", "observer", "text_line", "under_runner"]

FORMATS = ("text", "json")
MESSAGE_CHARS_MAX = 8192
"""A longer message or field is cut, and says by how much."""
FRAMES_MAX = 20
CAUSES_MAX = 4
NESTING_MAX = 4
ITEMS_MAX = 100

# What Twisted says of each connection and each port, at info; ours say what matters of them.
_QUIET = ("log_legacy", "twisted.web.client._HTTP11ClientFactory")
# Keys that Twisted's older log system adds for its own observers.
_LEGACY = frozenset(
    {"time", "system", "isError", "message", "format", "failure", "why", "debugInfo", "logLevel"}
)
_RESERVED = frozenset({"time", "level", "namespace", "message", "failure"})
# sd-daemon(3): what journald reads from the beginning of a line.
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
        for namespace in _QUIET:
            self.predicate.setLogLevelForNamespace(namespace, LogLevel.warn)
        self._set: dict[str, str] = {"": "info"}
        for entry in spec.split(","):
            namespace, equals, level = entry.strip().rpartition("=")
            if equals and not namespace:
                raise ConfigError(f"log level {entry.strip()!r} names no namespace before the '='")
            self.set(level, namespace)

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


def text_line(event: LogEvent) -> str:
    """Return ``event`` as ``time level namespace: message``, without the line's end."""
    message = _one_line(_cut(formatEvent(event)))
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        about = _one_line(_cut(_failure_text(failure)))
        message = f"{message}: {about}" if message else about
    return (
        f"{_time(event)} {_level(event):<8} {_one_line(str(event.get('log_namespace', '-')))}: "
        f"{message}"
    )


def json_line(event: LogEvent) -> str:
    """
    Return ``event`` as a JSON object on one line, without the line's end.

    It has ``time``, ``level``, ``namespace``, ``message``, ``failure`` (``type``, ``text``
    and ``traceback``) when there is one, and the event's own fields; a field with one of
    those names gets an underscore behind it. What JSON cannot say becomes a string.
    """
    record: dict[str, Any] = {
        "time": _time(event),
        "level": _level(event),
        "namespace": str(event.get("log_namespace", "-")),
        "message": _cut(formatEvent(event)),
    }
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        record["failure"] = {
            "type": _type_name(failure),
            "text": _cut(failure.getErrorMessage()),
            "traceback": _cut(_failure_text(failure)),
        }
    for key, value in event.items():
        if not key.startswith("log_") and key not in _LEGACY:
            record[f"{key}_" if key in _RESERVED else key] = _plain(value)
    return json.dumps(record, ensure_ascii=True, separators=(",", ":"))


def observer(stream: TextIO, format: str, levels: Levels) -> ILogObserver:
    """
    Return an observer that writes the events ``levels`` lets through to ``stream``.

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
            return f"<{_JOURNAL_PRIORITY.get(_level(event), 6)}>{line(event)}\n"
    else:

        def formatted(event: LogEvent) -> str:
            return f"{line(event)}\n"

    return FilteringLogObserver(FileLogObserver(stream, formatted), [levels.predicate])


def begin(stream: TextIO, format: str, levels: Levels) -> None:
    """Begin logging in a program that is neither twistd nor twist, leaving stdout to it."""
    globalLogBeginner.beginLoggingTo([observer(stream, format, levels)], redirectStandardIO=False)


def under_runner(service: Service, options: Options, format: str, levels: Levels) -> Service:
    """
    Have twistd or twist, whichever runs ``service``, log as `observer` does.

    Call it in ``makeService``, which both call before they begin to log, and return its
    result. The runner's ``--logfile`` (twistd) and ``--log-file`` (twist) say where to;
    twistd's ``--logger`` and ``--syslog`` win over ours.

    Args:
        options: The plugin's own; its parent is the runner's.

    Raises:
        ConfigError: the format does not exist, or the log file cannot be opened.
    """
    if format not in FORMATS:
        raise ConfigError(f"no log format {format!r}: choose one of {', '.join(FORMATS)}")
    runner: MutableMapping[str, Any] = getattr(options, "parent", None) or {}
    if "fileLogObserverFactory" in runner:  # twist
        runner["fileLogObserverFactory"] = lambda stream: observer(stream, format, levels)
        runner["logLevel"] = LogLevel.debug  # ours decides
        return service
    if not runner or runner.get("logger") or runner.get("syslog"):
        return service
    root = _LoggedService(observer(_twistd_stream(runner), format, levels))
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
    """Return what twistd itself would log to: stdout, or a file that is rotated."""
    name = runner.get("logfile") or ("-" if runner.get("nodaemon", True) else "twistd.log")
    if name == "-":
        return sys.stdout
    try:
        file: TextIO = LogFile.fromFullPath(name)
    except OSError as error:
        raise ConfigError(f"cannot open log file {name}: {error.strerror}") from error
    return file


def _is_journal(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether ``stream`` is the connection to journald that systemd.exec(5) describes."""
    try:
        status = os.fstat(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return False
    return environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def _time(event: LogEvent) -> str:
    moment = datetime.fromtimestamp(event.get("log_time", 0.0), timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _level(event: LogEvent) -> str:
    return str(getattr(event.get("log_level"), "name", "info"))


def _type_name(failure: Failure) -> str:
    kind = failure.type
    return "unknown" if kind is None else f"{kind.__module__}.{kind.__qualname__}"


def _failure_text(failure: Failure) -> str:
    """Return ``Type: text [innermost frame < ... < outermost]``, and the same for its causes."""
    parts = [_error_text(_type_name(failure), failure.getErrorMessage(), _frames(failure))]
    error = failure.value
    for _ in range(CAUSES_MAX):
        cause = getattr(error, "__cause__", None)
        if cause is None and not getattr(error, "__suppress_context__", True):
            cause = getattr(error, "__context__", None)
        if not isinstance(cause, BaseException):
            break
        parts.append(_error_text(type(cause).__qualname__, str(cause), _frames(Failure(cause))))
        error = cause
    return ", because of ".join(parts)


def _error_text(name: str, text: str, frames: list[str]) -> str:
    where = f" [{' < '.join(frames)}]" if frames else ""
    return f"{name.removeprefix('builtins.')}: {text}{where}" if text else f"{name}{where}"


def _frames(failure: Failure) -> list[str]:
    """Return ``dht/node.py:212 in lookup`` for each frame, innermost first."""
    frames = [
        f"{'/'.join(PurePath(file).parts[-2:])}:{line} in {function}"
        for function, file, line, _locals, _globals in failure.frames
    ]
    return frames[: -FRAMES_MAX - 1 : -1]


def _one_line(text: str) -> str:
    """Escape what would begin a new line or steer a terminal."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def _cut(text: str) -> str:
    if len(text) <= MESSAGE_CHARS_MAX:
        return text
    return f"{text[:MESSAGE_CHARS_MAX]}... ({len(text) - MESSAGE_CHARS_MAX} more characters)"


def _plain(value: object, depth: int = 0) -> Any:
    """Return ``value`` as JSON can say it, or else as text."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, str):
        return _cut(value)
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    if isinstance(value, (bytes, bytearray)):
        return _cut(bytes(value).decode("utf-8", "backslashreplace"))
    if depth < NESTING_MAX and isinstance(value, Mapping):
        pairs = list(value.items())[:ITEMS_MAX]
        return {str(key): _plain(item, depth + 1) for key, item in pairs}
    if depth < NESTING_MAX and isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item, depth + 1) for item in list(value)[:ITEMS_MAX]]
    try:
        return _cut(str(value))
    except Exception as error:  # a broken __str__ must not cost the event
        return f"<{type(value).__qualname__}, whose text failed: {type(error).__qualname__}>"
