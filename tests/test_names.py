"""One name, one thing: which public classes may share a name, and how long a module may be."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "grenache_py"
LINES_MAX = 400
MODULES = {path: path.read_text() for path in sorted(PACKAGE.rglob("*.py"))}
#: Names that a framework or a protocol gives, one for each plugin or wire format.
SHARED = {"Options", "Request", "Response"}
#: Its classes have the names of those in link and rpc, and a program takes one form or the other.
SAME_IN_ASYNCIO = PACKAGE / "aio"
#: What `grenache_py.trading` shows to programs under the names that the exchange has for it inside.
SHOWN = {
    "Book",
    "Candle",
    "Fill",
    "Level",
    "Market",
    "Money",
    "NotConnected",
    "Order",
    "OrderType",
    "SelfTrade",
    "Side",
    "Status",
    "TimeInForce",
    "Trade",
}


def _defined(module: str) -> set[str]:
    """The public classes of a module, and its aliases that are written like classes."""
    names = set()
    for node in ast.parse(module).body:
        if isinstance(node, ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and not target.id.isupper():
                names.add(target.id)
    return {name for name in names if name[0].isupper()}


def test_a_public_class_has_its_name_for_itself() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for path, text in MODULES.items():
        if path.parent == SAME_IN_ASYNCIO:
            continue
        for name in _defined(text):
            places[name].append(str(path.relative_to(PACKAGE)))
    shared = {name: where for name, where in places.items() if len(where) > 1}
    assert shared.keys() == SHARED | SHOWN
    for name in SHOWN:
        inside = [where for where in shared[name] if not where.startswith("trading/")]
        assert len(inside) == 1, name


def test_asyncios_classes_have_the_names_of_those_they_stand_for() -> None:
    others = {
        name for path in PACKAGE.glob("[lr]*/**/*.py") for name in _defined(MODULES[path])
    } | {"OnLoop", "LoopReactor", "NamedHost"}
    ours = {name for path in SAME_IN_ASYNCIO.glob("*.py") for name in _defined(MODULES[path])}
    assert {name for name in ours if len(name) > 1} <= others


def test_no_module_is_longer_than_a_sitting() -> None:
    lengths = {str(path): text.count("\n") for path, text in MODULES.items()}
    assert {path: lines for path, lines in lengths.items() if lines > LINES_MAX} == {}
