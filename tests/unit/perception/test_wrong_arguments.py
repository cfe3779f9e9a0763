"""A wrong argument of a command is told before files and cameras are opened, networks are loaded, or a server is waited
for.
"""

from __future__ import annotations

import pytest

from perception import cli, import_ixc

NOBODY = "127.0.0.1:1"
"""Where no server is: whoever asks it is told ``UNAVAILABLE``."""
COMMON = [
    (["--server", "nowhere"], "BAD_ADDRESS"),
    (["--user", ""], "field user"),
    (["--space", "a b"], "field space"),
    (["--token", "a\nb"], "BAD_TOKEN"),
    (["--tls", "/nowhere.pem"], "BAD_TLS"),
    (["--epoch", str(2**32)], "field epoch"),
]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        *COMMON,
        (["--camera", "a b=/nowhere.mp4"], "field camera"),
        (["--encoder", "eyes"], "field encoder"),
        (
            ["--whisper", "ears"],
            "known model (whisper-tiny.en, whisper-base) nor a directory (field whisper",
        ),
        (
            ["--language", "de"],
            "camera porch: the model hears English only; --whisper whisper-base",
        ),
    ],
)
def test_of_an_ingest(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--server", NOBODY, "--user", "alice", "--camera", "porch=/nowhere.mp4", *arguments]
    assert cli.main(options) == cli.EXIT_USAGE
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "told"), [*COMMON, (["--stream", ""], "field stream")])
def test_of_an_import(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["/nowhere.pth", "--server", NOBODY, "--user", "alice", "--stream", "s"]
    assert import_ixc.main([*options, "--space", "ixc", *arguments]) == 2
    assert told in capsys.readouterr().err
