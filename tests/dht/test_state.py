"""What is kept between runs: the bytes, and the files they are in."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grenache_py.dht.items import StoredItem
from grenache_py.dht.saved_state import DHTState, StateDamaged, StateFromLater, dump, load
from grenache_py.dht.state_file import load_state, read_or_make_key, save_state
from grenache_py.errors import ConfigError

STATE = DHTState(
    b"i" * 20,
    b"k" * 32,
    [("10.0.0.1", 7001), ("2001:db8::1", 7002)],
    [StoredItem(b"5:value"), StoredItem(b"3:one", b"p" * 32, 7, b"s" * 64, b"salt")],
)


def test_what_was_dumped_loads() -> None:
    assert load(dump(STATE)) == STATE


def test_every_changed_or_missing_byte_is_noticed() -> None:
    data = dump(STATE)
    for position in range(len(data)):
        changed = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        with pytest.raises((StateDamaged, StateFromLater)):
            load(changed)
        with pytest.raises(StateDamaged):
            load(data[:position])


@given(st.binary(max_size=200))
def test_any_other_bytes_are_damage(data: bytes) -> None:
    with pytest.raises(StateDamaged):
        load(data)
    with pytest.raises((StateDamaged, StateFromLater)):
        load(b"grenache-py dht state 1 " + data)


def test_a_file_of_a_later_version_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(dump(STATE).replace(b"state 1 ", b"state 2 ", 1))
    with pytest.raises(ConfigError, match=r"state.*format 2"):
        load_state(path)


def test_a_saved_file_is_private_and_loads(tmp_path: Path) -> None:
    path = tmp_path / "state"
    assert load_state(path) is None
    save_state(path, STATE)
    save_state(path, STATE)
    assert load_state(path) == STATE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["state"], "nothing is left lying about"


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state"
    save_state(path, STATE)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_state(path, DHTState(b"j" * 20, b"k" * 32))
    monkeypatch.undo()
    assert load_state(path) == STATE
    assert os.listdir(tmp_path) == ["state"]


def test_a_damaged_file_is_set_aside_and_the_node_starts_afresh(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_bytes(dump(STATE)[:-5])
    assert load_state(path) is None
    assert not path.exists()
    assert (tmp_path / "state.damaged").read_bytes() == dump(STATE)[:-5], "nothing is lost"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=str(tmp_path)):
        load_state(tmp_path)  # a directory


def test_a_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "made" / "key"
    assert read_or_make_key(path, b"1" * 32) == b"1" * 32
    assert read_or_make_key(path, b"2" * 32) == b"1" * 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(path.parent) == ["key"]


@pytest.mark.parametrize("content", ["", "xyz", "00" * 31])
def test_a_key_file_that_holds_no_key_is_refused_and_left_alone(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    with pytest.raises(ConfigError, match="key"):
        read_or_make_key(path, b"1" * 32)
    assert path.read_text() == content
