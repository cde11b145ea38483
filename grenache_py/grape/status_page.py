"""
A grape's page for people: its health, its contacts and its counts, without scripts.

Pure.
"""

from __future__ import annotations

from html import escape
from typing import Any

import attrs

from grenache_py.dht.counters import DHTStatus
from grenache_py.grape.pages import HTTPStatistics

__all__ = ["status_page"]

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Grape: {health}</title>
<link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark; }}
body {{ color: CanvasText; background: Canvas; font: 15px/1.5 system-ui; max-width: 46rem;
 margin: 1rem auto; padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; margin-bottom: 1.5rem; }}
caption {{ text-align: left; font-weight: 600; }}
th {{ text-align: left; font-weight: 400; }}
td {{ text-align: right; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }}
th, td {{ border-top: 1px solid #8886; padding: .15rem .3rem; }}
</style>
</head>
<body>
<main>
<h1>{mark} Grape: {health}</h1>
{tables}
<p>As JSON: <a href="/health">/health</a>. For Prometheus, with <code>--metrics</code>:
<a href="/metrics">/metrics</a>.</p>
</main>
</body>
</html>
"""


def status_page(
    health: str, well: bool, status: DHTStatus, http: HTTPStatistics, alarms: list[dict[str, Any]]
) -> bytes:
    """
    Return the page in HTML.

    Args:
        health: What ``/health`` says, in words.
        well: Whether that is good.
        alarms: What is raised, in plain JSON values.
    """
    round_trip = status.round_trip_s
    tables = [
        _table(
            "Grape",
            {
                "node id": status.node_id.hex(),
                "contacts that answer": status.contacts_good,
                "contacts known": status.contacts_total,
                "joined": "yes" if status.bootstrapped else "no",
                "round trip": "–" if round_trip is None else f"{round_trip * 1000:.0f} ms",
                "names stored": status.names,
                "peers stored": status.peers,
                "items stored": status.items,
                "under way": status.operations,
                "queries that wait": status.queries_pending,
            },
        ),
        _table(
            "HTTP",
            {
                "clients": http.connections,
                "clients sent away": http.refused,
                **{f"asked: {name}": count for name, count in sorted(http.requests.items())},
                **{f"answered: {code}": count for code, count in sorted(http.statuses.items())},
            },
        ),
        _table(
            "DHT",
            {
                name.replace("_", " "): count
                for name, count in attrs.asdict(status.counters).items()
            },
        ),
    ]
    if alarms:
        wrong = {f"{each['level']} {each['id']}": each["text"] for each in alarms}
        tables.insert(0, _table("What is wrong", wrong))
    mark = "●" if well else "▲"
    return _PAGE.format(mark=mark, health=escape(health), tables="\n".join(tables)).encode()


def _table(caption: str, rows: dict[str, object]) -> str:
    lines = [
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(str(value))}</td></tr>'
        for name, value in rows.items()
    ]
    return "\n".join([f"<table><caption>{caption}</caption>", *lines, "</table>"])
