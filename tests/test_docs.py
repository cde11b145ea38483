"""
The documents: well formed, without dead links, and in step with the files they speak of.

``python -m tests.test_docs`` writes the tables of ``docs/design/states.rst`` anew.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import pytest
from docutils import nodes
from docutils.core import publish_doctree
from docutils.parsers.rst import Directive, directives
from docutils.utils import SystemMessage

#: The state machines of ``docs/design/states.rst``: the name that its marks bear, and where its
#: transition table is, as ``module:NAME``.
MACHINES: tuple[tuple[str, str], ...] = (
    ("link", "grenache_py.exchange.peers.link:LINK"),
    ("channel", "grenache_py.exchange.daemon.connections.channel_states:CHANNEL_TRANSITIONS"),
    ("origin", "grenache_py.exchange.replication.origin_state:ORIGIN_TRANSITIONS"),
    ("catch-up", "grenache_py.exchange.replication.catch_up_state:CATCH_UP_TRANSITIONS"),
    ("role", "grenache_py.exchange.standby.role_states:ROLE_TRANSITIONS"),
    ("commit-loop-node", "grenache_py.exchange.daemon.loop.loop_states:NODE_TRANSITIONS"),
    ("commit-loop-turn", "grenache_py.exchange.daemon.loop.loop_states:TURN_TRANSITIONS"),
    ("http-connection", "grenache_py.wire.http.states:HTTP_TRANSITIONS"),
    ("client-answer", "grenache_py.exchange.client_port.answer:PART_TRANSITIONS"),
)

#: What is only on the site (docs/conf.py).
SITE = ("toctree", "automodule", "autoclass", "click", "options-of", "literalinclude")

ROOT = Path(__file__).parent.parent
STATES = ROOT / "docs" / "design" / "states.rst"
DOCUMENTS = sorted(
    path
    for pattern in ("*.rst", "docs/**/*.rst", "changelog.d/*.rst")
    for path in ROOT.glob(pattern)
)


class _OnTheSite(Directive):
    """A directive of Sphinx's: a forge shows nothing in its place."""

    has_content = True
    optional_arguments = 1
    option_spec: ClassVar = dict.fromkeys(
        ("hidden", "glob", "caption", "prog", "nested", "language"), directives.unchanged
    )

    def run(self) -> list[nodes.Node]:
        return []


@pytest.fixture(autouse=True)
def sites_directives(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SITE:
        monkeypatch.setitem(directives._directives, name, _OnTheSite)  # type: ignore[attr-defined]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_document_is_well_formed_and_its_links_lead_somewhere(document: Path) -> None:
    settings = {"report_level": 2, "halt_level": 2, "warning_stream": False}
    try:
        tree = publish_doctree(
            document.read_text(), source_path=str(document), settings_overrides=settings
        )
    except SystemMessage as error:
        pytest.fail(str(error))
    for reference in tree.findall(nodes.reference):
        target = reference.get("refuri", "").partition("#")[0]
        if target and not re.match(r"[a-z]+:", target):
            assert (document.parent / target).exists(), f"dead link {target}"


def test_every_document_can_be_found_from_the_index() -> None:
    index = (ROOT / "docs" / "index.rst").read_text()
    for document in (ROOT / "docs").rglob("*.rst"):
        name = document.relative_to(ROOT / "docs").as_posix()
        if name != "index.rst":
            assert f"<{name}>" in index, f"docs/index.rst does not name {name}"


def test_every_make_target_that_a_document_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    for document in DOCUMENTS:
        for target in re.findall(r"``make ([a-z-]+)", document.read_text()):
            assert target in targets, f"{document.name}: make {target}"


def test_every_log_line_the_operators_guide_explains_is_one() -> None:
    guide = (ROOT / "docs" / "operator.rst").read_text()
    (table,) = re.findall(r"(?s)\nline +what to do\n=[= ]+\n(.*?)\n===", guide)
    phrases = [line[:44].strip() for line in table.splitlines() if not line.startswith(" ")]
    sources = "".join(path.read_text() for path in (ROOT / "grenache_py").rglob("*.py"))
    assert [phrase for phrase in phrases if phrase not in sources] == []
    assert len(phrases) > 5


def test_each_of_the_forty_failures_names_code_and_a_test_that_exist() -> None:
    text = (ROOT / "docs" / "failure-modes.rst").read_text()
    rows = re.split(r"^   \* - ", text, flags=re.M)[1:]
    assert [row.split()[0] for row in rows] == [f"_`F{number}`" for number in range(1, 41)]
    for row in rows:
        named = re.findall(r"``([a-z0-9_/]+\.(?:py|sql))(?:::(test_[a-z0-9_]+))?``", row)
        code = [file for file, test in named if not test]
        tests = [(file, test) for file, test in named if test]
        assert code and tests, row
        for file in code:
            assert (ROOT / "grenache_py" / file).exists(), f"there is no {file}"
        for file, test in tests:
            assert f"def {test}(" in (ROOT / "tests" / file).read_text(), f"{file} has no {test}"


def _marked(name: str) -> re.Pattern[str]:
    """What stands between the marks of one machine."""
    return re.compile(rf"(?s)(?<=^\.\. begin {name}\n)(.*?)(?=^\.\. end {name}$)", re.M)


def _table(where: str) -> str:
    """The transition table at ``module:NAME`` as text for the page."""
    module, _, name = where.partition(":")
    transitions: Any = getattr(import_module(module), name)
    return f"\n{transitions.rst().strip()}\n\n"


@pytest.mark.parametrize(("name", "where"), MACHINES)
def test_the_page_shows_the_states_as_the_code_has_them(name: str, where: str) -> None:
    found = _marked(name).search(STATES.read_text())
    assert found, f"{STATES.name} has no marks for {name}"
    assert found[0] == _table(where), "run: python -m tests.test_docs"


def test_every_marked_place_belongs_to_a_state_machine() -> None:
    marks = re.findall(r"^\.\. begin (.*)$", STATES.read_text(), re.M)
    assert marks == re.findall(r"^\.\. end (.*)$", STATES.read_text(), re.M)
    if MACHINES:
        assert sorted(marks) == sorted(name for name, _ in MACHINES)


def write_states() -> None:
    """Write all tables of ``docs/design/states.rst``."""
    text = STATES.read_text()
    for name, where in MACHINES:
        text = _marked(name).sub(_table(where).replace("\\", r"\\"), text)
    STATES.write_text(text)


if __name__ == "__main__":
    write_states()
