"""
What an error of PostgreSQL means, in sentences a person can act on.

Shell. Touches nothing: it reads the errors of psycopg.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from grenache_py.exchange.errors import StoreError, StoreFault

__all__ = ["NO_STANDBY", "TERM_HELD", "TERM_OVER", "fault_of", "translated"]

# Raised by hold_term and raise_term, see the schema.
TERM_OVER, NO_STANDBY, TERM_HELD = "GX001", "GX002", "GX003"

# By SQLSTATE, or its class of two characters.
_FAULTS: dict[str, tuple[StoreFault, str]] = {
    TERM_OVER: (
        "fenced",
        "{place}: another daemon has taken over this home, so this one serves no more",
    ),
    TERM_HELD: ("fenced", "{place}: another daemon was faster, or lives after all"),
    NO_STANDBY: (
        "refused",
        "{place}: {error}: set synchronous_standby_names and synchronous_commit = on again",
    ),
    "53100": ("full", "no space is left for {place}: free some; nothing is lost"),
    "53300": ("locked", "{place} takes no more connections: raise max_connections"),
    "25006": ("readonly", "{place} may not be written: is it a replica by now?"),
    "42501": ("refused", "{place}: {error}: the role must own the database"),
    "28": ("refused", "{place}: {error}: see pg_hba.conf there, and ~/.pgpass here"),
    "3D": ("refused", "{place}: {error}: createdb makes it"),
    "22": ("bug", "{place} refused a batch: {error}; please report this"),
    "23": ("bug", "{place} refused a batch: {error}; please report this"),
    "08": ("io", "the connection to {place} failed: {error}"),
    "40": ("io", "{place} broke a transaction off: {error}"),
    "57": ("io", "{place} ended the session ({error}): it stops, or another daemon takes over"),
    "XX001": ("corrupt", "{place} is damaged ({error}): see docs/high-availability.rst"),
    "XX002": ("corrupt", "{place} is damaged ({error}): see docs/high-availability.rst"),
}


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Turn what PostgreSQL or the network says about ``place`` into a StoreError."""
    try:
        yield
    except psycopg.Error as error:
        raise fault_of(place, error.sqlstate, str(error)) from error
    except (OverflowError, UnicodeError) as error:
        raise fault_of(place, "22000", str(error)) from error


def fault_of(place: str, state: str | None, text: str) -> StoreError:
    """The StoreError for an error with this SQLSTATE (None: no server said anything)."""
    first = " ".join(text.split("\n", maxsplit=1)[0].split()) or "no answer"
    if state is None:
        return StoreError("io", f"{place} cannot be reached: {' '.join(text.split())}")
    fault, sentence = (
        _FAULTS.get(state)
        or _FAULTS.get(state[:2])
        or (
            "bug",
            "{place}: {error}; please report this",
        )
    )
    return StoreError(fault, sentence.format(place=place, error=first))
