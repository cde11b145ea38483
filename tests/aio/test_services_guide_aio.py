"""The asyncio examples of docs/services.rst do what the page says, on a grape of ours."""

from __future__ import annotations

import ast
import inspect
from typing import Any

import pytest

from tests.support.loops import grape, run
from tests.test_services_guide import GUIDE, checked, examples, promised

pytestmark = pytest.mark.network


def test_the_examples() -> None:
    promises = 0

    def check(got: Any, wanted: Any) -> None:
        nonlocal promises
        promises += 1
        assert got == wanted

    async def main() -> None:
        namespace: dict[str, Any] = {"__check__": check}
        async with grape() as url:
            for example in examples(asyncio=True):
                for port in ("30001", "40001"):
                    example = example.replace(f"http://127.0.0.1:{port}", url)
                flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
                code = compile(checked(example), str(GUIDE), "exec", flags=flags)
                result = eval(code, namespace)
                if inspect.iscoroutine(result):
                    await result

    run(main())
    assert promises == promised(examples(asyncio=True)) > 15
