"""The store's SQL, on a database in memory."""

from __future__ import annotations

import typing

import pytest

from grenache_py.exchange import rows
from grenache_py.exchange.database import Database


@pytest.fixture
def database() -> typing.Iterator[Database]:
    made = Database(":memory:")
    made.open()
    yield made
    made.close()


def sample(kind: type, number: int = 0, **fields: object) -> typing.Any:
    """A row of ``kind`` whose fields all differ, told apart by ``number``."""
    hints = typing.get_type_hints(kind)
    values: dict[str, object] = {}
    for place, name in enumerate(kind._fields):
        made = {
            int: number * 100 + place,
            str: f"{name} {number}",
            bytes: b"%d %d" % (place, number),
        }
        values[name] = made[hints[name]]
    if kind is rows.OrderRow:
        values |= {"quantity_lots": 10**6, "live": 1, "order_seq": 0, "state_seq": 0}
    if kind is rows.IntentRow:
        values["done"] = 0
    return kind(**(values | fields))


@pytest.mark.parametrize(
    ("kind", "held"),
    [
        (rows.LogRow, "log_tail"),
        (rows.OrderRow, "orders"),
        (rows.TradeRow, "trades"),
        (rows.IntentRow, "intents"),
        (rows.AnswerRow, "answers"),
        (rows.OriginRow, "origins"),
        (rows.RecordRow, "records"),
    ],
)
def test_every_field_of_a_row_comes_back_as_it_was(
    database: Database, kind: type, held: str
) -> None:
    # 150 rows: every size of statement is used.
    written = [
        sample(kind, number, **({"market": "M"} if held == "trades" else {}))
        for number in range(150)
    ]
    if held == "origins":
        written.sort(key=lambda row: row.origin)
    database.commit(written)
    assert getattr(database.load(), held) == written
