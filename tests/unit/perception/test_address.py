"""Addresses of cameras."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from memdb import InvalidArgument
from perception.camera import Camera
from perception.cli import _may_have_video
from perception.errors import SourceNotFound
from perception.ingest_options import IngestOptions
from perception.sources.address import is_file, plays_once, resolved, scheme, shown
from perception.sources.file import FileSource


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("rtsp://admin:secret@10.0.0.5:554/live", "rtsp://***@10.0.0.5:554/live"),
        ("rtsp://admin:p@ss@10.0.0.5/live", "rtsp://***@10.0.0.5/live"),
        (
            "http://cam/flv?port=1935&user=admin&Password=secret&stream=main",
            "http://cam/flv?port=1935&user=***&Password=***&stream=main",
        ),
        (
            "srt://10.0.0.5:9000?mode=caller&passphrase=secret-of-ten",
            "srt://10.0.0.5:9000?mode=caller&passphrase=***",
        ),
        (
            "http://cam/v.cgi?loginuse=me&loginpas=a&access_token=b&api_key=c&rate=5",
            "http://cam/v.cgi?loginuse=***&loginpas=***&access_token=***&api_key=***&rate=5",
        ),
        ("http://cam/?token=abc#x", "http://cam/?token=***#x"),
        (
            "srt://cam:9000?mode=caller&passphrase=secret",
            "srt://cam:9000?mode=caller&passphrase=***",
        ),
        ("rtsp://10.0.0.5/user@home", "rtsp://10.0.0.5/user@home"),
        ("films/a@b.mp4", "films/a@b.mp4"),
        ("alsa:default", "alsa:default"),
    ],
)
def test_an_address_is_told_without_its_secrets(address: str, told: str) -> None:
    assert shown(address) == told


def test_an_error_names_no_password() -> None:
    with pytest.raises(SourceNotFound) as caught:
        FileSource("rtsp://admin:secret@127.0.0.1:9/live")
    assert "secret" not in str(caught.value)
    assert caught.value.value == "rtsp://***@127.0.0.1:9/live"


def test_a_variable_is_resolved_once_and_told_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMERA", "rtsp://me:${SECRET}@127.0.0.1:9/live")
    assert resolved("${CAMERA}") == "rtsp://me:${SECRET}@127.0.0.1:9/live"
    assert (scheme("${CAMERA}"), shown("${CAMERA}")) == ("rtsp", "${CAMERA}")
    with pytest.raises(SourceNotFound) as caught:
        FileSource("${CAMERA}")
    assert caught.value.value == "${CAMERA}"
    with pytest.raises(InvalidArgument, match="not set") as unset:
        FileSource("rtsp://me:${SECRET}@127.0.0.1:9/live")
    assert (unset.value.reason, unset.value.value) == ("NOT_SET", "SECRET")
    monkeypatch.setenv("FOLDER", str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    assert plays_once("${FOLDER}/pipe")


def test_what_plays_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "film.mp4").touch()
    assert plays_once(str(tmp_path / "pipe"))
    assert not any(map(plays_once, [str(tmp_path / "film.mp4"), "rtsp://cam/1", "alsa:default"]))


@pytest.mark.timeout(20)
def test_a_pipe_is_not_looked_into_before_it_is_read(tmp_path: Path) -> None:
    """Nobody writes to it: who opened it would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    pipe = [Camera("door", str(tmp_path / "pipe"))]
    assert _may_have_video(pipe, IngestOptions(), with_audio=False)


def test_a_file_is_one_by_its_url_too_and_no_other_url_is(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    path.touch()
    assert is_file(str(path))
    assert is_file(f"file://{path}")
    assert not is_file(str(tmp_path))
    # Signed ones are longer than a path may be.
    assert not is_file(f"https://camera/live.m3u8?signature={'a' * 5000}")
