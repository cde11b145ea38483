"""
One event of the log as one line of text or JSON.

Shell: touches nothing, but takes Twisted's events and failures. One event is one line,
whatever is in it: a traceback becomes ``Error: text [file:line in function < ...]``, a
line break in data becomes ``\\n``. So journald and ``grep`` see whole events, and a hostile
peer cannot forge one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import PurePath
from typing import Any

from twisted.logger import LogEvent, formatEvent
from twisted.python.failure import Failure

from grenache_py.plain_text import harmless

__all__ = ["json_line", "level_name", "text_line"]

#: Characters of a message or a field. A longer one is cut, and says by how much.
MESSAGE_CHARS_MAX = 8192
#: Frames of a traceback, the innermost.
FRAMES_MAX = 20
#: Causes of an error that are written after it.
CAUSES_MAX = 4
#: Depth to which a field's lists and mappings are written as JSON; below it, as text.
NESTING_MAX = 4
#: Items of a list or a mapping.
ITEMS_MAX = 100

#: Keys that Twisted's older log system adds for its own observers.
_LEGACY = frozenset(
    {"time", "system", "isError", "message", "format", "failure", "why", "debugInfo", "logLevel"}
)
#: Keys of a JSON line that no field of an event may take.
_RESERVED = frozenset({"time", "level", "namespace", "message", "failure"})


def text_line(event: LogEvent) -> str:
    """Return ``event`` as ``time level namespace: message``, without the line's end."""
    message = harmless(_cut(formatEvent(event)))
    failure = event.get("log_failure")
    if isinstance(failure, Failure):
        about = harmless(_cut(_failure_text(failure)))
        message = f"{message}: {about}" if message else about
    return (
        f"{_time(event)} {level_name(event):<8} {harmless(str(event.get('log_namespace', '-')))}: "
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
        "level": level_name(event),
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


def _time(event: LogEvent) -> str:
    moment = datetime.fromtimestamp(event.get("log_time", 0.0), timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def level_name(event: LogEvent) -> str:
    """Return the name of the event's level, ``info`` if it has none."""
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
