"""
Every module says in its docstring which room it is in, and imports only what that room may.

``make rooms`` (import-linter) judges the packages' directions; this test judges each file.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted((ROOT / "grenache_py").rglob("*.py"))
    if path.name != "__init__.py"
}
OUTSIDE = {"twisted", "treq", "sqlite3", "socket", "threading", "asyncio", "subprocess", "time"}
#: What a module of each room may import of ours; edges may import anything.
MAY_IMPORT = {"Pure": {"Pure"}, "Shell": {"Pure", "Shell"}, "Service": {"Pure", "Shell", "Service"}}


def room(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    found = re.search(r"(?:^|[.:]\s+)(Pure|Shell|Service|Edge)\b", text)
    assert found, f"{path}: the docstring says no room (Pure, Shell, Service or Edge)"
    return found.group(1)


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name for name in inner if name in MODULES} or {node.module}
    return names


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_what_its_room_may(name: str) -> None:
    own = room(MODULES[name])
    if own == "Edge":
        return
    names = imported(MODULES[name])
    ours = {other: room(MODULES[other]) for other in names if other in MODULES}
    wrong = {other for other, others_room in ours.items() if others_room not in MAY_IMPORT[own]}
    assert not wrong, f"{own} imports {wrong}"
    if own == "Pure":
        assert not {other.partition(".")[0] for other in names} & OUTSIDE
