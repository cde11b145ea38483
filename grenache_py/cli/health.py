"""
``grenache top`` and ``doctor``: how the grapes are.

Edge: asks them, reads the time, clears a terminal.
"""

from __future__ import annotations

import itertools
import json
import secrets
import time
from collections.abc import Iterator

import attrs
import click

from grenache_py.cli.asking import GrapeAsker, NotReached, exchanged, why_not
from grenache_py.cli.grape_condition import (
    COLUMNS,
    GrapeFinding,
    GrapeSeen,
    condition_of,
    counters,
    found_by,
    row,
)
from grenache_py.cli.outcomes import EXIT_FAILED
from grenache_py.cli.settings import Settings
from grenache_py.errors import GrenacheError, RemoteProtocolError
from grenache_py.link.errors import GrapeRefused
from grenache_py.plain_text import harmless

__all__ = ["doctor", "top"]

#: How long a record takes to be found at another grape, and how often that is looked at.
FOUND_S, LOOK_S = 3.0, 0.25


def _seen(url: str) -> GrapeSeen:
    now = time.monotonic()
    try:
        status, body = exchanged(f"{url}/health")
        health = _health(body)
        status, body = exchanged(f"{url}/metrics")
        page = body.decode("utf-8", "replace") if status == 200 else ""
    except (NotReached, OSError, RemoteProtocolError) as error:
        return GrapeSeen(url, now, problem=why_not(error))
    return GrapeSeen(url, now, health, counters(page))


def _health(body: bytes) -> dict[str, object]:
    try:
        health = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return health if isinstance(health, dict) and "contacts" in health else {}


@click.command()
@click.option(
    "--every",
    type=click.FloatRange(min=0.1),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Ask again after so long.",
)
@click.option("--count", type=click.IntRange(min=1), help="End after so many screens.")
@click.pass_obj
def top(settings: Settings, every: float, count: int | None) -> None:
    """
    Show how the grapes are on one screen, until Ctrl-C: each --grape is a row.

    Queries a second and the round trip come from /metrics, which a grape has with --metrics. With
    --json, one value a line for each screen.
    """
    before: dict[str, GrapeSeen] = {}
    for drawn in itertools.count(1):
        seen = {url: _seen(url) for url in settings.grapes}
        rows = [row(each, before.get(url)) for url, each in seen.items()]
        if settings.as_json:
            settings.show([dict(zip(COLUMNS, cells, strict=True)) for cells in rows])
        else:
            click.clear()  # of a terminal
            settings.show(None, "\n".join(_table(rows)))
            bare = [url for url, each in seen.items() if each.health and not each.counters]
            if bare:
                settings.show(None, f"without --metrics: {', '.join(bare)}")
        if drawn == count:
            return
        before = seen
        time.sleep(every)


def _table(rows: list[list[str]]) -> Iterator[str]:
    shown = [COLUMNS, *([harmless(cell) for cell in cells] for cells in rows)]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for cells in shown:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        yield "  ".join(padded).rstrip()


@click.command()
@click.pass_obj
def doctor(settings: Settings) -> int:
    """
    Check the grapes, and say what to do about what is wrong.

    Asks each how it is, announces a name of its own at the first that answers, which others forget
    after two minutes, and looks whether all find that. The exit code is 1 when something is wrong.
    """
    findings = list(_examined(settings.grapes))
    if settings.as_json:
        settings.show([attrs.asdict(finding) for finding in findings])
    marks = {"good": "ok", "note": "note", "warning": "WARN", "bad": "BAD"}
    for each in [] if settings.as_json else findings:
        line = f"{marks[each.verdict]:<5} {each.grape}  {each.what}: {each.found}"
        settings.show(None, harmless(line))
        if each.advice:
            see = f" (docs/operator.rst#alarm-{each.alarm})" if each.alarm else ""
            settings.show(None, f"      {each.advice}{see}")
    wrong = any(finding.verdict in {"warning", "bad"} for finding in findings)
    return EXIT_FAILED if wrong else 0


def _examined(grapes: tuple[str, ...]) -> Iterator[GrapeFinding]:
    seen = [_seen(url) for url in grapes]
    for each in seen:
        yield from condition_of(each)
    answering = [each.url for each in seen if not each.problem]
    if not answering:
        return
    first = answering[0]
    name = f"grenache-doctor:{secrets.token_hex(8)}"
    try:
        count = GrapeAsker([first]).announce(name, 9)
    except GrapeRefused as error:
        advice = "It needs another grape: --bn." if error.lonely else ""
        yield GrapeFinding(first, "announce", "bad", f"refused: {error.code}", advice)
        return
    except GrenacheError as error:
        yield GrapeFinding(first, "announce", "bad", str(error))
        return
    yield GrapeFinding(
        first, "announce", "good", f"{count} other grape{'s' * (count != 1)} recorded it"
    )
    yield from found_by(first, {url: _found(url, name) for url in answering})


def _found(url: str, name: str) -> list[str] | str:
    give_up = time.monotonic() + FOUND_S
    try:
        while True:
            found = GrapeAsker([url]).lookup(name)
            if found or time.monotonic() > give_up:
                return found
            time.sleep(LOOK_S)
    except GrenacheError as error:
        return str(error)
