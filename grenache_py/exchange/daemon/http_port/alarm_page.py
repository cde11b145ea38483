"""
What to do about each alarm of a peer, as a page for people: where the links of the page's bar lead.

Pure.
"""

from __future__ import annotations

import re
from html import escape

from grenache_py.alarms import PEER, AlarmKind
from grenache_py.wire.http.messages import Page

__all__ = ["alarm_page"]

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Alarms of a peer</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/style.css">
<main class="reading">
<h1>Alarms of a peer</h1>
<p>An alarm: no orders are taken, and somebody has to act. A warning: it works, and may not for
ever. <code>docs/operator.rst</code> says more of each.</p>
{sections}
</main>
"""


def alarm_page() -> Page:
    """The page; each alarm has its section at ``#alarm-ID``."""
    sections = "\n".join(_section(id, kind) for id, kind in PEER.items())
    return Page(_PAGE.format(sections=sections).encode(), "text/html; charset=utf-8")


def _section(id: str, kind: AlarmKind) -> str:
    advice = re.sub("`(.+?)`", r"<code>\1</code>", escape(kind.advice))
    title = f"{id} ({kind.level}): {escape(kind.about)}"
    return f'<section id="alarm-{id}"><h2>{title}</h2><p>{advice}</p></section>'
