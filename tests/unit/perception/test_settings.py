"""The settings file of `memdb-ingest`."""

from __future__ import annotations

from pathlib import Path

import pytest

from memdb import InvalidArgument
from perception.cli import EXIT_USAGE, main
from perception.settings import Settings, merged, read_settings

PORCH = '[camera.porch]\nsource = "porch.mp4"\n'


def read(folder: Path, text: str) -> Settings:
    path = folder / "cameras.toml"
    path.write_text(text, "utf-8")
    return read_settings(path)


def test_each_camera_has_what_is_said_of_it_above_what_is_said_of_all(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        """
        server = "localhost:7700"
        user = "alice"
        reconnect_s = inf
        rate = 2
        labels = { site = "home", side = "south" }
        start = 2026-01-05T09:00:00Z

        [camera.porch]
        source = "rtsp://10.0.0.5/live"
        labels = { side = "east" }
        audio = false

        [camera.kitchen]
        source = "kitchen.mp4"
        rate = 0.5
        """,
    )
    porch, kitchen = (merged(settings.common, own) for own in settings.cameras.values())
    assert list(settings.cameras) == ["porch", "kitchen"]
    assert (porch.source, porch.rate, porch.audio) == ("rtsp://10.0.0.5/live", 2, False)
    assert (kitchen.source, kitchen.rate, kitchen.audio) == ("kitchen.mp4", 0.5, True)
    assert porch.labels == {"site": ["home"], "side": ["east"]}
    assert kitchen.labels == {"site": ["home"], "side": ["south"]}
    assert porch.start == "2026-01-05T09:00:00+00:00"
    assert kitchen.reconnect_s == float("inf")
    assert kitchen.codec == "delta"


def test_the_command_line_wins_and_labels_do_key_by_key(tmp_path: Path) -> None:
    settings = read(tmp_path, 'rate = 2\nlabels = { a = "1", b = "2" }\n' + PORCH + "rate = 3\n")
    given = {"rate": 4.0, "labels": {"b": ["5"]}}
    options = merged(settings.common, settings.cameras["porch"], given)
    assert (options.rate, options.labels) == (4.0, {"a": ["1"], "b": ["5"]})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("colour = 2\n" + PORCH, "colour: no such key; server, token,"),
        ("fps = 2\n" + PORCH, "fps: no such key; did you mean rate?"),
        (PORCH + 'stream = "a.mp4"', "[camera.porch] stream: no such key; did you mean source?"),
        (PORCH + 'url = "a.mp4"', "[camera.porch] url: no such key; did you mean source?"),
        (PORCH + "sound_track = 1.5", "[camera.porch] sound_track: expected a whole number from 1, or"),
        (PORCH + "sound_track = true", "[camera.porch] sound_track: expected a whole number from 1"),
        (PORCH + 'scene = "high"', "[camera.porch] scene: expected a number"),
        (PORCH + "language = 1", "[camera.porch] language: expected text in quotes"),
        (PORCH + "rat = 2", "[camera.porch] rat: no such key; did you mean rate?"),
        (PORCH + 'user = "bob"', "[camera.porch] user: is of all cameras together"),
        ('source = "a.mp4"', "source: is of one camera"),
        (PORCH + 'rate = "2"', "[camera.porch] rate: expected a number"),
        (PORCH + "rate = true", "[camera.porch] rate: expected a number"),
        (PORCH + "epoch = 1.5", "[camera.porch] epoch: expected a whole number"),
        (PORCH + "audio = 0", "[camera.porch] audio: expected true or false"),
        (PORCH + 'labels = "zone=porch"', "[camera.porch] labels: expected a table of texts"),
        (PORCH + "labels = { zone = 1 }", "[camera.porch] labels: expected a table of texts"),
        (PORCH + "start = 2026-01-05", "[camera.porch] start: expected a time"),
        ("[camera.porch]\nrate = 2", "[camera.porch] has no source"),
        ('[cameras.porch]\nsource = "a.mp4"', "cameras: no such key; a camera has a section [camera.NAME]"),
        ('camera = "a.mp4"', "camera: expected a section for each"),
        ('[camera]\nporch = "a.mp4"', "camera.porch: expected a section [camera.porch]"),
        (PORCH + PORCH, "[camera.porch] is there twice (at line 3, "),
        ("rate = 2\nrate = 3\n" + PORCH, "(at line 2, "),
        (PORCH + "rate 2", "(at line 3, "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_by_section_and_key_or_by_line(
    tmp_path: Path, text: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read(tmp_path, text)
    assert caught.value.reason == "BAD_SETTINGS"
    assert told in caught.value.message
    path = tmp_path / "cameras.toml"
    assert main(["--config", str(path), "--server", "localhost:1", "--user", "a"]) == EXIT_USAGE
    out, error = capsys.readouterr()
    assert (out, error.count("\n"), told in error, str(path) in error) == ("", 1, True, True)


def test_no_value_is_told(tmp_path: Path) -> None:
    for wrong in ('sorce = "rtsp://u:hush@cam/1"', 'rate = "hush"', '"hush" 3', 'zone = "hush'):
        with pytest.raises(InvalidArgument) as caught:
            read(tmp_path, PORCH + wrong)
        assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("rate = 0", "camera porch: rate lies in (0, 30]"),
        ('zone = "Europe/Nowhere"', "camera porch: "),
        ('codec = "best"', "camera porch: "),
        ("start = 2026-01-05T09:00:00", "camera porch: "),
        ('labels = { objects = "cat" }', "camera porch: clips have this label of their own"),
        ("reconnect_s = -1", "camera porch: between 0 and inf"),
        ("sound_track = 0", "camera porch: a number from 1, or a language such as deu"),
        ('sound_track = ""', "camera porch: a number from 1, or a language such as deu"),
        ("scene = 1.1", "camera porch: between -1 and 1"),
        ("epoch = -1", "camera porch: expected an integer from 0"),
        ("scene = nan", "camera porch: between -1 and 1"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_told_with_its_camera(
    tmp_path: Path, wrong: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cameras.toml"
    path.write_text('server = "localhost:1"\nuser = "a"\n' + PORCH + wrong, "utf-8")
    assert main(["--config", str(path)]) == EXIT_USAGE
    assert told in capsys.readouterr().err


def test_a_file_that_is_absent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config", str(tmp_path / "none.toml")]) == EXIT_USAGE
    assert "No such file" in capsys.readouterr().err


def test_what_neither_says_is_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cameras.toml"
    path.write_text('user = "alice"')
    with pytest.raises(SystemExit) as ended:
        main(["--config", str(path)])
    assert ended.value.code == EXIT_USAGE
    told = capsys.readouterr().err
    assert "the following arguments are required: --server, --camera, or in --config" in told


def test_variables_are_resolved_and_their_values_never_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOST", "localhost:1")
    text = (
        'server = "${HOST}"\ntoken = "${TOKEN}"\nuser = "a"\n[camera.porch]\nsource = "${CAMERA}"\n'
    )
    for name in ("TOKEN", "CAMERA"):
        with pytest.raises(InvalidArgument) as caught:
            read(tmp_path, text)
        assert (caught.value.reason, caught.value.value) == ("NOT_SET", name)
        monkeypatch.setenv(name, "rtsp://me:hush/@127.0.0.1:9/live")
    settings = read(tmp_path, text)
    assert settings.common["server"] == "localhost:1"
    assert settings.cameras["porch"]["source"] == "${CAMERA}"
    assert main(["--config", str(tmp_path / "cameras.toml")]) == 3
    told = capsys.readouterr().err
    assert "${CAMERA}" in told
    assert "hush" not in told
