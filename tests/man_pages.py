"""The manual pages in man/, made from the commands and from the tables of the daemons' settings."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from grenache_py import __version__
from grenache_py.cli.commands import grenache
from grenache_py.commandline import DaemonOptions
from grenache_py.exchange.cli.commands import exchange
from grenache_py.exchange.client_port.inline import COMMANDS
from grenache_py.exchange.tap import Options as ExchangeOptions
from grenache_py.grape.tap import Options as GrapeOptions

SEE = ("exchange(1)", "grenache(1)", "exchange-protocol(7)", "grape(8)", "twistd-exchange(8)")
DOCS = Path(__file__).parent.parent / "docs"


def settings(options: type[DaemonOptions]) -> list[tuple[str, str]]:
    """Return how each option of a daemon is typed, and what it does, in the alphabet's order."""
    found = [
        (", ".join(_typed(name) for name in (each.name, *each.aliases)), each.takes, each.about)
        for each in options.table.options
    ]
    found += [
        (_typed(str(name)), "TEXT", str(about)) for name, _, _, about in DaemonOptions.optParameters
    ]
    return [(f"{names} {takes}".rstrip(), about) for names, takes, about in sorted(found)]


def _typed(name: str) -> str:
    return f"--{name}" if name[1:] else f"-{name}"


def _escaped(text: str) -> str:
    """A text that roff prints as it stands."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text


def _page(name: str, section: int, about: str, body: Iterable[str]) -> str:
    others = [each for each in SEE if each != f"{name}({section})"]
    return "\n".join(
        [
            f'.TH "{name.upper()}" "{section}" "" "grenache\\-py {__version__}"',
            ".SH NAME",
            f"{_escaped(name)} \\- {_escaped(about)}",
            *body,
            ".SH SEE ALSO",
            " ,\n".join(f".BR {_escaped(each)}".replace("(", " (") for each in others),
            "",
        ]
    )


def _prose(text: str) -> Iterable[str]:
    r"""Paragraphs; one that begins with click's ``\b`` keeps its lines."""
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        lines = paragraph.splitlines()
        as_it_is = lines[0].strip() == "\b"
        yield ".PP"
        if as_it_is:
            yield from (".nf", *(_escaped(line) for line in lines[1:]), ".fi")
        else:
            yield from (_escaped(line.strip()) for line in lines)


def _entries(entries: Iterable[tuple[str, str]]) -> Iterable[str]:
    for typed, about in entries:
        yield from (".TP", f"\\fB{_escaped(typed)}\\fR", _escaped(about))


def _options(command: click.Command, context: click.Context) -> list[tuple[str, str]]:
    records = [each.get_help_record(context) for each in command.params if each.name != "help"]
    return [(typed, " ".join(about.split())) for typed, about in filter(None, records) if about]


def _synopsis(command: click.Command, context: click.Context) -> Iterable[str]:
    words = " ".join(command.collect_usage_pieces(context))
    words = words.replace("[[", "[").replace("]]", "]")  # as click 8.2 has an optional choice
    yield f"\\fB{_escaped(context.command_path)}\\fR {_escaped(words)}"


def command_page(group: click.Group, name: str) -> str:
    """The page of a command over commands."""
    context = click.Context(group, info_name=name)
    shared = _options(group, context)
    about, _, description = inspect.cleandoc(group.help or "").partition("\n\n")
    body = [".SH SYNOPSIS", *_synopsis(group, context), ".SH DESCRIPTION", *_prose(description)]
    body += [".SH OPTIONS", *_entries(shared), ".SH COMMANDS"]
    for each in group.list_commands(context):
        command = group.get_command(context, each)
        assert command is not None
        inner = click.Context(command, info_name=each, parent=context)
        body += [f".SS {_escaped(each)}", *_synopsis(command, inner), *_prose(command.help or "")]
        body += _entries(entry for entry in _options(command, inner) if entry not in shared)
    return _page(name, 1, f"{about[0].lower()}{about[1:].rstrip('.')}", body)


def daemon_page(options: type[DaemonOptions], name: str, usage: str, about: str) -> str:
    """The page of a daemon."""
    body = [".SH SYNOPSIS", f"\\fB{_escaped(usage)}\\fR [OPTIONS]", ".SH DESCRIPTION"]
    body += [*_prose(options.longdesc), ".PP"]
    body += [
        "Each option is a setting of the TOML file that",
        ".B \\-\\-config",
        "names, too, without its dashes. The command line wins.",
        ".SH OPTIONS",
        *_entries(settings(options)),
    ]
    return _page(name, 8, about, body)


PROTOCOL = """
The client port of a peer, tcp 127.0.0.1:7070 if not told otherwise, takes JSON-RPC 2.0, one object
a line, of at most 65,536 bytes of UTF-8. Params are an object. Prices and quantities are decimal
strings, times are milliseconds since 1970. Answers come in the order of the requests, and after all
that they show is on the disk. An array of up to 100 requests is answered by one line.

A line that begins with a letter is a command for people. Its answer is a line of JSON, and after
the command format text it is lines and tables.

A daemon with --tokens serves who shows a token: the method hello. Each method needs the scope that
stands behind it.

The method rpc.discover returns this as an OpenRPC document. docs/client-protocol.rst has every
method at length, with an example from a run.
"""


def protocol_page() -> str:
    """The page of the client port: its methods, its commands, its errors."""
    document = json.loads((DOCS / "openrpc.json").read_text())
    table = (DOCS / "client-protocol.rst").read_text().partition("\nErrors\n======\n")[2]
    errors = re.findall(r"^(-32\d{3}) (.+)$", table, re.M)
    body = [".SH DESCRIPTION", *_prose(PROTOCOL), ".SH METHODS"]
    body += _entries((_called(each), f"{each['summary']} ({each['x-scope']})")
                     for each in document["methods"])  # fmt: skip
    body += [".SH COMMANDS FOR PEOPLE", ".nf"]
    body += [*(_escaped(command.usage) for command in COMMANDS.values()), ".fi", ".SH ERRORS"]
    body += _entries((code, meaning.replace("``", "")) for code, meaning in errors)
    body += [".SH EXAMPLE", ".nf"]
    body += [
        _escaped('{"jsonrpc":"2.0","id":1,"method":"ticker.get","params":{"market":"BTC-USD"}}'),
        _escaped('{"jsonrpc":"2.0","id":1,"result":{"market":"BTC-USD","bid":"99", ...}}'),
        ".fi",
    ]
    about = "how programs and people talk to a peer of the order exchange"
    return _page("exchange-protocol", 7, about, body)


def _called(method: dict[str, Any]) -> str:
    params = (
        each["name"] if each["required"] else f"[{each['name']}]" for each in method["params"]
    )
    return " ".join((method["name"], *params))


def pages() -> dict[str, str]:
    """Every page, by the name of its file."""
    return {
        "exchange.1": command_page(exchange, "exchange"),
        "grenache.1": command_page(grenache, "grenache"),
        "exchange-protocol.7": protocol_page(),
        "grape.8": daemon_page(GrapeOptions, "grape", "grape", "a node of a Grenache network"),
        "twistd-exchange.8": daemon_page(
            ExchangeOptions, "twistd-exchange", "twistd -n exchange", "a peer of the order exchange"
        ),
    }
