"""
Every error this package raises on purpose, as one tree.

Pure. Two sides, two types, as in h11: a *remote* error means the other end broke
the protocol (count it, perhaps drop that link, never print a traceback), a *local*
error means that we did, which is a bug of ours or of the program that called us.
"""

from __future__ import annotations

__all__ = ["ConfigError", "GrenacheError", "LocalProtocolError", "RemoteProtocolError"]


class GrenacheError(Exception):
    """Base of all errors below; catch this to catch everything this package raises on purpose."""


class LocalProtocolError(GrenacheError):
    """This side tried something the protocol does not allow: our bug, or our caller's."""


class RemoteProtocolError(GrenacheError):
    """The other side sent something the protocol does not allow. The message says what."""


class ConfigError(GrenacheError):
    """An option, a file or a port the operator named cannot be used: one line, exit code 1."""
