"""
How grapes are, and what to do about what is wrong: the rules of ``grenache top`` and ``doctor``.

Pure: what their pages said in, rows and findings out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from grenache_py.alarms import GRAPE, Verdict

__all__ = ["COLUMNS", "GrapeFinding", "GrapeSeen", "condition_of", "counters", "found_by", "row"]

COLUMNS = (
    *("grape", "state", "contacts", "names", "peers", "items"),
    *("sent/s", "lost/s", "answered/s", "round trip"),
)
_COUNTER = re.compile(r"(\w+) ([0-9.eE+-]+)")
#: The counters whose growth is shown, as their columns stand.
_GROWING = ("queries_sent", "queries_lost", "queries_answered")


@attrs.frozen
class GrapeSeen:
    """
    What the pages of a grape said.

    Attributes:
        url: its base URL.
        time_s: when that was, by a clock that is not set.
        health: ``/health``; empty when it has no such page.
        counters: ``/metrics``, those without labels; empty without ``--metrics``.
        problem: why there is no answer at all; "" when there is.
    """

    url: str
    time_s: float
    health: Mapping[str, Any] = attrs.field(factory=dict)
    counters: Mapping[str, float] = attrs.field(factory=dict)
    problem: str = ""


@attrs.frozen
class GrapeFinding:
    """
    One thing that was checked.

    Attributes:
        advice: what to do, "" when nothing has to be done.
        alarm: the id of its alarm; docs/operator.rst#alarms has a section for each.
    """

    grape: str
    what: str
    verdict: Verdict
    found: str
    advice: str = ""
    alarm: str = ""


def counters(page: str) -> dict[str, float]:
    """The counters and gauges of a page for Prometheus that have no labels."""
    found = filter(None, map(_COUNTER.fullmatch, page.splitlines()))
    return {each[1]: float(each[2]) for each in found}


def row(seen: GrapeSeen, before: GrapeSeen | None) -> list[str]:
    """What `COLUMNS` show of a grape; what is a rate needs to have been seen before."""
    if seen.problem:
        return [seen.url, seen.problem, *["-"] * (len(COLUMNS) - 2)]
    contacts = seen.health.get("contacts")
    round_trip_s = seen.counters.get("grape_dht_round_trip_seconds")
    return [
        seen.url,
        str(seen.health.get("status", "answers")),
        f"{contacts['good']} of {contacts['total']}" if contacts else "-",
        *(str(seen.health.get(name, "-")) for name in ("names", "peers", "items")),
        *(_rate(f"grape_dht_{name}_total", seen, before) for name in _GROWING),
        "-" if round_trip_s is None else f"{round_trip_s * 1000:.1f} ms",
    ]


def _rate(counter: str, seen: GrapeSeen, before: GrapeSeen | None) -> str:
    if before is None or counter not in seen.counters or counter not in before.counters:
        return "-"
    more = seen.counters[counter] - before.counters[counter]
    if more < 0:  # it was started again
        return "-"
    return f"{more / max(seen.time_s - before.time_s, 0.001):.1f}"


def condition_of(seen: GrapeSeen) -> Iterator[GrapeFinding]:
    """Whether a grape answers, and what it says of itself."""
    if seen.problem:
        advice = "Is it running, and does it listen there (-b, --aph)?"
        yield GrapeFinding(seen.url, "answers", "bad", seen.problem, advice)
    elif not seen.health:
        yield GrapeFinding(
            seen.url, "answers", "good", "yes, and does not say how it is, as Node's"
        )
    else:
        contacts = seen.health["contacts"]
        found = f"{contacts['good']} of {contacts['total']} contacts answer"
        raised = seen.health.get("raised", [])
        for each in raised:
            kind = GRAPE.get(each["id"])
            verdict: Verdict = "bad" if each["level"] == "alarm" else "warning"
            advice = kind.advice if kind else ""
            yield GrapeFinding(seen.url, "health", verdict, each["text"], advice, each["id"])
        if not raised:
            yield GrapeFinding(seen.url, "health", "good", f"{seen.health['status']}, {found}")


def found_by(
    announced_at: str, answers: Mapping[str, Sequence[str] | str]
) -> Iterator[GrapeFinding]:
    """
    Whether what was announced at one grape is found at the others.

    Args:
        answers: by grape, the addresses that it knows, or why it does not say.
    """
    for url, answer in answers.items():
        if isinstance(answer, str):
            yield GrapeFinding(url, "lookup", "bad", answer)
        elif answer:
            yield GrapeFinding(url, "lookup", "good", f"finds what was announced at {announced_at}")
        elif url == announced_at:
            found = "does not find what was announced here"
            yield GrapeFinding(url, "lookup", "bad", found, "It needs another grape: --bn.")
        else:
            yield GrapeFinding(
                url,
                "lookup",
                "bad",
                f"does not find what was announced at {announced_at}",
                "These grapes do not know each other: name one of each in the other's --bn.",
            )
