"""
Which grape to ask next.

Pure. The configured order is the order of preference, because the address a service
is announced under is the address of its grape: the first grape should be the one on
this host. A grape that failed is set aside for a while that doubles with every
failure; while all of them are set aside, the one whose time is up first is tried first.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

__all__ = ["GrapeRing"]


@attrs.define
class _Standing:
    failures: int = 0
    aside_until: float = 0.0


@attrs.define
class GrapeRing:
    """
    Several grapes in order of preference, and how each of them has behaved.

    Attributes:
        urls: base URLs without a trailing slash.
        cool_down_s: seconds a grape is set aside after its first failure in a row.
        cool_down_s_max: the most those seconds double up to.
    """

    urls: Sequence[str]
    cool_down_s: float = 1.0
    cool_down_s_max: float = 30.0
    _standing: dict[str, _Standing] = attrs.field(init=False)

    @_standing.default
    def _all_good(self) -> dict[str, _Standing]:
        return {url: _Standing() for url in self.urls}

    def order(self, now: float) -> list[str]:
        """Return every grape, the one to ask first in front."""
        return sorted(self.urls, key=lambda url: max(0.0, self._standing[url].aside_until - now))

    def failed(self, url: str, now: float) -> None:
        """Set ``url`` aside: it could not be reached, or what it said made no sense."""
        standing = self._standing[url]
        doubled = self.cool_down_s * 2.0 ** min(standing.failures, 16)
        standing.failures += 1
        standing.aside_until = now + min(doubled, self.cool_down_s_max)

    def succeeded(self, url: str) -> None:
        """Forgive ``url`` everything: it answered."""
        self._standing[url] = _Standing()
