"""The settings of cameras in docs/operations.md are what `memdb-ingest` takes, and all it takes is named."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from perception import settings
from perception.command_line import camera
from perception.settings import merged, read_settings
from tests.docs.blocks import blocks_of

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


def test_the_example_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (text,) = [block for block in blocks_of(PAGE, "toml") if "[camera." in block]
    path = tmp_path / "cameras.toml"
    path.write_text(text)
    for name in re.findall(r"\$\{(\w+)\}", text):
        monkeypatch.setenv(name, f"{name}-value")
    found = read_settings(path)
    porch, drive, desk, tour = (
        camera(name, merged(found.common, own), math.inf).options
        for name, own in found.cameras.items()
    )
    assert porch is not None
    assert (porch.rate_hz, porch.labels) == (2, {"site": "home", "zone": "porch"})
    assert (porch.zone, porch.reconnect_s, porch.codec) == ("Europe/Berlin", math.inf, "delta")
    assert drive is not None
    assert (drive.with_audio, drive.codec, drive.rate_hz, drive.scene) == (
        False,
        "coarse",
        1.0,
        0.8,
    )
    assert desk is not None
    assert (desk.reconnect_s, desk.language, desk.sound_track) == (0, "de", None)
    assert tour is not None
    assert (tour.language, tour.sound_track, tour.start_ns) == ("en", 2, 1_767_603_600_000_000_000)
    assert found.common["token"] == "MEMDB_TOKEN-value"


def test_every_key_is_named() -> None:
    section = PAGE.read_text().split("### Many cameras")[1].split("###")[0]
    keys = {**settings._OF_AGENT, **settings._OF_ONE_CAMERA}
    assert [key for key in keys if f"`{key}`" not in section] == []
