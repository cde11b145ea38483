"""No floor admits a version with a known flaw, and nothing is asked for that nobody uses."""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.known_flaws import FLAWS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUNTIME = [Requirement(each) for each in PROJECT["project"]["dependencies"]]
ALL = [
    *RUNTIME,
    *map(Requirement, PROJECT["build-system"]["requires"]),
    *(Requirement(each) for extra in PROJECT["project"]["optional-dependencies"].values()
      for each in extra),
]  # fmt: skip


def admits(requirement: Requirement, fixed: str) -> bool:
    """Whether a version below ``fixed`` satisfies ``requirement``."""
    floors = [Version(each.version) for each in requirement.specifier if each.operator == ">="]
    return not floors or max(floors) < Version(fixed)


def came_along(*extras: str) -> set[str]:
    """What an installation brings, a plain one or with extras: our dependencies, and theirs."""
    found: set[str] = set()
    optional = PROJECT["project"]["optional-dependencies"]
    asked = [*RUNTIME, *(Requirement(each) for extra in extras for each in optional[extra])]
    waiting = [(each.name, each.extras) for each in asked]
    while waiting:
        name, extras = waiting.pop()
        if canonicalize_name(name) in found:
            continue
        found.add(canonicalize_name(name))
        try:
            needed = requires(name) or []
        except PackageNotFoundError:
            continue  # for another Python
        for each in map(Requirement, needed):
            wanted = [{"extra": extra} for extra in extras] or [{"extra": ""}]
            if each.marker is None or any(map(each.marker.evaluate, wanted)):
                waiting.append((each.name, each.extras))
    return found


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: f"{flaw[0]}-{flaw[2]}")
def test_no_floor_admits_a_known_flaw(flaw: tuple[str, str, str, str]) -> None:
    name, fixed, number, _ = flaw
    named = [each for each in ALL if canonicalize_name(each.name) == name]
    for requirement in named:
        assert not admits(requirement, fixed), f"{requirement}: {number} is mended in {fixed}"
    if name in came_along():
        assert any(each in RUNTIME for each in named), f"{name} comes along and has no floor"


@pytest.mark.parametrize("flaw", FLAWS, ids=lambda flaw: f"{flaw[0]}-{flaw[2]}")
def test_what_is_installed_here_has_none(flaw: tuple[str, str, str, str]) -> None:
    name, fixed, number, _ = flaw
    try:
        installed = version(name)
    except PackageNotFoundError:
        return
    assert Version(installed) >= Version(fixed), f"{name} {installed} has {number}"


def test_every_dependency_has_a_floor() -> None:
    for requirement in ALL:
        if canonicalize_name(requirement.name) == "grenache-py":
            continue  # an extra that is part of another
        assert any(each.operator in {">=", "=="} for each in requirement.specifier), requirement


#: They are there for a floor only; Twisted imports them for us.
FLOORS_ONLY = frozenset({"cryptography", "idna"})
MODULES = {"pynacl": "nacl", "pyopenssl": "OpenSSL", "bencode2": "bencode2"}


def test_every_dependency_is_used() -> None:
    code = "\n".join(file.read_text() for file in (ROOT / "grenache_py").rglob("*.py"))
    for requirement in RUNTIME:
        name = canonicalize_name(requirement.name)
        module = MODULES.get(name, name.replace("-", "_"))
        used = re.search(rf"^\s*(?:from|import) {module}\b", code, re.MULTILINE)
        assert used or name in FLOORS_ONLY, f"{requirement.name} is imported nowhere"
