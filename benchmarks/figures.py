"""A benchmark's figures as JSON, for programs that compare runs (``make bench-... JSON=file``)."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

__all__ = ["add_option", "save"]


def add_option(parser: argparse.ArgumentParser) -> None:
    """Give ``parser`` the option ``--json``."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="put the figures into this file")


def save(path: Path | None, figures: Mapping[str, float]) -> None:
    """
    Put ``figures`` into a JSON object of names and numbers.

    The file may be there already: two benchmarks of one target write into the same one. Names end
    in their unit, except for ratios, whose names have ``ratio`` in them.
    """
    if path is None:
        return
    known = json.loads(path.read_text()) if path.exists() else {}
    known.update({name: round(value, 6) for name, value in figures.items()})
    path.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
