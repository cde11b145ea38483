"""Text from outside reaches terminals and logs harmless, whatever is in it, at one place each."""

from __future__ import annotations

import io
import json
import re
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from grenache_py.cli.outcomes import complain
from grenache_py.cli.output import to_json
from grenache_py.cli.settings import Settings
from grenache_py.exchange.cli import printing, tool
from grenache_py.exchange.cli.tables import Table
from grenache_py.exchange.cli.tool import Tool, as_rich
from grenache_py.plain_text import harmless, harmless_json, harmless_lines

ROOT = Path(__file__).parents[1] / "grenache_py"
#: Clear the screen; name the window; CSI in one byte; right to left; a hyperlink; a bell; NUL.
EVIL = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\x1b]8;;http://evil.example\x1b\\x\x00\u2066\r\x7f"
TEXTS = st.text(st.characters(codec=None), max_size=60) | st.just(EVIL)


def is_harmless(shown: str) -> bool:
    return all(line.isprintable() for line in shown.split("\n"))


@given(TEXTS)
def test_nothing_that_steers_is_left(text: str) -> None:
    assert harmless(text).isprintable()
    assert is_harmless(harmless_lines(text).replace("\t", " "))
    if text.isprintable():
        assert harmless(text) == text


@given(TEXTS)
def test_json_means_the_same(text: str) -> None:
    shown = harmless_json(json.dumps({text: [text]}, ensure_ascii=False))
    assert is_harmless(shown) and "\n" not in shown
    assert json.loads(shown) == {text: [text]}


class Screen(io.StringIO):
    """What is written to stdout and stderr within the block."""

    def __init__(self, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal
        self._entered = ExitStack()

    def isatty(self) -> bool:
        return self._terminal

    def __enter__(self) -> Screen:
        self._entered.enter_context(redirect_stdout(self))
        self._entered.enter_context(redirect_stderr(self))
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()


def without_colours(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", shown)  # what we and rich write of our own


def test_the_exchange_tool_shows_no_escape_of_a_peer() -> None:
    plain = Tool()
    link = {"peer": "a", "address": "b", "listen": EVIL, "direction": "out", "ready": True,
            "synced": True, "latency_ms": 1, "score": 1}  # fmt: skip
    table = Table(EVIL, title=EVIL)
    table.add_row((EVIL, "red"))
    status = {"store": EVIL, "grapes": {EVIL: [EVIL]}, "x": [EVIL]}
    with Screen(terminal=True) as screen:
        plain.show(printing.peers_table([link]))
        plain.show(printing.status_table(status), True)
        plain.show(EVIL)
        plain.show(f"[link=http://evil.example]{EVIL}[/link] :bomb: [/x]")
        plain.show(table)
        plain.console().print(as_rich(table))  # as what is drawn over again and again
        tool.say(EVIL)
        tool.say_json({EVIL: EVIL})
        Tool(json=True).nothing(EVIL, EVIL)
        plain.nothing(EVIL, [])
    shown = screen.getvalue()
    assert is_harmless(without_colours(shown))
    assert shown.count(r"\x1b[2J") >= 6
    assert ":bomb:" in shown and "[/x]" in shown, "a text is no markup"


def test_the_grenache_tool_shows_no_escape_of_a_stranger() -> None:
    with Screen(terminal=True) as screen:
        Settings().show({"value": EVIL}, EVIL)
        Settings(as_json=True).show({"value": EVIL}, EVIL)
        for as_json in (False, True):
            complain(f"refused: {EVIL}", 1, as_json, EVIL)
    assert is_harmless(screen.getvalue())
    assert screen.getvalue().count("evil.example") == 5


def test_a_program_that_reads_us_gets_texts_as_they_are() -> None:
    text = "\x9b31m\u202e\x07"
    with Screen(terminal=False) as pipe:
        Settings().show({"value": text}, text)
    assert pipe.getvalue() == f"{text}\n"
    assert is_harmless(to_json(EVIL))


def test_there_is_one_place_of_output_in_each_tool() -> None:
    """A new command cannot forget it: it has nothing else to print with."""
    allowed: dict[str, int] = {"exchange/cli/tool.py": 2, "cli/output.py": 2}
    found: dict[str, Any] = {}
    for folder in ("cli", "exchange/cli"):
        for file in sorted((ROOT / folder).glob("*.py")):
            text = file.read_text()
            count = len(re.findall(r"\bclick\.(?:echo|secho)\(|\bprint\((?!.*shown)", text))
            if count - text.count("console.print("):
                found[str(file.relative_to(ROOT))] = count
            if file.name != "tool.py":
                assert not re.search(r"\bConsole\((?!stderr=True)", text), file
    found = {name: count for name, count in found.items() if count}
    assert found.keys() <= allowed.keys(), found
