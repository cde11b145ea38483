"""
ARCHITECTURE.rst is complete and true: every package and module, and every function it names.

``make architecture`` writes the list of modules anew, from the first lines of their docstrings.
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "grenache_py"
PAGE = ROOT / "ARCHITECTURE.rst"
BEGIN, END = ".. begin modules\n", ".. end modules\n"


def first_line(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return text.partition("\n")[0]


def modules_as_rst() -> str:
    """Each package with its docstring's first line, and below it each of its modules."""
    lines: list[str] = []
    packages = [PACKAGE, *sorted(path.parent for path in PACKAGE.rglob("*/__init__.py"))]
    for package in packages:
        name = package.relative_to(ROOT).as_posix() + "/"
        lines += ["", f"**{name}**: {first_line(package / '__init__.py')}", ""]
        for module in sorted(package.glob("*.py")):
            if module.name != "__init__.py":
                entry = f"- ``{module.stem}``: {first_line(module)}"
                lines += textwrap.wrap(
                    entry,
                    100,
                    subsequent_indent="  ",
                    break_on_hyphens=False,
                    break_long_words=False,
                )
    lines.append("")
    return "\n".join(lines) + "\n"


def split_page() -> tuple[str, str, str]:
    before, _, rest = PAGE.read_text().partition(BEGIN)
    listed, end, after = rest.partition(END)
    assert end, f"{PAGE.name} has no place for the list of modules"
    return before, listed, after


def test_every_package_and_module_is_listed_with_its_first_line() -> None:
    _, listed, _ = split_page()
    assert listed == modules_as_rst(), "run `make architecture`"


def test_every_module_says_in_one_line_what_it_is() -> None:
    for path in PACKAGE.rglob("*.py"):
        line = first_line(path)
        assert 10 < len(line) <= 100, f"{path.relative_to(ROOT)}: {line!r}"


def names_in(path: Path) -> set[str]:
    """Functions and classes of a module, and methods as ``Class.method``."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{each.name}" for each in node.body if hasattr(each, "name")}
        if isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def test_every_function_that_is_named_exists() -> None:
    before, _, after = split_page()
    named = re.findall(r"``([a-z_/]+\.py)::([\w.]+)``", before + after)
    assert len(named) > 20, "the journeys and recipes name functions"
    for place, name in named:
        path = PACKAGE / place if (PACKAGE / place).exists() else ROOT / place
        assert path.exists(), place
        assert name in names_in(path), f"{place} has no {name}"


def test_every_file_and_folder_that_is_named_exists() -> None:
    before, _, after = split_page()
    for place in re.findall(
        r"``([a-z_]+(?:/[a-z_]+)*(?:/|\.(?:py|rst|toml|sql)))``", before + after
    ):
        assert any((top / place).exists() for top in (ROOT, PACKAGE, PACKAGE / "exchange")), place


if __name__ == "__main__":
    start, _, finish = split_page()
    PAGE.write_text(start + BEGIN + modules_as_rst() + END + finish)
    sys.stdout.write(f"{PAGE.name} lists the modules as they are now.\n")
