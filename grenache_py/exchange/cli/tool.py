"""
What every ``exchange`` command needs: the connection, the ways to print, the ways to end.

Edge: connects, writes to stdout and stderr, decides exit codes. Everything that a command prints
goes through here, where text from outside is made harmless.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec import Struct, field

from grenache_py import __version__
from grenache_py.command_table import OnDemand
from grenache_py.exchange.cli.tables import Block, Shown
from grenache_py.plain_text import harmless_json, harmless_lines
from grenache_py.trading import Client, NotConnected, State
from grenache_py.trading.address import DEFAULT
from grenache_py.trading.line import SILENT

if TYPE_CHECKING:
    import ssl

    from rich.console import Console
    from rich.text import Text

    from grenache_py.exchange.cli import printing
else:
    printing = OnDemand("grenache_py.exchange.cli.printing")

__all__ = [
    "EXIT_FAILED",
    "EXIT_LATER",
    "EXIT_NOTHING",
    "EXIT_NOT_ALLOWED",
    "EXIT_UNKNOWN",
    "EXIT_UNREACHABLE",
    "EXIT_USAGE",
    "Tool",
    "as_rich",
    "as_sent",
    "printing",
    "say",
    "say_json",
    "tell_problem",
]

#: 1 and 2 are the same next time; 3: the thing named is not there; 4: not allowed; 5: the daemon
#: cannot be reached, and nothing happened; 6: it may have happened; 7: try again later.
EXIT_FAILED, EXIT_USAGE, EXIT_NOTHING, EXIT_NOT_ALLOWED = 1, 2, 3, 4
EXIT_UNREACHABLE, EXIT_UNKNOWN, EXIT_LATER = 5, 6, 7

#: Seconds for a connection and each answer.
ANSWER_TIMEOUT_S = 15.0

#: Methods that change nothing; of all others the outcome may be unknown.
_QUESTIONS = frozenset({"hello", "ping", "status", "help"})

#: Of a list, asked for at a time.
PAGE = 1000


def say(text: str, err: bool = False) -> None:
    """Print text for people, to stdout or stderr."""
    click.echo(harmless_lines(text), err=err)


def say_json(value: Any, err: bool = False) -> None:
    """Print a value on one line, for a program or a person."""
    click.echo(harmless_json(msgspec.json.encode(value).decode()), err=err)


def as_sent(value: Any) -> Any:
    """A value of `grenache_py.trading` as it was on the wire: money as plain decimal strings."""
    if isinstance(value, Struct):
        return {name: as_sent(each) for name, each in msgspec.structs.asdict(value).items()}
    if isinstance(value, tuple):
        return [as_sent(each) for each in value]
    return f"{value:f}" if isinstance(value, Decimal) else value


def tell_problem(sentence: str) -> None:
    """Say on stderr what is wrong for the moment."""
    say(f"exchange: {sentence}", err=True)


def as_rich(shown: Shown | str) -> Text:
    """The same for rich, which draws it over again and again."""
    from rich.text import Text

    lines = (Text.assemble(*line.parts) for line in Block(shown).lines())
    return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)


class Tool(Struct):
    """What every command needs: the connection, opened when first used, and where to print."""

    address: str | None = None
    json: bool = False
    token: str = field(default_factory=lambda: os.environ.get("EXCHANGE_TOKEN", ""))
    tls: ssl.SSLContext | None = None
    unix: str | None = None
    timeout_s: float | None = None
    quiet: bool = False
    fail_empty: bool = False
    no_color: bool = False
    _client: Client | None = None

    @property
    def daemon(self) -> str:
        """Where the daemon is."""
        return self.unix or self.address or DEFAULT

    def client(self) -> Client:
        """The connection."""
        if self._client is None:
            self._client = self.connect()
        return self._client

    def connect(self) -> Client:
        """
        A new connection; the daemon has answered on it, and seen the token.

        Raises:
            NotConnected: there is none.
        """
        try:
            return self._new(reconnect=False).__enter__()
        except NotConnected as error:
            if SILENT in str(error):  # what hangs is not started once more
                raise NotConnected(
                    f"{error}: a daemon that hangs, or another program; `exchange doctor` looks"
                ) from None
            raise NotConnected(
                f"no exchange there: {error}; start one with `twistd -n exchange`,"
                " or say where it is with --connect HOST:PORT"
            ) from None

    def following(self, problem: Callable[[str], None], account: str | None = None) -> Client:
        """
        A connection, not yet open, that is made again when it is lost.

        Args:
            problem: told why there is none for the moment, when that changes.
            account: whose orders and fills are followed.

        Raises:
            NotConnected: nobody is there at first, which is told at once.
        """
        self.connect().close()
        said = ""

        def told(state: State, reason: str) -> None:
            nonlocal said
            if state == "waiting" and reason != said:
                problem(f"{reason}; trying again")
            said = "" if state == "live" else reason or said

        return self._new(reconnect=True, on_state=told, account=account or "")

    def _new(self, **options: Any) -> Client:
        if self.tls is not None and "/" in self.daemon:
            raise click.UsageError("--tls is for HOST:PORT: a UNIX socket needs none.")
        return Client(
            [self.unix] if self.unix else self.daemon,
            token=self.token or None,
            tls=self.tls,
            timeout_s=self.timeout_s or ANSWER_TIMEOUT_S,
            name=f"exchange {__version__}",
            **options,
        )

    def call(self, method: str, *, timeout_s: float | None = None, **params: Any) -> Any:
        """
        Call a method; members of ``params`` that are None are left out.

        Raises:
            Refused, NotConnected: it did not happen.
            AnswerTimeout: a question was not answered.
            OutcomeUnknown: it may have happened.
        """
        question = method in _QUESTIONS or method.endswith((".get", ".list", ".subscribe"))
        given = {name: value for name, value in params.items() if value is not None}
        return self.client().call(method, given, not question, timeout_s=timeout_s)

    def pages(self, method: str, member: str, limit: int, **params: Any) -> list[dict[str, Any]]:
        """Call a method that lists, page by page, until ``limit`` of its ``member`` are there."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.call(method, limit=min(PAGE, limit - len(found)), **params)
            found += page[member]
            params["after"] = page["next"]
            if len(found) >= limit or page["next"] in {None, page.get("seq")}:
                return found

    def out(
        self, value: Any, shown: Callable[[], Any], fold: bool = False, ids: Iterable[str] = ()
    ) -> None:
        """Print a result: as JSON, or its ids, if asked for, else what ``shown`` returns."""
        if self.json:
            say_json(value)
        elif self.quiet and (named := list(ids)):
            say("\n".join(named))
        else:
            self.show(shown(), fold)

    def show(self, shown: Shown | str, fold: bool = False) -> None:
        """
        Print lines and tables; a pipe gets no colours.

        Args:
            fold: fold what is too long for the terminal. Not for tables with ids.
        """
        terminal = sys.stdout.isatty()
        width = shutil.get_terminal_size().columns if fold and terminal else None
        dumb = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        plain = not terminal or self.no_color or dumb
        lines = Block(shown).lines(width)
        click.echo("\n".join(str(line) if plain else line.painted() for line in lines))

    def console(self, **settings: Any) -> Console:
        """A console to which ``[red]`` and ``:smile:`` in a text are just text."""
        from rich.console import Console

        no_color = True if self.no_color else None  # None: as NO_COLOR says
        return Console(markup=False, emoji=False, no_color=no_color, **settings)

    def nothing(self, sentence: str, value: Any) -> None:
        """Nothing was found, which is an answer too: an empty list, or a sentence for people."""
        if self.json:
            say_json(value)
        elif not self.quiet:
            say(sentence, err=True)
        if self.fail_empty:
            sys.exit(EXIT_NOTHING)
