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


def test_every_attack_has_a_rule_and_a_test() -> None:
    table = TEXT.partition("| Attack | Rule | Test |\n|---|---|---|\n")[2].partition("\n\n")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    attacks = [row for row in rows if not row[0].startswith("**")]
    assert len(attacks) > 30
    for attack, rule, shown in attacks:
        assert rule and re.search(r"`tests/[^` ]+`", shown), attack


def test_every_make_target_it_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", TEXT)) <= targets
