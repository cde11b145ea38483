"""
Every citation in code and documents leads somewhere.

Code cites the design by page and anchor, ``docs/design/fills.rst#deadline``, a known failure by its
number, ``docs/failure-modes.rst#f23``, and else public standards only. In Python files comments and
docstrings are looked at, in other files the whole text.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
#: Folders with text of ours, and what is in them but is not ours or only data.
FOLDERS = (
    "grenache_py",
    "tests",
    "benchmarks",
    "docs",
    "etc",
    "examples",
    "twisted",
    "changelog.d",
)
DATA = ("tests/vectors/", "tests/fuzz/corpus/")
SUFFIXES = (".py", ".rst", ".toml", ".sql", ".yaml", ".service", ".socket")
#: Where single letters with a number are defined: what they look like, and the page.
CODES = {
    r"[IL]\d{1,2}": "docs/design/distributed-core.rst",
    r"[TM][1-5]": "docs/design/fills.rst",
    r"F\d{1,2}": "docs/failure-modes.rst",
}
#: Forms of citation that lead out of the tree, each with what a reader could do about it.
DEAD = {
    r"\b(?!SECURITY\b)[\w-]+\.md\b": "name a page under docs/",
    r"\bsections? [a-j](?:\.\d+)?\b": "cite docs/design/grenache-wire.rst",
    r"\b(?:(?i:reference) section|(?:Grenache|wire) reference|of the\s+reference)\b": (
        "cite docs/design/grenache-wire.rst"
    ),
    r"\bhouse style\b|\bguide: ": "cite CONTRIBUTING.rst",
}
#: The number of a section alone. In documents it may be a figure.
SECTION = {
    r"\([1-5]\.[1-9]\d?(?:, [ILFTM]\d+)*\)": "name the page and the anchor, not a section's number"
}

#: A link target with its anchor: from the root in code, from the page in a document.
ANCHORED = re.compile(r"(docs/[\w./-]+\.rst)#([\w-]+)")
LINKED = re.compile(r"<([^<>`\s:]*\.rst)(?:#([\w-]+))?>`")
#: A file or folder of this tree; braces and stars stand for several.
PATH = re.compile(
    r"(?<![\w./$)~-])((?:grenache_py|tests|benchmarks|docs|examples|changelog\.d)/[\w./{},*-]*[\w}*/])"
    r"(?![\w$%])(?:::(\w+))?"
)
#: A Python file or a page, named without the way to it.
FILE = re.compile(r"(?<![\w./<*-])((?:\w[\w-]*/)*[\w-]+\.(?:py|rst))(?![\w(]|\.\w)")
#: A module by its dotted name, perhaps with what is defined in it.
MODULE = re.compile(r"(?<![\w./-])(?:grenache_py|tests|benchmarks)(?:\.[A-Za-z_]\w*)+(?![\w*/])")
#: What looks like a file and is none: a name that stands for any (``target_PARSER.py``), and a
#: method of a class (``Transitions.rst``).
NO_FILE = re.compile(r"[A-Z]{4}|^[A-Z][a-z]\w*\.rst$")


class Text(NamedTuple):
    """A piece of text to look at: where it stands, and the line it begins on."""

    file: str
    line: int
    text: str

    def at(self, position: int) -> str:
        """``file:line`` of a character."""
        return f"{self.file}:{self.line + self.text.count(chr(10), 0, position)}"


def _files() -> Iterator[Path]:
    yield from (ROOT / name for name in ("Makefile", "pyproject.toml"))
    yield from ROOT.glob("*.rst")
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix in SUFFIXES and not name.startswith(DATA):
                yield path


def prose(name: str, source: str) -> list[Text]:
    """What people read in a file: all of it, or, of Python, its comments and docstrings."""
    if not name.endswith(".py"):
        return [Text(name, 1, source)]
    found = [
        Text(name, node.value.lineno, node.value.value)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            found.append(Text(name, token.start[0], token.string))
    return found


@cache
def _all() -> tuple[Text, ...]:
    here = Path(__file__).name  # names dead forms and examples of them
    texts: list[Text] = []
    for path in _files():
        if path.name != here:
            texts += prose(path.relative_to(ROOT).as_posix(), path.read_text())
    return tuple(texts)


@cache
def anchors(page: Path) -> frozenset[str]:
    """The explicit anchors of a page: ``.. _name:`` and ``_`name``` inside a text."""
    text = page.read_text()
    named = re.findall(r"^ *\.\. _([\w-]+):$", text, re.M) + re.findall(r"(?<!\w)_`([^`]+)`", text)
    return frozenset(name.lower() for name in named)


@cache
def _tree() -> frozenset[str]:
    """Every file of the tree, and every end of its path, so that ``peers/mesh.py`` is found."""
    found: set[str] = set()
    for path in (
        *ROOT.glob("*"),
        *(file for folder in FOLDERS for file in (ROOT / folder).rglob("*")),
    ):
        parts = path.relative_to(ROOT).parts
        found.update("/".join(parts[start:]) for start in range(len(parts)))
    return frozenset(found)


def _expanded(path: str) -> list[str]:
    """``a/{b,c}.py`` as two."""
    braces = re.search(r"\{([^{}]*)\}", path)
    if braces is None:
        return [path]
    before, after = path[: braces.start()], path[braces.end() :]
    return [one for part in braces.group(1).split(",") for one in _expanded(before + part + after)]


def bad_anchors(text: Text) -> Iterator[str]:
    """Citations of an anchor that is not there."""
    targets = [(match, ROOT / match[1], match[2]) for match in ANCHORED.finditer(text.text)]
    if text.file.endswith(".rst"):
        folder = (ROOT / text.file).parent
        for match in LINKED.finditer(text.text):
            targets.append((match, folder / match[1], match[2]))
    for match, page, anchor in targets:
        if not page.exists():
            yield f"{text.at(match.start())}: there is no page {match[1]}"
        elif anchor and anchor not in anchors(page):
            yield f"{text.at(match.start())}: {match[1]} has no anchor {anchor}"


#: What a make target builds, and nobody commits.
BUILT = "docs/_build"


def bad_paths(text: Text) -> Iterator[str]:
    """Files, folders and tests that are named and are not there."""
    for match in PATH.finditer(text.text):
        for path in _expanded(match[1]):
            if path.startswith(BUILT):
                continue
            found = list(ROOT.glob(path)) if "*" in path else [ROOT / path]
            if not found or not found[0].exists():
                if not ((ROOT / text.file).parent / path).exists():  # a link from page to page
                    yield f"{text.at(match.start())}: there is no {path}"
            elif match[2] and f"def {match[2]}(" not in found[0].read_text():
                yield f"{text.at(match.start())}: {path} has no {match[2]}"
    for match in FILE.finditer(text.text):
        if match[1] not in _tree() and not NO_FILE.search(match[1]):
            yield f"{text.at(match.start())}: no file is called {match[1]}"


def bad_modules(text: Text) -> Iterator[str]:
    """Modules, and names in them, that are not there."""
    for match in MODULE.finditer(text.text):
        at, rest = ROOT, match[0].split(".")
        while rest and (at / rest[0]).is_dir():
            at /= rest.pop(0)
        module = at / f"{rest[0]}.py" if rest else at
        if module.is_file():
            rest = rest[1:]
        else:
            module = at / "__init__.py"
        if rest and not (module.is_file() and re.search(rf"\b{rest[0]}\b", module.read_text())):
            yield f"{text.at(match.start())}: there is no {match[0]}"


def dead_forms(text: Text, cited: str) -> Iterator[str]:
    """
    Citations that nobody can follow.

    Args:
        cited: the text in which a page must be named for its codes to be used: a document's own,
            or the module docstring of a test, which reports them.
    """
    dead = {**DEAD, **SECTION} if text.file.endswith(".py") else DEAD
    for pattern, advice in dead.items():
        for match in re.finditer(pattern, text.text):
            yield f"{text.at(match.start())}: {match[0]!r} leads nowhere; {advice}"
    for pattern, page in CODES.items():
        if text.file == page or re.search(rf"\b{re.escape(Path(page).name)}\b", cited):
            continue
        for match in re.finditer(rf"(?<![\w#./`]){pattern}(?!\w)", text.text):
            yield f"{text.at(match.start())}: {match[0]} alone; write {page}#{match[0].lower()}"


def _where_codes_are_explained(texts: tuple[Text, ...]) -> dict[str, str]:
    explained: dict[str, str] = {}
    for text in texts:
        if text.file.endswith(".rst") or (text.file.startswith("tests/") and text.line == 1):
            explained[text.file] = text.text
    return explained


def test_every_anchor_that_is_cited_exists() -> None:
    assert [bad for text in _all() for bad in bad_anchors(text)] == []


def test_every_file_and_test_that_is_named_exists() -> None:
    assert [bad for text in _all() for bad in bad_paths(text)] == []


def test_every_module_that_is_named_exists() -> None:
    assert [bad for text in _all() for bad in bad_modules(text)] == []


def test_no_citation_leads_out_of_the_tree() -> None:
    explained = _where_codes_are_explained(_all())
    bad = [line for text in _all() for line in dead_forms(text, explained.get(text.file, ""))]
    assert bad == []


def test_every_invariant_that_a_checker_reports_is_defined() -> None:
    defined = anchors(ROOT / "docs" / "design" / "distributed-core.rst")
    reported = {
        code.lower()
        for folder in ("sim", "soak")
        for path in (ROOT / "tests" / folder).rglob("*.py")
        for code in re.findall(r"""f?"([IL]\d+)[":]""", path.read_text())
    }
    assert len(reported) > 15
    assert sorted(reported - defined) == []


def test_each_kind_of_bad_citation_is_found() -> None:
    source = '''"""
Rules (somewhere.md 2.4, T1-T5), see docs/design/fills.rst#nowhere.

Section f.1 of the reference and ``tests/no_such_file.py``; ``missing.py``;
grenache_py.errors.Nothing.
"""
limit = 3  # F12, (2.8)
'''
    texts = prose("grenache_py/example.py", source)
    assert [text.line for text in texts] == [1, 7]
    bad = [line for text in texts for line in dead_forms(text, "")]
    assert {line.split(": ")[1].split(" ")[0].strip("'") for line in bad} >= {
        "somewhere.md",
        "T1",
        "F12",
        "(2.8)",
    }
    assert all(re.match(r"grenache_py/example\.py:[2-7]: ", line) for line in bad)
    assert "fills.rst has no anchor nowhere" in next(bad_anchors(texts[0]))
    assert len(list(bad_paths(texts[0]))) == 3  # by its path, by its name, and the other one
    assert "grenache_py.errors.Nothing" in next(bad_modules(texts[0]))
