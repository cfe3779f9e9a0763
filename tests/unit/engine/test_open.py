"""Opening what is no database directory: a typed error, and nothing left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import memdb
from memdb import FailedPrecondition, InvalidArgument
from memdb.cli.main import main


@pytest.mark.parametrize("path", ["", None, 5, b"data", "a\0b", "\ud800"])
def test_no_path(path: Any) -> None:
    with pytest.raises(InvalidArgument) as refused:
        memdb.open(path)
    assert (refused.value.reason, refused.value.field) == ("BAD_PATH", "path")


def test_the_working_directory_is_not_taken_over_by_an_empty_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidArgument):
        memdb.open("")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["file", "file/below", "x" * 300])
def test_no_place_for_a_directory(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FailedPrecondition) as refused:
        memdb.open(tmp_path / place)
    assert (refused.value.reason, refused.value.field) == ("NO_DIRECTORY", "path")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("verb", [["verify"], ["serve", "--listen", "127.0.0.1:0", "--data"]])
def test_the_command_says_so_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], verb: list[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    assert main([*verb, str(tmp_path / "file")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("memdb: N")
