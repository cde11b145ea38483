"""The examples of docs/services.rst do what the page says, on two grapes of ours."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from docutils import nodes
from docutils.core import publish_doctree
from twisted.internet import reactor, task

from tests.support import rings

GUIDE = Path(__file__).parent.parent / "docs" / "services.rst"
pytestmark = pytest.mark.network


def examples(asyncio: bool = False) -> list[str]:
    """The Python of the page, in order: of its Twisted part, or of that for asyncio."""
    tree = publish_doctree(GUIDE.read_text(), settings_overrides={"report_level": 2})
    return [
        block.astext()
        for block in tree.findall(nodes.literal_block)
        if "python" in block.get("classes", []) and asyncio == ("asyncio" in block["classes"])
    ]


def promised(examples: list[str]) -> int:
    """How many values the examples give."""
    return sum(example.count("  # ->") for example in examples)


def checked(example: str) -> str:
    """Turn ``EXPRESSION  # -> VALUE`` into an assertion that the one is the other."""

    def check(found: re.Match[str]) -> str:
        indent, expression, value = found.groups()
        return f"{indent}__check__(({expression}), ({value}))"

    return re.sub(r"^( *)(.+?)  # -> (.+)$", check, example, flags=re.M)


@pytest_twisted.ensureDeferred
async def test_the_examples() -> None:
    promises = 0

    def check(got: Any, promised: Any) -> None:
        nonlocal promises
        promises += 1
        assert got == promised

    namespace: dict[str, Any] = {"reactor": reactor, "task": task, "__check__": check}
    async with rings.ring(2, "guide") as grapes:
        ports = {"30001": grapes[0].api_port, "40001": grapes[1].api_port}
        for example in examples():
            for port, real in ports.items():
                example = example.replace(port, str(real))
            code = compile(
                checked(example), str(GUIDE), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
            )
            result = eval(code, namespace)
            if inspect.iscoroutine(result):
                await result
    assert promises == promised(examples()) > 15
