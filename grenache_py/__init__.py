"""Grenache for Python, and a peer-to-peer order exchange that runs on it."""

__version__ = "0.1.0"
