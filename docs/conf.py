"""
The documents as a site: ``make docs``.

The source folder is the project's root, so that a link from page to page is the same in the file
and on the site. Nothing is fetched.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from grenache_py import __version__
from tests.man_pages import ExchangeOptions, GrapeOptions, settings

ROOT = Path(__file__).parent.parent
#: What a link to a folder leads to.
FOLDERS = {"examples": "docs/examples"}
log = logging.getLogger(__name__)

project = "grenache-py"
version = release = __version__
root_doc = "docs/index"
include_patterns = ["*.rst", "docs/**"]
exclude_patterns = ["docs/_build"]
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click", "sphinx_copybutton"]

html_theme = "furo"
html_title = f"grenache-py {__version__}"
html_copy_source = False
html_show_copyright = False
html_theme_options = {"top_of_page_buttons": []}
# The prompt is not copied.
copybutton_prompt_text = "$ "
copybutton_line_continuation_character = "\\"

default_role = "literal"  # `Link` in a docstring
pygments_style = "default"
highlight_language = "text"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {
    "members": True,
    "imported-members": True,
    "show-inheritance": True,
    # ours, up to these
    "inherited-members": "BaseException, OSError, Service, Struct, TypedDict",
}
napoleon_use_ivar = True
# Types of Python and of libraries are not followed: that would need their inventories.
# Nor are variables of types, and what only our own code makes.
nitpick_ignore_regex = [
    ("py:.*", r"(?!grenache_py\b).*"),
    (
        "py:.*",
        r".*\.(_.*|T|F|AnnounceSchedule|Listening|ClientFacts|Listener|BookSnapshot|BookUpdate)",
    ),
]

#: What a Deferred does, in one line or with a list below it.
OUTCOME = re.compile(r"(Fires with|Fails with|Cancel):( .*)?$")


def outcomes_as_fields(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Make fields of "Fires with", "Fails with" and "Cancel", as "Parameters" is one."""
    made: list[str] = []
    inside = False
    for line in lines:
        found = OUTCOME.match(line)
        inside = bool(found) or (inside and (not line or line.startswith(" ")))
        if found:
            made += [*([""] if made and made[-1].startswith("    ") else []), f":{line}"]
        elif inside and (error := re.match(r"    ([\w, ]+): (.*)", line)):
            made.append(f"    - ``{error[1]}``: {error[2]}")
        elif inside and line.startswith("        "):
            made.append(line[2:])
        else:
            made.append(line)
    lines[:] = made


def readable_interfaces(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None, returns: Any
) -> tuple[str, Any] | None:
    """Name an interface of zope as a type is named."""
    if signature is None:
        return None
    return re.sub(r"<InterfaceClass [\w.]*?(\w+)>", r"\1", signature), returns


def links_to_pages(app: Sphinx, tree: nodes.document, docname: str) -> None:
    """Let a link to a file of the tree lead to its page, or to a copy of the file."""
    folder = (ROOT / docname).parent
    for reference in tree.findall(nodes.reference):
        uri: str = reference.get("refuri", "")
        target, hash_, anchor = uri.partition("#")
        if not target or reference.get("internal") or re.match(r"[a-z]+:", target):
            continue
        path = Path(os.path.normpath(folder / target)).relative_to(ROOT).as_posix()
        page = FOLDERS.get(path, path.removesuffix(".rst"))
        if page in app.env.found_docs:
            reference["refuri"] = app.builder.get_relative_uri(docname, page) + hash_ + anchor
        elif (ROOT / path).is_file():
            copy = Path(app.outdir, path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / path, copy)
        else:
            log.warning("dead link %s", uri, location=docname)


def front_door(app: Sphinx, error: Exception | None) -> None:
    """The site begins at its root, too."""
    if error is None and app.builder.name == "html":
        Path(app.outdir, "index.html").write_text(
            '<!doctype html><meta charset="utf-8"><title>grenache-py</title>'
            '<meta http-equiv="refresh" content="0; url=docs/index.html">'
            '<a href="docs/index.html">grenache-py: the documentation</a>\n'
        )


class OptionsOf(SphinxDirective):
    """The settings of a daemon, from the table that reads them."""

    required_arguments = 1
    daemons: ClassVar = {"grape": GrapeOptions, "exchange": ExchangeOptions}

    def run(self) -> list[nodes.Node]:
        """Return a list of definitions."""
        made = nodes.definition_list()
        for typed, about in settings(self.daemons[self.arguments[0]]):
            term = nodes.term("", "", nodes.literal("", typed))
            # An option's dashes are not made one.
            text = nodes.definition("", nodes.paragraph("", about, support_smartquotes=False))
            made += nodes.definition_list_item("", term, text)
        return [made]


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect what stands above."""
    app.add_directive("options-of", OptionsOf)
    app.connect("autodoc-process-docstring", outcomes_as_fields, priority=400)
    app.connect("autodoc-process-signature", readable_interfaces)
    app.connect("doctree-resolved", links_to_pages)
    app.connect("build-finished", front_door)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
