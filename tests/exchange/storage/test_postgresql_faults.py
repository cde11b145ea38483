"""What PostgreSQL says when it cannot, in sentences that a person can act on."""

from __future__ import annotations

import pytest

from grenache_py.exchange.errors import StoreFault

pytest.importorskip("psycopg", reason="pip install 'grenache-py[postgresql]'")


@pytest.mark.parametrize(
    ("state", "fault", "advice"),
    [
        ("53100", "full", "free some; nothing is lost"),
        ("53300", "locked", "raise max_connections"),
        ("25006", "readonly", "is it a replica by now?"),
        ("42501", "refused", "the role must own the database"),
        ("28P01", "refused", "~/.pgpass"),
        ("3D000", "refused", "createdb makes it"),
        ("08006", "io", "the connection to the store failed"),
        ("40P01", "io", "broke a transaction off"),
        ("57P01", "io", "it stops, or another daemon takes over"),
        ("XX001", "corrupt", "is damaged"),
        ("23514", "bug", "please report this"),
        ("42P01", "bug", "please report this"),
        ("GX001", "fenced", "another daemon has taken over this home"),
        (None, "io", "cannot be reached"),
    ],
)
def test_a_fault_says_what_to_do(state: str | None, fault: StoreFault, advice: str) -> None:
    from grenache_py.exchange.storage.postgresql.faults import fault_of

    found = fault_of("the store", state, "it said\nDETAIL:  so")
    assert found.fault == fault
    assert advice in found.message and "\n" not in found.message
