"""A wrong argument of `memdb-ask` is told before questions are read, anything is loaded, or a server is waited for."""

from __future__ import annotations

import sys

import pytest

from reasoner.cli import main

NOBODY = "127.0.0.1:1"
"""Where no server is: whoever asks it is told ``UNAVAILABLE``."""


class Unread:
    """A standard input that nobody reads."""

    def read(self) -> str:
        raise AssertionError("the questions were read")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--server", "nowhere"], "BAD_ADDRESS"),
        (["--user", ""], "field user"),
        (["--token", "a\nb"], "BAD_TOKEN"),
        (["--tls", "/nowhere.pem"], "BAD_TLS"),
        (["--timeout", "nan"], "field timeout,"),
        (["--llm", "http://x", "--model", "m", "--llm-timeout", "inf"], "field llm-timeout,"),
        (["--start", "yesterday"], "field start"),
        (["--limit", "0"], "field limit"),
        (["--space", "a b"], "field space"),
        (["--encoder", "eyes"], "field encoder"),
        (["--as-of", "-4"], "expected a revision, a time (RFC 3339) or the name of a snapshot"),
        (["--as-of", str(2**64)], "REVISION_NOT_FOUND"),
        (["--llm", "http://x"], "--llm needs --model"),
    ],
)
def test_it_is_told_first(
    arguments: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", Unread())
    options = ["--server", NOBODY, "--user", "alice", "--questions", "-", *arguments]
    try:
        status = main(options)
    except SystemExit as wrong_usage:
        status = int(wrong_usage.code or 0)
    assert status == (1 if told == "REVISION_NOT_FOUND" else 2)
    assert told in capsys.readouterr().err


def test_questions_are_looked_for_before_a_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--server", NOBODY, "--user", "alice", "--questions", "/nowhere.txt"]) == 2
    assert "BAD_FILE" in capsys.readouterr().err
