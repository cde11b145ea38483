"""
The settings of a daemon as one table, through which its command line and its TOML file are read.

Pure. Each option has one reader, which decides what is a value, so that the two cannot disagree.
The daemons' tables are in their ``config.py``; `grenache_py.commandline` types them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import attrs

from grenache_py.errors import ConfigError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "LOGGING",
    "Option",
    "OptionTable",
    "Unfit",
    "each",
    "flag",
    "host_and_port",
    "host_name",
    "listed",
    "text",
    "toml",
    "whole_number",
]

T = TypeVar("T")

#: Settings that every daemon has beside those of its table.
LOGGING = frozenset({"log-format", "log-level"})


class Unfit(ValueError):
    """A reader's error whose message already names the wrong value."""


@attrs.frozen(kw_only=True)
class Option:
    """
    One setting an operator may name.

    Attributes:
        name: Its name, in the TOML file and as ``--name``.
        field: The attribute of the configuration it sets; None: accepted without effect.
        read: Makes the attribute's value from a string or a TOML value, or raises ValueError
            with the rest of a sentence that begins with the option's name.
        about: A line for ``--help``.
        takes: What stands for the value in ``--help``; empty for a flag.
        many: May be given several times; ``read`` is then given a list.
        aliases: Other spellings.
        short: One letter for the command line.
    """

    name: str
    field: str | None
    read: Callable[[Any], Any]
    about: str
    takes: str = "N"
    many: bool = False
    aliases: tuple[str, ...] = ()
    short: str | None = None


class OptionTable:
    """All settings of one daemon but `LOGGING` and ``config``."""

    def __init__(self, options: Iterable[Option]) -> None:
        self.options = tuple(options)
        self._by_name = {
            spelling.replace("-", "_"): option
            for option in self.options
            for spelling in (option.name, *option.aliases)
        }

    def fields(self, *layers: Mapping[str, Any]) -> dict[str, Any]:
        """
        Return the configuration's attributes that ``layers`` set, where a later one wins.

        Args:
            layers: Values by option name or alias; strings as typed by hand are fine.

        Raises:
            ConfigError: A wrong value; the message names the option.
        """
        fields: dict[str, Any] = {}
        for layer in layers:
            for name, value in layer.items():
                option = self._by_name[name.replace("-", "_")]
                try:
                    setting = option.read(value)
                except Unfit as error:
                    raise ConfigError(f"{option.name} {error}") from None
                except ValueError as error:
                    raise ConfigError(f"{option.name} {error}, not {value!r}") from None
                if option.field is not None:
                    fields[option.field] = setting
        return fields

    def differing(self, one: Any, other: Any) -> list[str]:
        """The options, by name, that have other values in one configuration than in another."""
        return [
            option.name
            for option in self.options
            if option.field is not None
            and getattr(one, option.field) != getattr(other, option.field)
        ]

    def from_toml(self, content: str) -> dict[str, Any]:
        """
        Return the settings of a TOML file: some of this table's and of `LOGGING`.

        Raises:
            ConfigError: Not TOML, an unknown name, or one setting under two of its names.
        """
        settings = toml(content)
        seen: dict[str, str] = {}
        for name in settings:
            option = self._by_name.get(name.replace("-", "_"))
            if option is None and name.replace("_", "-") not in LOGGING:
                known = ", ".join(sorted({*(each.name for each in self.options), *LOGGING}))
                raise ConfigError(f"no setting {name!r}: there are {known}")
            meant = name.replace("_", "-") if option is None else option.name
            if meant in seen:
                raise ConfigError(f"{seen[meant]} and {name} are the same setting")
            seen[meant] = name
        return settings


def toml(content: str) -> dict[str, Any]:
    """
    Parse a TOML file's content.

    Raises:
        ConfigError: It is not TOML.
    """
    try:
        return tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}") from None


# Readers: each makes a setting from a string or a TOML value, or raises ValueError.


def text(value: Any) -> str:
    """A text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError("must be a text, not empty")
    return value.strip()


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def whole_number(low: int, high: int, what: str = "a whole number") -> Callable[[Any], int]:
    """A number from ``low`` to ``high``; ``what`` names it in the error."""

    def read(value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,20}", value.strip(), re.ASCII):
            value = int(value)
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"must be {what}, {low} to {high}")
        return value

    return read


def host_and_port(value: Any) -> str:
    """``host:port``, the port from 1 to 65535."""
    host, colon, port = text(value).rpartition(":")
    if not (colon and host and re.fullmatch(r"[0-9]{1,5}", port, re.ASCII)):
        raise ValueError("must be host:port")
    if not 0 < int(port) < 65536:
        raise ValueError("must have a port of 1 to 65535")
    return f"{host}:{int(port)}"


def host_name(value: Any) -> str:
    """A host's name, in lower case, without a port."""
    name = text(value).lower().rstrip(".")
    if not re.fullmatch(r"[a-z0-9]([a-z0-9._-]{0,251}[a-z0-9])?", name, re.ASCII):
        raise ValueError("must be a host's name without a port")
    return name


def each(read: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    """One value, or a list of them."""

    def read_each(value: Any) -> tuple[T, ...]:
        settings = []
        for one in value if isinstance(value, list) else [value]:
            try:
                settings.append(read(one))
            except ValueError as error:
                raise (
                    error if isinstance(error, Unfit) else Unfit(f"{error}, not {one!r}")
                ) from None
        return tuple(settings)

    return read_each


def listed(read: Callable[[str], T]) -> Callable[[Any], tuple[T, ...]]:
    """``a,b`` or a list of such; blanks and empty entries are dropped."""

    def read_listed(value: Any) -> tuple[T, ...]:
        parts = [value] if isinstance(value, str) else value
        if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
            raise ValueError("must be a text with commas between its entries, or a list of texts")
        entries = [entry.strip() for part in parts for entry in part.split(",")]
        return each(read)([entry for entry in entries if entry])

    return read_listed
