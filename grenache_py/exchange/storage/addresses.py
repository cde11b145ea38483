"""
What a person names as a store: a directory, a file, or the address of a database.

Pure.
"""

from __future__ import annotations

import re

__all__ = ["check_address", "is_address"]


def is_address(named: str) -> bool:
    """Whether it is the address of a PostgreSQL database."""
    return re.match("postgres(ql)?://", named) is not None


def check_address(named: str) -> None:
    """Raise ValueError if there is a password in an address, which others can read."""
    if re.match("[a-z]+://[^/?@]*:[^/?@]*@", named) or re.search("[?&](ssl)?password=", named):
        raise ValueError(
            "has a password in it, which others can read: put it into ~/.pgpass, into a file named"
            " with ?passfile=FILE, or into PGPASSWORD"
        )
