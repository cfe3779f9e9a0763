"""`memdb-ingest --config`: the example of the tour, as a process against a server, with films for cameras."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from perception.cli import EXIT_USAGE
from tests.docs.blocks import blocks_of
from tests.e2e.serving import Served, serving
from tests.e2e.test_server_away import COLOURS
from tests.forked.command import run_command
from tests.unit.perception.films import write_film

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[2]
LENGTH_S = 8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the tour's file, and the films that it names."""
    (text,) = blocks_of(ROOT / "docs" / "tour.md", "toml")
    (tmp_path / "cameras.toml").write_text(text)
    for name in ("yard", "kitchen"):
        write_film(tmp_path / f"{name}.mp4", [(colour, LENGTH_S / 2) for colour in COLOURS[:2]])
    return tmp_path


def ingest(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return run_command(
        "tests.e2e.seeing_by_hashes",
        *("--config", "cameras.toml", *arguments),
        folder=folder,
        environment={**os.environ, **environment},
    )


def labels(served: Served, stream: str) -> list[dict[str, str]]:
    clips = served.database.user("alice").clips(stream=stream)
    return [{key: clip.labels[key] for key in clip.labels if key != "objects"} for clip in clips]


def test_two_cameras_of_different_rates_and_labels(folder: Path) -> None:
    with serving(folder / "data") as served:
        done = ingest(folder, "--server", served.address)
        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout)
        cameras: dict[str, Any] = {camera["camera"]: camera for camera in summary["cameras"]}
        frames = {name: camera["frames"] for name, camera in cameras.items()}
        assert frames == {"yard": 2 * LENGTH_S, "kitchen": LENGTH_S}
        assert {camera["start"] for camera in cameras.values()} == {"2026-01-06T09:00:00.000Z"}

        home = {"site": "home"}
        assert labels(served, "yard") == [home | {"zone": "yard"}] * cameras["yard"]["clips"]
        assert labels(served, "kitchen") == [home] * cameras["kitchen"]["clips"]
        streams = {stream.name: stream for stream in served.database.user("alice").streams()}
        assert {name: stream.zone for name, stream in streams.items()} == {
            "yard": "Europe/Berlin",
            "kitchen": "Europe/Berlin",
        }

        for camera in cameras.values():
            taken = camera["processor_s"]
            assert list(taken) == ["read", "assemble", "send"]
            # To send these few clips takes less than half a millisecond of a quick processor, which is told as nothing.
            assert all(taken[part] > 0 for part in ("read", "assemble"))
        assert summary["processor_s"] > sum(
            seconds for camera in cameras.values() for seconds in camera["processor_s"].values()
        )


def test_the_command_line_wins(folder: Path) -> None:
    with serving(folder / "data") as served:
        done = ingest(
            folder, "--server", served.address, "--rate", "4", "--label", "zone=all",
            "--camera", "porch=${FILM}", "--camera", "kitchen=yard.mp4", "--user", "bob",
            FILM=str(folder / "kitchen.mp4"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout)
        assert summary["user"] == "bob"
        frames = {camera["camera"]: camera["frames"] for camera in summary["cameras"]}
        assert frames == dict.fromkeys(("yard", "kitchen", "porch"), 4 * LENGTH_S)
        for clip in served.database.user("bob").clips():
            assert (clip.labels["site"], clip.labels["zone"]) == ("home", "all")


def test_a_wrong_file_ends_with_status_2(folder: Path) -> None:
    with (folder / "cameras.toml").open("a") as file:
        file.write("\nfps = 5\n")
    done = ingest(folder)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (EXIT_USAGE, "", 1)
    assert "[camera.kitchen] fps: no such key" in done.stderr
