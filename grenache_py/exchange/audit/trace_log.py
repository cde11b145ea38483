"""
What logs add to the life of an order: lines that name it or a peer of it, and what was wrong.

Pure: lines in, happenings out. Reads both forms of a line, also behind what journalctl or an engine
of containers puts before it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from math import inf

import attrs

from grenache_py.exchange.audit.happenings import ID_CHARS_MIN, Happening, Trace

__all__ = ["LINES_MAX", "with_log"]

#: Lines of logs that are told.
LINES_MAX = 1_000
#: How long before the first and after the last that the store tells of.
AROUND_MS = 60_000
_TEXT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) +(\w+) +[\w.-]+: (.*)")
_WRONG = frozenset({"warn", "error", "critical"})


def with_log(trace: Trace, lines: Iterable[str]) -> Trace:
    """
    Add what belongs to an order out of logs.

    That is each line that names the order, a fill of it, or a peer that it had to do with, and each
    warning and error. It is looked for from a minute before the first to a minute after the last
    that happened to it; without an end while a fill is in doubt.

    Args:
        lines: of any number of log files, in any order; what is no event is passed over.
    """
    told = trace.happenings
    first = told[0].time - AROUND_MS
    last = inf if _in_doubt(told) else told[-1].time + AROUND_MS
    ids = {trace.order, trace.home, *(e.peer for e in told), *(e.fill for e in told)} - {""}
    # Logs name peers by the beginning of their key.
    named = re.compile("|".join(sorted(id[:ID_CHARS_MIN] for id in ids)))
    found: list[Happening] = []
    for line in lines:
        event = _event(line)
        if event is None or not first <= event[0] <= last:
            continue
        time_ms, level, message = event
        if level in _WRONG or named.search(line):
            if len(found) == LINES_MAX:
                found.append(Happening(time_ms, "log", "and more, which is not told"))
                break
            found.append(Happening(time_ms, "log", f"{level}: {message}"))
    # Sorted by time alone: what is of one millisecond stays as it was told.
    return attrs.evolve(trace, happenings=sorted([*told, *found], key=lambda each: each.time))


def _in_doubt(told: list[Happening]) -> bool:
    return any(each.what == "in doubt" for each in told)


def _event(line: str) -> tuple[int, str, str] | None:
    """Time in ms, level and message of a line."""
    found = _TEXT.search(line)
    if found is not None:
        return _ms(found[1]), found[2], found[3]
    try:
        event = json.loads(line[line.index("{") :])
        return _ms(str(event["time"])), str(event["level"]), str(event["message"])
    except (ValueError, KeyError, TypeError):
        return None


def _ms(time: str) -> int:
    return round(datetime.fromisoformat(time.replace("Z", "+00:00")).timestamp() * 1000)
