"""The programs of examples/ are short, shown on the site, and run by a test each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path.name for path in (ROOT / "examples").iterdir() if path.is_file())
LINES_MAX = 40


def test_there_are_ten_or_more() -> None:
    assert len(EXAMPLES) >= 10


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short_and_shown_and_run(name: str) -> None:
    text = (ROOT / "examples" / name).read_text()
    if name.endswith(".ipynb"):
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        text = "\n".join("".join(cell["source"]) for cell in cells)
    assert len(text.splitlines()) <= LINES_MAX
    assert f".. literalinclude:: ../examples/{name}" in (ROOT / "docs" / "examples.rst").read_text()
    by_shape = name.removesuffix(".py").removesuffix("_asyncio").removesuffix("_twisted")
    tests = [*(ROOT / "tests").rglob("test_examples*.py"), *(ROOT / "docs/tutorials").glob("*.rst")]
    assert any(by_shape in path.read_text() for path in tests if path != Path(__file__))
