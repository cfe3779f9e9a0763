"""What `memdb-ask` cannot do, or was not asked rightly, is told in a line, and the rest answered."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

import pytest

from memdb import Unavailable
from reasoner.answer import Answer
from reasoner.cli import main
from reasoner.demo.processes import free_port
from reasoner.reasoner import Reasoner
from tests.e2e.ask.scenes import moment
from tests.unit.reasoner.chat_peer import ChatPeer

pytestmark = [pytest.mark.e2e, pytest.mark.weights]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--user", "nobody", "a cat"], "USER_NOT_FOUND"),
        (["--user", "a/b", "a cat"], "BAD_ID"),
        (
            ["--user", "alice", "--camera", "cellar", "a cat"],
            "there are kitchen, yard (field camera",
        ),
        (
            ["--user", "alice", "--space", "nowhere", "a cat"],
            "SPACE_NOT_FOUND: no such space; there are bundled",
        ),
        (["--user", "alice", "--space", "other", "a cat"], "ENCODER_MISSING"),
        (["--user", "mixed", "--camera", "a", "a cat"], "ENCODER_MISSING"),
        (["--user", "torn", "a cat"], "SPACE_REQUIRED"),
        (["--user", "alice", "--start", "yesterday", "a cat"], "BAD_TIME"),
        (["--user", "alice", "--start", "2026-01-05T09:00:00", "a cat"], "BAD_TIME"),
        (["--user", "alice", "--end", "2026-01-05", "a cat"], "BAD_TIME"),
        (["--user", "alice", "--as-of", "2026-01-05T09:00:00", "a cat"], "BAD_TIME"),
        (["--user", "alice", "--min-score", "1.5", "a cat"], "OUT_OF_RANGE"),
        (["--user", "alice", "--min-score", "nan", "a cat"], "OUT_OF_RANGE"),
        (["--user", "alice", "--as-of", "no-such-snapshot", "a cat"], "SNAPSHOT_NOT_FOUND"),
        (["--user", "alice", "--limit", "0", "a cat"], "OUT_OF_RANGE"),
        (["--user", "alice", "--about", "", "a cat"], "EMPTY"),
        (["--user", "alice", "--hours", "9am-5pm", "a cat"], "such as 22:00-06:00 or 9-17;"),
        (["--user", "alice", "--questions", "/nowhere/at/all"], "BAD_FILE"),
        (["--user", "alice", "a cat", "--llm", "ftp://x", "--model", "m"], "BAD_URL"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[1:]),
)
def test_an_error_is_one_line_and_an_exit_code(
    server: str, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    failed = "NOT_FOUND" in told or told == "ENCODER_MISSING"
    status = 1 if failed else 2
    assert main(["--server", server, *arguments]) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("memdb-ask: ")
    assert told in shown.err
    assert shown.err.count("\n") == 1


def test_a_language_model_that_fails_is_an_error(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with ChatPeer(status=403) as peer:
        options = ["--llm", peer.url, "--model", "small", "--user", "alice"]
        assert main(["--server", server, "a cat", "the keys", *options]) == 1
    shown = capsys.readouterr()
    assert shown.err.count("LLM_PERMISSION_DENIED") == 2
    # What memory has is told all the same.
    assert "kitchen  2026-01-05 09:00:10.0–09:00:20.0  seen" in shown.out
    assert "the language model did not answer" in shown.out


def test_what_was_answered_before_an_error_is_printed(
    server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    ask_really = Reasoner.ask

    def ask(self: Reasoner, text: str, **options: Any) -> Answer:
        asked.append(text)
        if len(asked) == 2:
            raise Unavailable("the server went away")
        return ask_really(self, text, **options)

    monkeypatch.setattr(Reasoner, "ask", ask)
    assert main(["--server", server, "--user", "alice", "a cat", "the keys"]) == 1
    shown = capsys.readouterr()
    assert "kitchen  2026-01-05 09:00:10.0–09:00:20.0  seen" in shown.out
    assert "the server went away" in shown.err


def test_a_bad_question_does_not_keep_the_others_from_being_asked(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = ["Was there a cat?", "", "?", "Where are the keys?"]
    command = ["--server", server, "--user", "alice", *questions]
    assert main([*command, "--json"]) == 1
    shown = capsys.readouterr()
    rows = [json.loads(line) for line in shown.out.splitlines()]
    assert [row["question"] for row in rows] == questions
    assert ["EMPTY" in row.get("error", "") for row in rows] == [False, True, True, False]
    assert [row.get("reason") for row in rows] == [None, "EMPTY", "EMPTY", None]
    assert moment(rows[3]) == ("said", "kitchen", "2026-01-05T09:00:00.000Z")
    told = shown.err.splitlines()
    assert [line.partition(": EMPTY")[0] for line in told] == [
        "memdb-ask: question 2",
        "memdb-ask: question 3",
    ]
    assert main(command) == 1
    assert "EMPTY: a question has words" in capsys.readouterr().out


def test_a_question_without_its_quotes_is_told(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["--server", server, "--user", "alice"]
    assert main([*command, "a", "cat"]) == 0
    assert "2 questions of a word each" in capsys.readouterr().err
    assert main([*command, "a cat", "dog"]) == 0
    assert capsys.readouterr().err == ""


def test_one_camera_of_several_that_there_is_not(
    server: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cameras = ["--camera", "yard", "--camera", "garag"]
    assert main(["--server", server, "--user", "alice", "a cat", *cameras]) == 2
    told = "NO_STREAMS: no such cameras; there are kitchen, yard (field camera, value garag)"
    assert told in capsys.readouterr().err


def test_a_missing_extra_is_one_line() -> None:
    code = "import sys; sys.modules['tokenizers'] = None; from reasoner.cli import main"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; sys.exit(main())", "--server", "127.0.0.1:9",
         "--user", "alice", "a cat"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    told = 'memdb-ask: tokenizers is not installed: this needs the extra "memdb[reasoner]"\n'
    assert done.stderr == told


def test_a_server_without_a_port(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--server", "localhost", "--user", "alice", "a cat"]) == 2
    assert "BAD_ADDRESS" in capsys.readouterr().err


def test_a_server_that_is_not_there_is_told_soon(capsys: pytest.CaptureFixture[str]) -> None:
    started_s = time.monotonic()
    assert main(["--server", f"127.0.0.1:{free_port()}", "--user", "alice", "a cat"]) == 1
    assert time.monotonic() - started_s < 15
    assert "is memdb serve running there?" in capsys.readouterr().err


def test_no_server_is_an_error_in_the_time_given(capsys: pytest.CaptureFixture[str]) -> None:
    server = f"127.0.0.1:{free_port()}"
    assert main(["--server", server, "--user", "alice", "--timeout", "0.5", "a cat"]) == 1
    assert "UNAVAILABLE" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--user", "alice"],
        ["--use", "alice", "a cat"],
        ["a cat"],
        ["--user", "alice", "a cat", "--llm", "http://x"],
        ["--user", "alice", "a cat", "--model", "small"],
    ],
)
def test_wrong_usage_is_exit_code_2(server: str, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--server", server, *arguments])
    assert caught.value.code == 2
