"""SECURITY.md points to rules and tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "SECURITY.md").read_text()


def test_every_rule_it_points_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#([^)]+))?\)", TEXT)
    assert len(links) > 5
    for page, anchor in links:
        text = (ROOT / page).read_text()
        assert not anchor or f".. _{anchor}:" in text, f"{page}#{anchor}"


def test_every_test_it_points_to_is_there() -> None:
    paths = re.findall(r"`(tests/[^` ]+)`", TEXT)
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_make_target_it_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", TEXT)) <= targets
