"""Ways to fail that no other test shows to be closed (docs/failure-modes.rst names them all)."""

from __future__ import annotations

import ast
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import grenache_py.exchange
from grenache_py.errors import ConfigError
from grenache_py.exchange.settings import secret_files
from grenache_py.exchange.settings.secret_files import KEY_NAME, read_or_make_identity, read_tokens
from tests.support.peers import Network


def test_an_identity_is_made_once_and_never_replaced(tmp_path: Path) -> None:
    """docs/failure-modes.rst#f9: identity lost at a restart."""
    first = read_or_make_identity(str(tmp_path / "data"))
    file = tmp_path / "data" / KEY_NAME
    assert file.stat().st_mode & 0o777 == 0o600
    assert read_or_make_identity(str(tmp_path / "data")).key == first.key
    assert read_or_make_identity(str(tmp_path / "other")).key != first.key
    file.write_text("not a key")
    with pytest.raises(ConfigError, match="restore it from a copy"):
        read_or_make_identity(str(tmp_path / "data"))
    assert file.read_text() == "not a key"
    file.chmod(0o644)
    with pytest.raises(ConfigError) as raised:
        read_or_make_identity(str(tmp_path / "data"))
    assert str(raised.value) == f"{file} can be used by others (mode 644): run chmod 600 {file}"


def test_an_identity_may_be_kept_elsewhere_and_a_standby_makes_none(tmp_path: Path) -> None:
    data, file = str(tmp_path / "data"), str(tmp_path / "the.key")
    with pytest.raises(ConfigError, match="the key of the one that serves; copy it here"):
        read_or_make_identity(data, file, may_make=False)
    made = read_or_make_identity(data, file)
    assert read_or_make_identity(data, file, may_make=False).key == made.key
    assert [path.name for path in tmp_path.rglob("*.key")] == ["the.key"]


def test_what_cannot_hold_secrets_is_named_once(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ConfigError) as raised:
        read_or_make_identity(str(file))
    assert str(raised.value) == f"data directory {file}: is a file"
    file.chmod(0o644)
    with pytest.raises(ConfigError) as raised:
        read_tokens(str(file))
    assert str(raised.value) == (
        f"token file {file}: can be used by others (mode 644): run chmod 640 {file}"
    )


def test_tokens_that_a_container_engine_put_there_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "secrets" / "tokens"
    file.parent.mkdir()
    file.write_text('[[token]]\ntoken = "sixteen letters!"\nscopes = ["read"]\n')
    file.chmod(0o444)
    with pytest.raises(ConfigError, match="can be used by others"):
        read_tokens(str(file))
    monkeypatch.setattr(secret_files, "CONTAINER_SECRETS", f"{file.parent}/")
    assert read_tokens(str(file)).grant("sixteen letters!") is not None
    file.chmod(0o666)
    with pytest.raises(ConfigError, match=r"mode 666\): run chmod 644 "):
        read_tokens(str(file))


@pytest.mark.parametrize("data", ["", "data"], ids=["not writable", "not to be made"])
def test_what_is_forbidden_is_told_with_both_users(data: str) -> None:
    root = os.geteuid() == 0  # to whom nothing is forbidden
    me = 54321 if root else os.geteuid()
    with TemporaryDirectory() as folder:
        os.chmod(folder, 0o500)
        os.seteuid(me)
        try:
            with pytest.raises(ConfigError, match=f"mode 500.*this daemon runs as uid {me}$"):
                read_or_make_identity(os.path.join(folder, data))
        finally:
            if root:
                os.seteuid(0)
            os.chmod(folder, 0o700)


def test_two_orders_that_are_alike_are_two_orders_everywhere() -> None:
    """docs/failure-modes.rst#f9: ids that collide."""
    net = Network(2)
    net.link(0, 1)
    ids = {net.place(number % 2, "buy", 10, 100).order_id for number in range(50)}
    net.run(3)
    assert len(ids) == 50
    assert net.book(0) == net.book(1) == ([(100, 500)], [])


def test_a_late_joiner_sees_what_is_left_of_an_order_and_not_what_it_was() -> None:
    """
    docs/failure-modes.rst#f12: a book inflated after sync, the original quantity without its fills.
    """
    net = Network(3)
    net.link(0, 1)
    maker = net.place(0, "sell", 100, 50)
    net.place(1, "buy", 30, 50)
    net.place(0, "buy", 30, 50)
    net.run(3)
    net.link(2, 1)
    net.run(12)
    assert maker.filled == 60
    assert net[2].sync.synced
    assert [net.book(number) for number in range(3)] == [([], [(50, 40)])] * 3


def test_a_cancel_reaches_every_peer_and_one_that_joins_later() -> None:
    """docs/failure-modes.rst#f36: a cancel that is local only."""
    net = Network(4)
    net.link(0, 1)
    net.link(1, 2)
    orders = [net.place(0, "sell", 10, price) for price in (50, 51)]
    net.run(3)
    assert net.book(2) == ([], [(50, 10), (51, 10)])
    net[0].cancel(orders[0].order_id, net.now)
    net.settle()
    net.run(1)
    net.link(3, 2)
    net.run(12)
    assert [net.book(number) for number in range(4)] == [([], [(51, 10)])] * 4


def test_the_exchange_asks_grapes_for_names_and_addresses_alone() -> None:
    """docs/failure-modes.rst#f26: a book kept in DHT values, which are 1,000 bytes long at most."""
    folder = Path(grenache_py.exchange.__file__).parent
    discovery = ast.parse((folder / "daemon" / "discovery.py").read_text())
    asked = {
        node.attr
        for node in ast.walk(discovery)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, (ast.Name, ast.Attribute))
        and getattr(node.value, "id", getattr(node.value, "attr", "")) in {"link", "_link"}
    }
    assert {"start_announcing", "lookup"} <= asked
    assert not asked & {"put", "put_mutable", "get"}
    users = {file.name for file in folder.rglob("*.py") if "link.client" in file.read_text()}
    assert users == {"discovery.py", "address_slots.py"}
