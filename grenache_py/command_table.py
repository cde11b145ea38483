"""
A command over commands, each of which is imported when it is called.

Edge: prints the script for the shell's completion.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

__all__ = ["CommandTable", "OnDemand", "completion_command"]


class OnDemand:
    """A module that is imported when something of it is asked for."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(import_module(self._name), name)


class CommandTable(click.Group):
    """
    The commands of a table.

    Args:
        table: the commands by name: the module of each, and what it is for. The command ``a-b`` is
            the module's ``a_b``.
        package: where modules are looked for whose name begins with a dot.
        shared: options that stand before the command's name or after it.
    """

    def __init__(
        self,
        *args: Any,
        table: Mapping[str, tuple[str, str]],
        package: str,
        shared: Sequence[click.Option],
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        self.params[:0] = shared
        self._table = table
        self._package = package
        self._shared = shared

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._table:
            return None
        module = import_module(self._table[cmd_name][0], self._package)
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        if not gc.isenabled():  # the console script did that
            gc.freeze()
            gc.enable()
        own = {name for param in command.params for name in param.opts}
        command.params += [each for each in self._shared if own.isdisjoint(each.opts)]
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self._table and not args[0].startswith("-"):
            from difflib import get_close_matches

            like = get_close_matches(args[0].lower(), self._table, n=1)
            hint = f" Did you mean {like[0]!r}?" if like else ""
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, what) for name, (_, what) in self._table.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        commands = [
            CompletionItem(name, help=what)
            for name, (_, what) in self._table.items()
            if name.startswith(incomplete)
        ]
        return [*commands, *click.Command.shell_complete(self, ctx, incomplete)]


def completion_command() -> click.Command:
    """Make the command that prints the script for the shell's completion."""

    @click.command()
    @click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
    @click.pass_context
    def completion(context: click.Context, shell: str) -> None:
        """Print a script for completion; use it as: eval "$(COMMAND completion bash)"."""
        root = context.find_root()
        kind = get_completion_class(shell)
        assert kind is not None and root.info_name is not None
        variable = f"_{root.info_name.upper()}_COMPLETE"
        click.echo(kind(root.command, {}, root.info_name, variable).source())

    return completion
