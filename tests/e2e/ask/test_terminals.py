"""Where `memdb-ask` reads and writes: any terminal, a pipe that nobody reads, a standard input that is closed."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from reasoner.cli import main
from tests.forked.command import run_command

pytestmark = [pytest.mark.e2e, pytest.mark.weights]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_questions_and_terminals_of_any_encoding(server: str, encoding: str) -> None:
    """What is no text is refused by itself, and each line is JSON all the same."""
    questions = [b"\xff cat", "Gibt es 猫 🐈 – oder nicht?".encode(), b"a cat"]

    def told(*form: str) -> list[str]:
        done = run_command(
            *("reasoner.cli", "--server", server, "--user", "alice", *form),
            *map(os.fsdecode, questions),
            environment={**os.environ, "PYTHONIOENCODING": f"{encoding}:surrogateescape"},
            encoding=encoding,
        )
        assert (done.returncode, "Traceback" in done.stderr) == (1, False)
        return done.stdout.splitlines()

    rows = [json.loads(line) for line in told("--json")]
    assert [os.fsencode(row["question"]) for row in rows] == questions
    assert [row.get("reason") for row in rows] == ["BAD_TEXT", None, None]
    assert len(told()) >= 5


def test_help_is_quick_and_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    assert "memdb-ask --server localhost:7700 --user alice" in capsys.readouterr().out


@pytest.mark.parametrize("form", [(), ("--json",)], ids=["table", "json"])
def test_answers_that_nobody_takes(server: str, form: tuple[str, ...]) -> None:
    asked = [
        "--server",
        server,
        "--user",
        "alice",
        *form,
        "Was there a cat?",
        "Where are the keys?",
    ]

    def told(to: int) -> tuple[int, str]:
        try:
            done = run_command("reasoner.cli", *asked, stdout=to)
        finally:
            os.close(to)
        return done.returncode, done.stderr

    status, line = told(os.open("/dev/full", os.O_WRONLY))
    assert (status, line.count("\n")) == (1, 1)
    assert "OUTPUT_LOST" in line
    reader, writer = os.pipe()
    os.close(reader)
    assert told(writer) == (1, "")


def test_no_questions_come_from_a_standard_input_that_is_closed() -> None:
    ask = [sys.executable, "-m", "reasoner.cli", "--server", "127.0.0.1:1", "--user", "alice"]
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" "$@" 0<&-', *ask, "--questions", "-"],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "memdb-ask: error: a question, or --questions FILE"
