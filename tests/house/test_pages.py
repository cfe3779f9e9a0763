"""What pages, docstrings and tests name is there: files, modules, and the tests that reproduce each row of the table
of defects.
"""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = (
    "bench",
    "clients",
    "docs",
    "memdb",
    "perception",
    "proto",
    "reasoner",
    "scripts",
    "tests",
)
NAMED = re.compile(rf"(?<![\w./-])((?:{'|'.join(FOLDERS)})/[\w./-]*\w)")
CODE = ("memdb", "perception", "reasoner", "clients", "bench", "scripts", "tests")
DOTTED = re.compile(
    r"(?<!`)`((?:memdb|memdb_client|perception|reasoner|bench|scripts|tests)(?:\.\w+)+)`(?!`)"
)
ENDINGS = (".py", ".pyi", ".cc", ".h", ".proto", ".sh")
SOURCE = re.compile(rf"(?<![\w./-])[\w/]+(?:{'|'.join(map(re.escape, ENDINGS))})(?!\w)")
MADE = {"bench/.peers"}
"""By `make`."""
TEST_ID = re.compile(r"\"(tests/[\w/]+\.py)::(test_\w+)\"")
COMMAND = re.compile(r"`(?:[A-Z_]+=\S+ )*pytest ([^`]+)`")
OPERATORS = {"and", "or", "not"}


def commands() -> list[str]:
    """What is given to pytest, on every page."""
    return [found for page in PAGES for found in COMMAND.findall(page.read_text())]


def paths(command: str) -> list[Path]:
    """The test files of a command."""
    named = [word.partition("::")[0] for word in shlex.split(command) if word.startswith("tests/")]
    return [
        file
        for name in named
        for file in (
            sorted((ROOT / name).rglob("*.py")) if (ROOT / name).is_dir() else [ROOT / name]
        )
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    missing = sorted(
        {
            name
            for name in NAMED.findall(page.read_text())
            if name not in MADE and not (ROOT / name).exists()
        }
    )
    assert missing == []


def sources() -> list[str]:
    """Paths of all sources, each behind a slash; not of what was installed below a hidden folder."""
    found = []
    for folder in (*FOLDERS, "edge"):
        for place, folders, files in os.walk(ROOT / folder):
            folders[:] = [name for name in folders if not name.startswith(".")]
            inside = Path(place).relative_to(ROOT)
            found += [f"/{inside / name}" for name in files if name.endswith(ENDINGS)]
    return found


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "edge/README.md"], ids=lambda page: str(page.relative_to(ROOT))
)
def test_sources_that_a_page_names_by_the_end_of_their_paths_are_there(page: Path) -> None:
    """Such as `engine/users.py`, or `slots.py` behind it."""
    code = re.findall(r"`([^`\n]+)`", page.read_text())
    named = {name for words in code for name in SOURCE.findall(words)}
    there = sources()
    missing = [name for name in named if not any(path.endswith(f"/{name}") for path in there)]
    assert sorted(missing) == []


def test_every_row_of_the_table_selects_a_test() -> None:
    """By its words, each of which stands in the name or the cases of a test."""
    assert len(commands()) > 200
    unknown = []
    for command in commands():
        text = " ".join(f"{file.name} {file.read_text()}" for file in paths(command)).lower()
        words = shlex.split(command)
        chosen = words[words.index("-k") + 1] if "-k" in words else ""
        unknown += [
            f"{word}: {command}"
            for word in re.findall(r"[\w-]+", chosen)
            if word not in OPERATORS and word.lower() not in text
        ]
    assert unknown == []


def test_what_a_docstring_names_is_there() -> None:
    """Modules, and what is named within them, such as `memdb.engine.view.View`."""
    unknown = []
    for folder in CODE:
        for file in sorted((ROOT / folder).rglob("*.py")):
            if file.is_relative_to(ROOT / "memdb" / "v1"):
                continue
            text = file.read_text()
            unknown += [
                f"{file.relative_to(ROOT)}: {name}"
                for name in sorted(set(DOTTED.findall(text)))
                if not is_there(name)
            ]
    assert unknown == []


def is_there(name: str) -> bool:
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        for root in (ROOT, ROOT / "clients" / "python"):
            module = root.joinpath(*parts[:count])
            if module.is_dir() and count == len(parts):
                return True
            for file in (module.with_suffix(".py"), module / "__init__.py"):
                if file.is_file():
                    # What a package gives may be defined in any of its modules.
                    files = module.glob("*.py") if file.name == "__init__.py" else (file,)
                    text = "\n".join(each.read_text() for each in files)
                    return all(re.search(rf"\b{part}\b", text) for part in parts[count:])
    return False


def test_tests_that_are_named_by_others_are_there() -> None:
    named = {
        found
        for file in (ROOT / "tests").rglob("*.py")
        for found in TEST_ID.findall(file.read_text())
    }
    assert named
    assert [
        f"{file}::{name}"
        for file, name in sorted(named)
        if not (ROOT / file).is_file() or f"def {name}(" not in (ROOT / file).read_text()
    ] == []


def test_the_page_of_the_edge_names_each_of_its_files() -> None:
    """As ``src/name.*``, or with its ending; and no other."""
    rows = [
        line for line in (ROOT / "edge/README.md").read_text().splitlines() if "| `src/" in line
    ]
    named = {name for row in rows for name in re.findall(r"`src/([\w.*]+)`", row.split("|")[1])}
    files = {path.name for path in (ROOT / "edge/src").iterdir()}
    assert {file for file in files if not {file, f"{file.partition('.')[0]}.*"} & named} == set()
    stems = files | {f"{file.partition('.')[0]}.*" for file in files}
    assert named - stems == set()
