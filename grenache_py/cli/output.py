"""
The one place where ``grenache`` prints, and where text from outside is made harmless.

Edge: writes to stdout and stderr.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import click

from grenache_py.plain_text import harmless, harmless_json, harmless_lines

__all__ = ["say", "show", "to_json"]


def show(line: str) -> None:
    """Print a result. A program that reads us gets it as it is; a terminal gets it harmless."""
    try:
        click.echo(harmless_lines(line) if sys.stdout.isatty() else line)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read us, such as ``head``, has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


def say(text: str) -> None:
    """Print a line for people, or an error for a program, to stderr."""
    click.echo(harmless(text), err=True)


def to_json(value: Any) -> str:
    """JSON without a character that steers a terminal."""
    return harmless_json(json.dumps(value, ensure_ascii=False))
