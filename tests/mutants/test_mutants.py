"""The runner of mutants: what it changes, and what its list of harmless ones says."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from grenache_py.exchange.market.price_level import NO_ROWS, Level
from tests.mutants import runner
from tests.mutants.__main__ import Record, drawn, report
from tests.mutants.footprints import Footprint, Footprints
from tests.mutants.mutations import EXCHANGE, LISTED, Mutant, listed
from tests.mutants.runner import MutantRunner, functions_of, put_in_place


def test_every_harmless_mutant_has_a_reason_and_a_place() -> None:
    for path, function, diff in listed(LISTED.read_text()):
        assert diff, function
        names = {name for name, _, _ in functions_of(str(EXCHANGE / path))}
        assert function in names, f"{path} has no {function} any more"
        lines = {line.strip() for line in (EXCHANGE / path).read_text().splitlines()}
        assert {line[1:] for line in diff if line[0] == "-"} <= lines, (path, function, diff)


def test_one_reason_may_stand_for_several_mutants_and_none_goes_without() -> None:
    text = "# words\na.py f\n-x = 1\n+x = 2\n\nb.py C.g\n-y\n+z\nwhy: because\n"
    first, second = ("a.py", "f", ("-x = 1", "+x = 2")), ("b.py", "C.g", ("-y", "+z"))
    assert listed(text) == {first: "because", second: "because"}
    with pytest.raises(ValueError, match="no reason"):
        listed(text + "c.py h\n-x\n+y\n")


def test_a_mutant_is_put_in_the_place_of_the_living_function() -> None:
    path = str(EXCHANGE / "market" / "price_level.py")
    code = (EXCHANGE / "market" / "price_level.py").read_text()
    changed = code.replace("self.lots = 0\n", "self.lots = 7\n")
    assert changed != code

    def mutant(text: str) -> Mutant:
        return Mutant("market", path, "Level.__init__", (1, 1), (), False, lambda: text)

    put_in_place(mutant(changed))
    try:
        assert Level(100, NO_ROWS).lots == 7
    finally:
        put_in_place(mutant(code))
    assert Level(100, NO_ROWS).lots == 0


def test_the_tests_that_run_a_changed_statement_come_quickest_and_deadliest_first() -> None:
    mutant = Mutant("market", "a.py", "f", (4, 5), (), False, str)
    mutants = MutantRunner([mutant], print, 6.0, Footprints(None))
    mutants._seconds = {0: 1.0, 1: 2.0, 2: 0.5, 3: 9.0, 4: 0.1}
    rooms = ("market", "market", "home", "market", "market")
    session: Any = SimpleNamespace(
        items=[SimpleNamespace(path=Path("tests", room, "test_it.py")) for room in rooms]
    )
    ran = {3: [4], 4: [0, 1], 5: [0, 2, 3]}
    assert mutants._ordered(session, mutant, ran) == [0, 1, 2]
    mutants._kills["a.py", "f", 1] = 2
    assert mutants._ordered(session, mutant, ran) == [1, 0, 2]


def test_what_a_test_runs_is_kept_as_long_as_the_code_and_its_own_text_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    kept, code = tmp_path / "record.footprints", tmp_path / "grenache_py" / "a.py"
    code.parent.mkdir()
    code.write_text("x = 1")
    first = Footprints(kept)
    first["test_a"] = Footprint("text", 0.5, {"grenache_py/a.py": [1, 2]})
    first.save()
    assert Footprints(kept) == first
    code.write_text("x = 2")
    assert Footprints(kept) == {}
    assert Footprints(None) == {}


def test_what_becomes_of_a_test_in_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "SLOWNESS_S", 1)
    monkeypatch.setattr(runner, "_run", lambda item: item())
    mutants = MutantRunner([], print, 6.0, Footprints(None))

    def fails() -> None:
        call: Any = SimpleNamespace(excinfo=SimpleNamespace(value=AssertionError()))
        mutants.pytest_runtest_makereport(call)

    def loops() -> None:
        while True:
            pass

    session: Any = SimpleNamespace(items=[lambda: None, fails, loops])
    mutants._seconds = {0: 0.0, 1: 0.0, 2: 0.0}
    assert mutants._outcome(session, None, [0]) == ("survived", None)
    assert mutants._outcome(session, None, [0, 1, 2]) == ("killed", 1)
    assert mutants._outcome(session, None, [0, 2, 1]) == ("timeout", None)


def _named(*functions: str) -> list[Mutant]:
    path = str(EXCHANGE / "market" / "price_level.py")
    return [Mutant("market", path, name, (1, 1), ("-a", "+b"), False, str) for name in functions]


def test_a_sample_is_the_beginning_of_one_order_in_which_none_moves() -> None:
    mutants = _named("f", "g", "h", "i", "j")
    order = drawn(mutants, seed=3, sample=0)
    assert sorted(order, key=mutants.index) == mutants
    assert drawn(mutants, seed=3, sample=2) == order[:2]
    without = [mutant for mutant in mutants if mutant != order[1]]
    assert drawn(without, seed=3, sample=0) == [order[0], *order[2:]]
    assert any(drawn(mutants, seed, 0) != order for seed in range(4, 9))


def test_a_run_goes_on_where_an_earlier_one_with_the_same_record_ended(tmp_path: Path) -> None:
    killed, survivor, new = _named("f", "g", "h")
    first = Record(tmp_path / "record")
    first.add(killed, "timeout")
    first.add(survivor, "survived")
    then = Record(tmp_path / "record")
    assert [then.killed(mutant) for mutant in (killed, survivor, new)] == [True, False, False]
    then.add(survivor, "killed")
    last = Record(tmp_path / "record")
    assert last.killed(survivor)
    assert last.outcomes[survivor.name] == ["survived", "killed"]
    assert not Record(None).outcomes


def test_the_goal_is_of_all_rooms_together(capsys: pytest.CaptureFixture[str]) -> None:
    from collections import Counter

    counts = {"home": Counter(killed=8, survived=1), "fills": Counter(timeout=1)}
    assert report(counts, 90.0) == 0
    assert report(counts, 90.1) == 1
    assert "90.0%" in capsys.readouterr().out
