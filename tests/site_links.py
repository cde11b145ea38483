"""
Dead links of a built site: pages, files and anchors. ``make docs`` runs it.

``python -m tests.site_links docs/_build/html``. A link to elsewhere has to be well formed, and is
not followed.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """What a page links to, and what in it can be linked to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors = {"", "top"}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" or (tag == "a" and name == "name"):
                self.anchors.add(value or "")
            elif name in {"href", "src"}:
                self.links.append(value or "")


def dead_links(site: Path) -> list[str]:
    """Return ``page: link`` for each link of the site that leads nowhere."""
    pages = {path.resolve(): _Page(path.read_text()) for path in site.rglob("*.html")}
    dead = []
    for path, page in sorted(pages.items()):
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                fine = bool(parts.scheme in {"data", "mailto"} or (parts.scheme and parts.netloc))
            else:
                target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
                known = pages.get(target)
                fine = target.is_file() and (
                    known is None or unquote(parts.fragment) in known.anchors
                )
            if not fine:
                dead.append(f"{path.relative_to(site.resolve())}: {link}")
    return dead


if __name__ == "__main__":
    found = dead_links(Path(sys.argv[1]))
    print(*found, f"{len(found)} dead links", sep="\n")
    sys.exit(bool(found))
