"""
What ``pip install`` gives a user: three commands, two plugins, nothing else in the way.

One wheel is built and installed into an empty environment that holds what the package
declares it needs and nothing more, copied from the one the tests run in; an editable
install goes into another. No index is asked.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

import pytest
from packaging.requirements import Requirement

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
COMMANDS = [
    ("grape", "--version"),
    ("grape", "--help"),
    ("grenache", "--help"),
    ("exchange", "--help"),
    ("twistd", "grape", "--help"),
    ("twistd", "exchange", "--help"),
    ("twist", "grape", "--help"),
    ("twist", "exchange", "--help"),
]


def needed(*more: str) -> set[str]:
    """Return the distributions that the package declares it needs, ``more``, and what they need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: set[tuple[str, frozenset[str]]] = set()

    def visit(lines: list[str], extras: frozenset[str]) -> None:
        for line in lines:
            requirement = Requirement(line)
            each = (requirement.name, frozenset(requirement.extras))
            wanted = requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in extras | {""}
            )
            if wanted and each not in found:
                found.add(each)
                visit(distribution(requirement.name).requires or [], each[1])

    visit([*project["dependencies"], *more], frozenset())
    return {name for name, _ in found}


def run(*command: str | Path, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "HOME": str(cwd), **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def succeed(*command: str | Path, cwd: Path, **environ: str) -> str:
    done = run(*command, cwd=cwd, **environ)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


PIP = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
INSTALL = ("install", "--no-index", "--no-deps", "--no-build-isolation")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a build reads, because a build leaves files behind."""
    folder = tmp_path_factory.mktemp("source")
    leave = shutil.ignore_patterns("__pycache__", "dropin.cache")
    files = ("pyproject.toml", "setup.py", "README.rst", "LICENSE")
    for name in (*files, "grenache_py", "twisted", "man"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=leave)
        else:
            shutil.copy(ROOT / name, folder)
    return folder


def empty_environment(folder: Path, *more: str) -> Path:
    """Make an environment with what we declare to need, and return its folder of commands."""
    venv.create(folder, symlinks=True)
    site = next(folder.glob("lib/python*/site-packages"))
    for name in needed(*more):
        found = distribution(name)
        for file in found.files or []:
            target = (site / file).resolve()
            if file.suffix != ".pyc" and target.is_relative_to(site.resolve()):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(found.locate_file(file)), target)
            elif file.parent.name == "bin":
                script = folder / "bin" / file.name
                text = Path(str(found.locate_file(file))).read_text()
                script.write_text(re.sub(r"\A#!.*", f"#!{folder}/bin/python", text))
                script.chmod(0o755)
    return folder / "bin"


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    succeed(*PIP, "wheel", *INSTALL[1:], "--wheel-dir", folder, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("installed") / "venv"
    commands = empty_environment(folder)
    succeed(*PIP, "--python", commands / "python", *INSTALL, wheel, cwd=folder)
    return commands


@pytest.fixture(scope="module")
def editable(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("editable") / "venv"
    commands = empty_environment(folder, "setuptools")
    succeed(*PIP, "--python", commands / "python", *INSTALL, "--editable", source, cwd=folder)
    return commands


@pytest.mark.parametrize("kind", ["installed", "editable"])
def test_every_command_answers(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    commands: Path = request.getfixturevalue(kind)
    for command, *arguments in COMMANDS:
        output = succeed(commands / command, *arguments, cwd=tmp_path)
        assert output.strip(), (command, *arguments)
    for runner in ("twistd", "twist"):
        listed = succeed(commands / runner, "--help", cwd=tmp_path)
        assert re.search(r"^ +grape .*grape", listed, re.M)
        assert re.search(r"^ +exchange .*exchange", listed, re.M)


def test_listing_the_plugins_imports_neither_them_nor_the_reactor(
    installed: Path, tmp_path: Path
) -> None:
    # With a cold cache every dropin is imported before --reactor takes effect.
    loaded = succeed(
        installed / "python",
        "-c",
        "import sys, twisted.plugins.grenache_py_plugins; print(*sys.modules)",
        cwd=tmp_path,
    ).split()
    assert "twisted.internet.reactor" not in loaded
    assert [name for name in loaded if name.startswith("grenache_py")] == []


def test_another_reactor_can_be_chosen_for_each_plugin(installed: Path, tmp_path: Path) -> None:
    for plugin in ("grape", "exchange"):
        succeed(installed / "twistd", "--reactor=asyncio", plugin, "--help", cwd=tmp_path)
        succeed(installed / "twist", "--reactor=asyncio", plugin, "--help", cwd=tmp_path)


def test_the_wheel_has_every_file_and_shadows_nothing(wheel: Path, source: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = {
        str(path.relative_to(source))
        for path in (source / "grenache_py").rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    (data,) = {name.partition("/")[0] for name in names if ".data/" in name}
    pages = {
        f"{data}/data/share/man/man{path.suffix[1:]}/{path.name}"
        for path in (source / "man").iterdir()
    }
    assert len(pages) == 5
    assert names == files | pages | {"twisted/plugins/grenache_py_plugins.py"}


def test_man_finds_the_pages_of_an_environment(installed: Path, tmp_path: Path) -> None:
    if shutil.which("man") is None:
        pytest.skip("needs man")
    for page in ("exchange", "grenache", "exchange-protocol", "grape", "twistd-exchange"):
        path = f"{installed}{os.pathsep}{os.environ['PATH']}"
        found = succeed("man", "-w", page, cwd=tmp_path, PATH=path, MANPATH="")
        assert Path(found.strip()).is_relative_to(installed.parent)


def test_a_users_programs_are_checked_strictly_against_the_wheel(
    wheel: Path, tmp_path: Path
) -> None:
    """No source tree is near: what mypy knows of us is what ``pip install`` brings."""
    web = [name for name in ("fastapi", "uvicorn", "aiohttp") if find_spec(name)]
    commands = empty_environment(tmp_path / "venv", *web)
    succeed(*PIP, "--python", commands / "python", *INSTALL, wheel, cwd=tmp_path)
    examples = shutil.copytree(ROOT / "examples", tmp_path / "examples")
    programs = [
        path
        for path in sorted(examples.glob("*.py"))
        if path.stem not in ("fastapi_app", "aiohttp_app") or len(web) == 3
    ]
    assert len(programs) > 8
    mypy = (sys.executable, "-m", "mypy", "--strict", "--python-executable", commands / "python")
    succeed(*mypy, *programs, cwd=tmp_path)
    # What is wrong is found: each comment of this file names the error of its line.
    shutil.copy(ROOT / "tests" / "trading" / "typed.py", tmp_path)
    succeed(*mypy, "typed.py", cwd=tmp_path)
    typed = (tmp_path / "typed.py").read_text()
    (tmp_path / "wrong.py").write_text(typed.replace("# type: ignore", "# was ignored"))
    found = run(*mypy, "wrong.py", cwd=tmp_path).stdout
    assert found.count(": error:") == typed.count("# type: ignore") > 3, found


def test_no_init_file_makes_our_twisted_folder_a_package() -> None:
    assert list((ROOT / "twisted").rglob("__init__.py")) == []
