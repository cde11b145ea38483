"""
The ``grape`` and ``exchange`` commands of ``twistd`` and ``twist``.

Strings only, so that listing them imports nothing.
"""

from twisted.application.service import ServiceMaker

grape = ServiceMaker(
    "grape", "grenache_py.grape.tap", "A Grenache grape: a DHT node with an HTTP API.", "grape"
)
exchange = ServiceMaker(
    "exchange", "grenache_py.exchange.tap", "A peer of the order exchange.", "exchange"
)
