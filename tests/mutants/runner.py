"""
Run the mutants of a sample, each in a forked process of one pytest session.

The session collects the tests once and runs them once, unchanged, to learn which test runs which
lines and how long it takes, unless an earlier session did. For each mutant a child is forked, the
changed function's code is put in place of the original's, and the tests that run the changed
statement are run until one fails: the quickest first, and rather those of its own room and those
that killed mutants of its function.
A test that kills for the first time has to pass in a child without a mutant too: one that may not
run twice would kill them all. Nothing is written anywhere.
"""

from __future__ import annotations

import importlib
import os
import resource
import signal
import sys
import time
import types
from collections import Counter, defaultdict
from itertools import accumulate
from pathlib import Path
from typing import Any

import coverage
import pytest

from tests.mutants.footprints import Footprint, Footprints, digest
from tests.mutants.mutations import EXCHANGE, Mutant

#: A test that takes so many times its CPU seconds, and these besides, has an endless loop.
SLOWNESS_MAX = 20
SLOWNESS_S = 5
#: Tests of other rooms are tried as if they took so many times as long.
OTHER_ROOM = 4
MEMORY_MAX = 4 << 30
KILLED, SURVIVED, BROKEN = 1, 0, 3


class MutantRunner:
    """
    A plugin for ``pytest.main``.

    Args:
        told: called with each mutant and its outcome: "killed", "timeout", "survived", "no test".
        budget_s: the tests of one mutant that take longer, all together, are left out: the slowest.
        footprints: of the tests, as far as they are known; the others are learned.

    Attributes:
        failed: tests that fail without any mutant.
        judged: whether the whole sample has run.
    """

    def __init__(
        self, mutants: list[Mutant], told: Any, budget_s: float, footprints: Footprints
    ) -> None:
        self._budget_s = budget_s
        self._footprints = footprints
        self._mutants = mutants
        self._told = told
        self._kills: Counter[tuple[str, str, int]] = Counter()
        self._seconds: dict[int, float] = {}
        self._repeatable: set[int] = set()  # pass a second time
        self._in_child = False
        self.failed: list[str] = []
        self.judged = False

    def pytest_configure(self, config: pytest.Config) -> None:
        """Examples are the same in each run, and a failing one is not made smaller."""
        import hypothesis

        hypothesis.settings.register_profile(
            "mutants",
            deadline=None,
            derandomize=True,
            database=None,
            phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        hypothesis.settings.load_profile("mutants")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> None:
        """A child ends before a report is made: traces that nobody reads cost more than a test."""
        error = call.excinfo.value if call.excinfo is not None else None
        if self._in_child and error is not None and not isinstance(error, pytest.skip.Exception):
            os._exit(KILLED)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            if self._in_child:
                os._exit(KILLED)
            self.failed.append(report.nodeid)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        ran = self._unchanged(session)
        if self.failed:
            return True
        for mutant in self._mutants:
            tests = self._ordered(session, mutant, ran[mutant.path])
            if not tests:
                self._told(mutant, "no test")
                continue
            outcome, killer = self._outcome(session, mutant, tests)
            if killer is not None and killer not in self._repeatable:
                if self._outcome(session, None, [killer])[0] != "survived":
                    again = session.items[killer].nodeid
                    self.failed.append(f"{again} may not run a second time")
                    return True
                self._repeatable.add(killer)
            if killer is not None:
                self._kills[mutant.path, mutant.function, killer] += 1
            self._told(mutant, outcome)
        self.judged = True
        return True

    def _unchanged(self, session: pytest.Session) -> dict[str, dict[int, list[int]]]:
        """Run all tests that are not known yet; which of them run each line of each file."""
        known = self._footprints
        lines = coverage.Coverage(None, config_file=False, source=[str(EXCHANGE)])
        lines.set_option("run:core", "ctrace")  # sys.monitoring does not tell contexts apart
        lines.set_option("run:disable_warnings", ["no-data-collected"])  # all may be known
        root = Path.cwd()
        files = {item.path for item in session.items}
        texts = {path: digest(path.relative_to(root)) for path in files}
        lines.start()
        for number, item in enumerate(session.items):
            if item.nodeid not in known or known[item.nodeid].text != texts[item.path]:
                lines.switch_context(str(number))
                began = time.process_time()
                _run(item)
                seconds = time.process_time() - began
                known[item.nodeid] = Footprint(texts[item.path], seconds, {})
        lines.stop()
        data = lines.get_data()
        for path in data.measured_files():
            name = str(Path(path).relative_to(root))
            for line, tests in data.contexts_by_lineno(path).items():
                for test in filter(None, tests):
                    footprint = known[session.items[int(test)].nodeid]
                    footprint.lines.setdefault(name, []).append(line)
        if not self.failed:
            known.save()
        ran: dict[str, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for number, item in enumerate(session.items):
            self._seconds[number] = known[item.nodeid].seconds
            for name, found in known[item.nodeid].lines.items():
                for line in found:
                    ran[name][line].append(number)
        return ran

    def _ordered(
        self, session: pytest.Session, mutant: Mutant, ran: dict[int, list[int]]
    ) -> list[int]:
        def unlikely(test: int) -> float:
            own_room = mutant.room in session.items[test].path.parts
            kills = self._kills[mutant.path, mutant.function, test]
            return self._seconds[test] * (1 if own_room else OTHER_ROOM) / (1 + kills)

        first, last = mutant.lines
        tests = {test for line in range(first, last + 1) for test in ran.get(line, ())}
        ordered = sorted(tests, key=lambda test: (unlikely(test), test))
        ends = accumulate(map(self._seconds.__getitem__, ordered))
        return [test for test, end in zip(ordered, ends, strict=True) if end <= self._budget_s]

    def _outcome(
        self, session: pytest.Session, mutant: Mutant | None, tests: list[int]
    ) -> tuple[str, int | None]:
        """What came of the tests in a child, and which of them failed."""
        at, begins = os.pipe()
        child = os.fork()
        if not child:
            self._in_child = True
            try:
                resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, MEMORY_MAX))
                complaint = os.dup(2)
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, 1)
                os.dup2(null, 2)
                if mutant is not None:
                    put_in_place(mutant)
                for number in tests:
                    os.write(begins, number.to_bytes(4, "big"))
                    ends = time.process_time() + SLOWNESS_S + SLOWNESS_MAX * self._seconds[number]
                    resource.setrlimit(resource.RLIMIT_CPU, (int(ends), resource.RLIM_INFINITY))
                    _run(session.items[number])
                os._exit(SURVIVED)
            except BaseException as error:
                os.write(complaint, repr(error).encode())
                os._exit(BROKEN)
        os.close(begins)
        with os.fdopen(at, "rb") as pipe:
            begun = pipe.read()
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
            return "timeout", None
        if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status) == BROKEN:
            raise RuntimeError(f"cannot judge {mutant}")
        if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status) == SURVIVED:
            return "survived", None
        return "killed", int.from_bytes(begun[-4:], "big")


def _run(item: pytest.Item) -> None:
    item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)


_FUNCTIONS: dict[str, list[tuple[str, int, int]]] = {}


def functions_of(path: str) -> list[tuple[str, int, int]]:
    """(qualified name, first line, last line) of the functions and methods of a file."""
    import ast

    if path not in _FUNCTIONS:
        _FUNCTIONS[path] = found = []
        for node in ast.parse(Path(path).read_text()).body:
            prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
            for member in node.body if isinstance(node, ast.ClassDef) else [node]:
                if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef):
                    first = min([member.lineno, *(d.lineno for d in member.decorator_list)])
                    found.append((prefix + member.name, first, member.end_lineno or first))
    return _FUNCTIONS[path]


def put_in_place(mutant: Mutant) -> None:
    """
    Give the living function the code and the defaults of the mutant's.

    Raises:
        AttributeError: the function is not where its name says.
    """
    name = mutant.path.removesuffix(".py").replace("/", ".")
    module = importlib.import_module(name)
    changed = types.ModuleType(name)
    changed.__file__ = module.__file__
    # Classes are made anew here, and thrown away with this module; a class finds its own module.
    sys.modules[name] = changed
    try:
        exec(compile(mutant.code(), str(module.__file__), "exec"), vars(changed))
    finally:
        sys.modules[name] = module
    old, new = _function(module, mutant.function), _function(changed, mutant.function)
    old.__code__ = new.__code__
    if repr(old.__defaults__) != repr(new.__defaults__):
        old.__defaults__ = new.__defaults__
    if repr(old.__kwdefaults__) != repr(new.__kwdefaults__):
        old.__kwdefaults__ = new.__kwdefaults__


def _function(module: types.ModuleType, name: str) -> types.FunctionType:
    found: Any = module
    for part in name.split("."):
        found = vars(found)[part]
    found = getattr(found, "__func__", found)
    assert isinstance(found, types.FunctionType), name
    return found
