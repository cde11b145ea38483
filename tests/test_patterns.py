"""``$`` in a regular expression also matches before a newline at the end; ``\\Z`` does not."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "grenache_py"
#: Calls whose first argument, or argument ``pattern``, is a regular expression.
TAKES_A_PATTERN = {"compile", "match", "search", "fullmatch", "sub", "split", "findall", "Meta"}


def patterns(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else None
        name = node.func.id if isinstance(node.func, ast.Name) else name
        if name not in TAKES_A_PATTERN:
            continue
        arguments = [*node.args[:1], *[word.value for word in node.keywords]]
        for constant in (leaf for argument in arguments for leaf in ast.walk(argument)):
            if isinstance(constant, ast.Constant) and isinstance(constant.value, (str, bytes)):
                text = constant.value
                found.append(text if isinstance(text, str) else text.decode("latin-1"))
    return found


def ends_a_line(pattern: str) -> bool:
    """Whether there is a ``$`` that is neither escaped nor in brackets."""
    bare = re.sub(r"\\.|\[[^]]*\]", "", pattern, flags=re.DOTALL)
    return "$" in bare


def test_the_rule_knows_its_cases() -> None:
    for pattern in ("^a$", r"a$", r"(a|b$)", r"\\\\$"):
        assert ends_a_line(pattern), pattern
    for pattern in (r"^a\Z", r"a\$b", "[$]", "a"):
        assert not ends_a_line(pattern), pattern


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: path.stem)
def test_no_pattern_admits_a_newline_at_its_end(path: Path) -> None:
    assert [pattern for pattern in patterns(path) if ends_a_line(pattern)] == []
