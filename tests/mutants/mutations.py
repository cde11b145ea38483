"""
What can be changed in a room: every mutant of its functions, by mutmut's operators.

A mutant is one file with one change. It is known by its module, its function and the lines that
differ, so a list of mutants stays valid when lines elsewhere move. Decorated functions, enums,
annotations and what stands outside of functions are left alone.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs

EXCHANGE = Path("grenache_py", "exchange")
ROOMS = ("market", "home", "fills", "replication", "signed_log")
LISTED = Path(__file__).with_name("survivors.txt")
#: A text with a blank in it is prose for people: its words may change without a failing test.
PROSE = re.compile(r'^[rf]*"[^"]* [^"]*"$')


@attrs.frozen
class Mutant:
    """
    Attributes:
        room: the package below ``grenache_py/exchange``.
        path: of the file, from the root.
        function: its qualified name.
        lines: the first and last of those that run when what differs runs, perhaps with others.
        diff: the lines that differ, each with ``-`` or ``+`` before it.
        prose: whether only the words of a text for people differ.
        code: makes the whole changed file.
    """

    room: str
    path: str
    function: str
    lines: tuple[int, int]
    diff: tuple[str, ...]
    prose: bool = attrs.field(eq=False)
    code: Callable[[], str] = attrs.field(repr=False, eq=False)

    @property
    def name(self) -> tuple[str, str, tuple[str, ...]]:
        """What stands in the list of survivors: the path in ``exchange/``, function, lines."""
        return str(Path(self.path).relative_to(EXCHANGE)), self.function, self.diff


def mutants_of(room: str) -> list[Mutant]:
    """Every mutant of a room, in the order of the files."""
    found: dict[tuple[str, str, tuple[str, ...]], Mutant] = {}
    for path in sorted((EXCHANGE / room).glob("*.py")):
        for mutant in _mutants_in(room, path):
            found.setdefault(mutant.name, mutant)
    return list(found.values())


def _mutants_in(room: str, path: Path) -> list[Mutant]:
    import libcst as cst
    from libcst.metadata import MetadataWrapper, ParentNodeProvider, PositionProvider
    from mutmut.mutation.file_mutation import create_mutations

    module, mutations, _, _ = create_mutations(str(path), path.read_text())
    tree = MetadataWrapper(module, unsafe_skip_copy=True)  # the mutations name its nodes
    parents, positions = tree.resolve(ParentNodeProvider), tree.resolve(PositionProvider)

    def statement_of(node: Any) -> Any:
        while not isinstance(node, cst.SimpleStatementLine | cst.BaseCompoundStatement):
            node = parents[node]
        return node

    owners: dict[Any, str] = {}
    for top in module.body:
        prefix = f"{top.name.value}." if isinstance(top, cst.ClassDef) else ""
        for member in top.body.body if prefix else [top]:
            if isinstance(member, cst.FunctionDef):
                owners[member] = prefix + member.name.value
    made = []
    for mutation in mutations:
        owner = mutation.contained_by_top_level_function
        if owner is None or owner not in owners:
            continue
        old, new = mutation.original_node, mutation.mutated_node
        statement = shown = statement_of(old)
        while isinstance(parents[shown], cst.If):  # shown alone, an elif would be an if
            shown = parents[shown]
        before = module.code_for_node(shown).splitlines()
        after = module.code_for_node(shown.deep_replace(old, new)).splitlines()
        diff = tuple(
            line[0] + line[1:].strip()
            for line in difflib.unified_diff(before, after, n=0, lineterm="")
            if line[:3] not in ("---", "+++") and line[:1] in ("-", "+")
        )
        prose = all(
            isinstance(node, cst.SimpleString) and PROSE.match(node.value) for node in (old, new)
        )
        if diff:
            code = partial(_whole, module, old, new)
            # What follows in a compound statement need not run; a default may serve all of it.
            compound = isinstance(statement, cst.BaseCompoundStatement) and statement is not owner
            last = positions[old if compound else statement].end.line
            lines = positions[statement].start.line, last
            made.append(Mutant(room, str(path), owners[owner], lines, diff, prose, code))
    return made


def _whole(module: Any, old: Any, new: Any) -> str:
    return str(module.deep_replace(old, new).code)


def listed(text: str) -> dict[tuple[str, str, tuple[str, ...]], str]:
    """
    The mutants of the list that change nothing, each with the reason.

    A block is ``PATH FUNCTION``, its lines with ``-`` and ``+``, and ``why: REASON``; several
    mutants may stand before one reason. Blank lines and lines with ``#`` mean nothing.
    """
    reasons: dict[tuple[str, str, tuple[str, ...]], str] = {}
    waiting: list[tuple[str, str, list[str]]] = []
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("why: "):
            reasons.update(((path, name, tuple(diff)), line[5:]) for path, name, diff in waiting)
            waiting = []
        elif line[0] in "-+":
            waiting[-1][2].append(line)
        else:
            path, name = line.split()
            waiting.append((path, name, []))
    if waiting:
        raise ValueError(f"no reason is given for {waiting[-1][:2]}")
    return reasons
