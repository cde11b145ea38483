"""Which PostgreSQL servers a home may be kept on."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from grenache_py.exchange.storage.postgresql.server_checks import ServerFacts, complaint

GOOD = ServerFacts(
    version=160_004,
    replica=False,
    read_only=False,
    encoding="UTF8",
    fsync=True,
    full_page_writes=True,
    synchronous_commit="on",
    synchronous_standby_names="ANY 1 (*)",
    process=77,
    clock_s=1_000.0,
    cluster="1:2",
)


def said(alone: bool = False, **changed: Any) -> str:
    return complaint(attrs.evolve(GOOD, **changed), 77, alone, 1_000.0)


def test_a_primary_that_waits_for_a_standby_will_do() -> None:
    assert said() == said(synchronous_commit="remote_apply") == ""


@pytest.mark.parametrize(
    ("changed", "advice"),
    [
        ({"version": 130_012}, "PostgreSQL 13: version 14 or newer"),
        ({"process": 78}, "a connection pooler.*name the server itself"),
        ({"replica": True}, "is a replica: name the primary too"),
        ({"read_only": True}, "default_transaction_read_only = off"),
        ({"encoding": "LATIN1"}, "ENCODING 'UTF8'"),
        ({"fsync": False}, "set fsync = on"),
        ({"full_page_writes": False}, "full_page_writes = on"),
        ({"synchronous_commit": "off"}, "set synchronous_commit = on"),
        ({"synchronous_commit": "local"}, "set synchronous_commit = on"),
        ({"synchronous_commit": "remote_write"}, "set synchronous_commit = on"),
        ({"synchronous_standby_names": ""}, "set synchronous_standby_names .*--single-database"),
        ({"clock_s": 1_006.0}, "by 6 s: run an NTP service"),
        ({"clock_s": 994.0}, "by 6 s: run an NTP service"),
    ],
)
def test_what_is_set_wrong_is_said_with_what_to_set(changed: dict[str, Any], advice: str) -> None:
    import re

    line = said(**changed)
    assert re.search(advice, line) and "\n" not in line


def test_one_server_will_do_when_the_operator_says_so() -> None:
    assert said(alone=True, synchronous_standby_names="", synchronous_commit="local") == ""
    assert "not on its disk" in said(alone=True, synchronous_commit="off")
