"""Results that nobody takes, and standard files that are closed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from memdb.config import EngineConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.output import Output

CONFIG = EngineConfig(map_bytes_initial=1 << 20)
LOOK = """
import os, sys
from memdb.cli import users
from memdb.cli.main import main

told = users._told
def look(*args, **options):
    names = [os.readlink(f"/proc/self/fd/{fd}") for fd in range(3)]
    with open(sys.argv[2], "w") as file:
        file.write(" ".join(names))
    return told(*args, **options)

users._told = look
sys.exit(main(["users", sys.argv[1]]))
"""
"""`memdb users` of a directory, which notes in a file what the standard files are while a user is open."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with EmbeddedDatabase(tmp_path / "data", config=CONFIG) as db:
        db.user("alice").put("diet", 1)
    return tmp_path / "data"


def run(*arguments: str | Path, to: int, program: str = "memdb.cli.main") -> tuple[int, str]:
    """The exit status of a command whose result goes there, and what it says."""
    done = subprocess.run(
        [sys.executable, "-m", program, *map(str, arguments)],
        stdout=to,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("verb", ["users", "verify"])
def test_who_has_read_enough_is_told_nothing(data: Path, verb: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert run(verb, data, to=writer) == (1, "")
    finally:
        os.close(writer)


@pytest.mark.parametrize("verb", ["users", "verify"])
def test_a_result_that_cannot_be_written_is_one_line(data: Path, verb: str) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        status, told = run(verb, data, to=full)
    finally:
        os.close(full)
    assert status == 1
    assert told == "memdb: OUTPUT_LOST: the result cannot be written: No space left on device\n"


@pytest.mark.parametrize("wanted", ["--help", "--version"])
@pytest.mark.parametrize(
    "program", ["memdb.cli.main", "perception.cli", "perception.import_ixc", "reasoner.cli"]
)
def test_help_that_cannot_be_written_is_one_line(program: str, wanted: str) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        status, told = run(wanted, to=full, program=program)
    finally:
        os.close(full)
    assert status == 1
    assert told.endswith(": OUTPUT_LOST: the result cannot be written: No space left on device\n")
    assert told.count("\n") == 1


def test_who_has_read_enough_of_the_help_is_told_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert run("verify", "--help", to=writer) == (1, "")
    finally:
        os.close(writer)


def test_a_server_whose_address_nobody_takes_does_not_start(data: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        status, told = run("serve", "--data", data, "--listen", "127.0.0.1:0", to=writer)
    finally:
        os.close(writer)
    assert status == 1
    assert told == "memdb: OUTPUT_LOST: the result cannot be written: Broken pipe\n"


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_no_file_of_a_database_takes_the_place_of_a_standard_one(
    data: Path, closed: tuple[int, ...]
) -> None:
    closing = " ".join(f"{fd}>&-" for fd in closed)
    noted = data.parent / "names"
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" {closing}', sys.executable, "-c", LOOK, data, noted],
        capture_output=True,
        check=False,
    )
    names = noted.read_text().split()
    assert [names[fd] for fd in closed] == ["/dev/null"] * len(closed)
    assert done.returncode == 0


@pytest.mark.parametrize("rule", ["strict", "surrogateescape"])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_a_terminal_cannot_show_is_json_all_the_same(encoding: str, rule: str) -> None:
    text = "caf\u00e9 \u2013 \N{CAT} \udcff"
    told = json.dumps({"text": text}, ensure_ascii=False)
    raw = io.BytesIO()
    output = Output(io.TextIOWrapper(raw, encoding=encoding, errors=rule))
    assert output.write(told) == len(told)
    output.flush()
    assert json.loads(raw.getvalue().decode(encoding)) == {"text": text}
