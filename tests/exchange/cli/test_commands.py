"""The command over the commands: what it takes, what it imports, what it says to wrong words."""

from __future__ import annotations

import json
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner, Result

from grenache_py.exchange.cli import orders
from grenache_py.exchange.cli.commands import COMMANDS, exchange
from grenache_py.exchange.cli.shared_options import SHARED_OPTIONS, json_wanted


def run(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(exchange, words, env=environment)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_is_there_and_takes_the_shared_options(name: str) -> None:
    command = exchange.get_command(click.Context(exchange), name)
    assert command is not None and command.name == name
    for _ in range(2):  # also when it was called before
        assert exchange.get_command(click.Context(exchange), name) is command
    options = [option for param in command.params for option in param.opts if option[0] == "-"]
    assert len(options) == len(set(options))
    assert {option for each in SHARED_OPTIONS for option in each.opts} <= set(options)
    help = run(name, "--help")
    assert help.exit_code == 0 and "--connect" in help.output


def test_help_lists_every_command() -> None:
    shown = run("--help").output
    assert [name for name in COMMANDS if f"\n  {name} " not in shown] == []


@pytest.mark.parametrize(("wrong", "meant"), [("bok", "book"), ("Orderz", "orders"), ("xyzzy", "")])
def test_a_wrong_word_is_answered_with_the_right_one(wrong: str, meant: str) -> None:
    told = run(wrong)
    assert told.exit_code == 2 and f"No such command '{wrong}'" in told.output
    assert ("Did you mean" in told.output) == bool(meant) and meant in told.output


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["--json", "orders"], True),
        (["orders", "-j"], True),
        (["orders", "-qj"], True),
        (["orders", "--", "-j"], False),
        (["-c", "j:1"], False),
        (["buy", "--id", "json"], False),
    ],
)
def test_json_is_wanted_wherever_it_stands(words: list[str], wanted: bool) -> None:
    assert json_wanted(words) == wanted


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-c", "nowhere", "markets"], "must be HOST:PORT"),
        (["markets", "--timeout", "0"], "more than 0"),
        (["markets", "--tls", "--unix", "x"], "needs none"),
        (["markets", "--ca", __file__], "holds no certificate"),
        (["buy", "BTC-USD", "1", "@", "-98"], "'-98' cannot be: a quantity and a price are more"),
        (["sell", "--post-only", "BTC-USD", "-.5@98"], "'-.5@98' cannot be"),
        (["sell", "BTC-USD", "1@98", "--tiff"], "No such option '--tiff'"),
    ],
)
def test_a_wrong_value_is_wrong_usage(words: list[str], says: str) -> None:
    told = run(*words)
    assert told.exit_code == 2 and says in told.output


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ([], "/env/x"),
        (["-c", "/first/x"], "/first/x"),
        (["--unix", "/first/x"], "/first/x"),
    ],
)
def test_the_daemon_of_the_environment_is_asked_only_if_none_is_named(
    words: list[str], asked: str
) -> None:
    for line in ([*words, "markets"], ["markets", *words]):
        assert asked in str(run(*line, EXCHANGE_CONNECT="/env/x").exception)


def test_a_command_brings_only_what_it_needs() -> None:
    heavy = [
        "twisted", "asyncio", "treq", "cryptography", "grenache_py.exchange.market", "rich", "attr",
    ]  # fmt: skip
    program = (
        "import sys\nfrom grenache_py.exchange.cli.commands import exchange\n"
        "try: exchange.main(sys.argv[1:], standalone_mode=False)\nexcept Exception: pass\n"
        f"import json; print(json.dumps([name for name in {heavy} if name in sys.modules]))"
    )
    for words in (["orders"], ["buy", "X", "1@1"], ["status"], ["watch", "BTC-USD"], ["--help"]):
        done = subprocess.run(
            [sys.executable, "-c", program, *words, "--unix", "/nowhere/x"],
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert json.loads(done.stdout.splitlines()[-1]) == []


def test_what_is_shown_and_looked_at_is_brought_as_lightly() -> None:
    program = (
        "import sys, grenache_py.exchange.cli.printing, grenache_py.exchange.cli.diagnosis,"
        " grenache_py.exchange.cli.outside\n"
        "heavy = {'rich', 'attr', 'cryptography', 'OpenSSL', 'twisted', 'http.client'}\n"
        "sys.exit(' '.join(heavy & sys.modules.keys()) or 0)"
    )
    subprocess.run([sys.executable, "-c", program], timeout=60, check=True)


@pytest.mark.parametrize(
    ("words", "amount"),
    [
        ("0.5 @ 98", ("0.5", "limit", "98")),
        ("0.5@98", ("0.5", "limit", "98")),
        (".5 98.", ("0.5", "limit", "98.")),
        ("0.5 @.5", ("0.5", "limit", "0.5")),
        ("1 MARKET", ("1", "market", None)),
    ],
)
def test_an_amount_is_read_as_people_type_it(
    words: str, amount: tuple[str, str, str | None]
) -> None:
    assert orders._amount(tuple(words.split())) == amount
