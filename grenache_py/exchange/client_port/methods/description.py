"""
The client port's own description: an OpenRPC document made from the table of methods.

Pure. See ``registry.py`` for what a method may return.
"""

from __future__ import annotations

from typing import Any

import msgspec

from grenache_py.exchange.client_port.gateway import Gateway, Principal
from grenache_py.exchange.client_port.methods import params as p
from grenache_py.exchange.client_port.methods.registry import METHODS, Method, MethodResult

__all__ = ["described"]


def described() -> dict[str, Any]:
    """All methods with the types of their parameters, as OpenRPC 1.2.6 has it."""
    return {
        "openrpc": "1.2.6",
        "info": {"title": "The client port of a peer of the exchange", "version": "1"},
        "methods": [_method(METHODS[name]) for name in sorted(METHODS)],
    }


def _method(method: Method) -> dict[str, Any]:
    _, components = msgspec.json.schema_components([method.params])
    (schema,) = components.values()
    required = schema.get("required", [])
    return {
        "name": method.name,
        "summary": method.line,
        "paramStructure": "by-name",
        "params": [
            {"name": name, "required": name in required, "schema": member}
            for name, member in schema["properties"].items()
        ],
        "result": {"name": "result", "schema": {}},
        "x-scope": method.scope or None,
    }


@METHODS.method("rpc.discover", p.Nothing, "")
def rpc_discover(
    gateway: Gateway, client: Principal, params: p.Nothing, now: float
) -> MethodResult:
    """Describe all methods and their parameters, as an OpenRPC document."""
    return described()
