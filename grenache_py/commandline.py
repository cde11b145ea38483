"""
The command line of a daemon, and the TOML file it names.

Edge: reads argv and files, and sets limits of the process. A wrong option is refused with one
readable line on stderr and exit code 1, by ``twistd`` and ``twist`` as by the console script.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from twisted.application.service import Service
from twisted.python import usage

from grenache_py import __version__
from grenache_py.errors import ConfigError
from grenache_py.logs import FORMATS, Levels, SurvivingStream, under_runner
from grenache_py.options import LOGGING, Option, OptionTable
from grenache_py.pid_file import take_over
from grenache_py.service import OnSignal, Reread, exit_readably

__all__ = ["DaemonOptions", "allow_files", "service_for_runner"]

Self = TypeVar("Self", bound="DaemonOptions")


class DaemonOptions(usage.Options):
    """
    The options of one daemon; a subclass names their table and makes the configuration.

    Attributes:
        command: What the operator calls the daemon.
        help_command: What lists the options.
        table: The settings.
        log_format: ``text`` or ``json``.
        levels: Which events are logged.
        streams: What the log is written to.
    """

    command: ClassVar[str]
    help_command: ClassVar[str]
    table: ClassVar[OptionTable]
    log_format: str
    levels: Levels

    optParameters: ClassVar[list[list[str | None]]] = [
        ["config", None, None, "TOML file with any of these settings; the command line wins"],
        ["log-format", None, None, f"{' or '.join(FORMATS)} [default: text]"],
        [
            "log-level",
            None,
            None,
            "debug, info, warn, error or critical; for one part: grenache_py.dht=debug "
            "[default: info]",
        ],
    ]

    optFlags: ClassVar[list[list[str | None]]] = []

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        options = cls.table.options
        cls.optParameters = [
            [option.name, option.short, None, _about(option)]
            for option in options
            if option.takes and not option.many
        ]
        cls.optFlags = [
            [option.name, option.short, _about(option)] for option in options if not option.takes
        ]
        for option in options:
            if option.many:
                setattr(cls, f"opt_{option.name}", _again_for_each(option))

    def __init__(self) -> None:
        self.many: dict[str, list[str]] = {}
        self.streams: list[SurvivingStream] = []
        self._argv: list[str] = []
        self._folder = os.getcwd()
        super().__init__()
        for option in self.table.options:
            for alias in option.aliases:
                self.synonyms[alias] = option.name
                self.longOpt.append(f"{alias}=")

    def opt_version(self) -> None:
        """Display the version and exit."""
        print(__version__)
        sys.exit(0)

    def getSynopsis(self) -> str:
        if self.parent is None:
            return f"Usage: {self.command} [options]"
        return f"{self.parent.getSynopsis()} {self.command} [options]"

    def getUsage(self, width: int | None = None) -> str:
        everything = self.longOpt
        aliases = {f"{alias}=" for option in self.table.options for alias in option.aliases}
        self.longOpt = [each for each in everything if each not in aliases]
        try:
            return super().getUsage(width)
        finally:
            self.longOpt = everything

    def parseArgs(self, *words: str) -> None:
        if words:
            raise usage.UsageError(f"no argument {words[0]!r} is expected")

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """
        Parse ``options``.

        Raises:
            SystemExit: An option is wrong; one line on stderr has said why. (For a
                UsageError, twistd would print the whole help first.)
        """
        self._argv = sys.argv[1:] if options is None else list(options)
        with exit_readably(self.command):
            self._parse()
            runner: Any = self.parent or {}
            pid_file = runner.get("pidfile")  # there is one under twistd only
            said = take_over(os.path.abspath(pid_file)) if pid_file else ""
            if said and sys.__stderr__ is not None:
                with suppress(OSError, ValueError):  # full, closed or without a reader
                    print(f"{self.command}: {said}", file=sys.__stderr__, flush=True)

    def _parse(self) -> None:
        try:
            super().parseOptions(self._argv)
        except usage.UsageError as error:
            raise ConfigError(f"{error} ({self.help_command} lists the options)") from None

    def again(self: Self) -> Self:
        """
        Return the options as the same command line and its file give them now.

        Raises:
            ConfigError: a setting is wrong by now, or the file is gone.
        """
        fresh = type(self)()
        fresh._argv, fresh._folder = self._argv, self._folder
        fresh._parse()
        return fresh

    def on_signal(self: Self, change: Callable[[Self], Reread]) -> OnSignal:
        """
        What signals ask of the daemon that these options made.

        Args:
            change: makes the daemon follow newer options; raises ConfigError, having changed
                nothing, when it cannot.
        """

        def reread() -> Reread:
            fresh = self.again()
            result = change(fresh)
            done, later = result.done, result.later
            if str(fresh.levels) != str(self.levels):
                self.levels.follow(fresh.levels)
                done = (*done, f"log-level is {self.levels}")
            if fresh.log_format != self.log_format:
                later = (*later, "log-format")
            return Reread(done, later)

        def reopen() -> None:
            for stream in self.streams:
                stream.reopen()

        return OnSignal(reread, reopen, self.levels.toggle_debug)

    def postOptions(self) -> None:
        typed: dict[str, Any] = {name: value for name, value in self.items() if value is not None}
        for option in self.table.options:
            if not option.takes and typed.pop(option.name):
                typed[option.name] = True
        typed.update(self.many)
        file = typed.pop("config", None)
        written = {} if file is None else self._read(file)
        logging = {
            name.replace("_", "-"): layer.pop(name)
            for layer in (written, typed)
            for name in list(layer)
            if name.replace("_", "-") in LOGGING
        }
        self.log_format = str(logging.get("log-format", "text"))
        if self.log_format not in FORMATS:
            raise ConfigError(f"log-format must be {' or '.join(FORMATS)}")
        self.levels = Levels(str(logging.get("log-level", "info")))
        self.configure(written, typed)

    def configure(self, written: dict[str, Any], typed: dict[str, Any]) -> None:
        """
        Make the configuration from the settings of the file and of the command line.

        Args:
            written: settings of the TOML file, by option name.
            typed: settings of the command line, which win.

        Raises:
            ConfigError: A value that cannot be.
        """
        raise NotImplementedError

    def _read(self, file: str) -> dict[str, Any]:
        try:
            # twistd has gone to another folder, perhaps, when the file is read again.
            return self.table.from_toml(Path(self._folder, file).read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8"
            raise ConfigError(f"config file {file}: {reason}") from None
        except ConfigError as error:
            raise ConfigError(f"config file {file}: {error}") from None


def _about(option: Option) -> str:
    aliases = ", ".join(f"--{alias}" for alias in option.aliases if alias != option.short)
    return f"{option.about} (also {aliases})" if aliases else option.about


def _again_for_each(option: Option) -> Callable[[DaemonOptions, str], None]:
    def collect(self: DaemonOptions, value: str) -> None:
        self.many.setdefault(option.name, []).append(value)

    collect.__doc__ = _about(option)
    return collect


def service_for_runner(options: DaemonOptions, make: Callable[[], Service]) -> Service:
    """
    Return what the ``makeService`` of a twistd plugin returns.

    Args:
        options: the plugin's, parsed.
        make: makes the daemon.

    Raises:
        SystemExit: it cannot start; one line on stderr has said why.
    """
    with exit_readably(options.command):
        return under_runner(make(), options, options.log_format, options.levels, options.streams)


def allow_files(wanted: int) -> None:
    """Raise the number of files this process may open to ``wanted``, as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
