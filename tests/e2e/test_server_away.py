"""A server that is away while cameras go on: waited for, with bounded memory, and what is lost is a gap.

Real media through the real agent, client and server; what sees answers with hashes (`fakes.HashEncoder`).
"""

from __future__ import annotations

import json
import math
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

import memdb
import memdb_client
from memdb import Clip, Unavailable
from memdb.types.database import Database, IngestWriter
from perception import pipeline
from perception.agent import IngestAgent
from perception.camera import Camera, CameraReport
from perception.channel import Channel
from perception.cli import EXIT_INTERRUPTED
from perception.ingest_options import IngestOptions
from perception.pipeline import CLIPS_MAX
from perception.sources.base import NS_PER_S
from perception.sources.file import FileSource
from tests.e2e.serving import serving
from tests.e2e.test_broken_camera import cut_off
from tests.forked.command import ForkedCommand, run_command
from tests.unit.perception.fakes import HashEncoder
from tests.unit.perception.films import flat, write_film

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

START_NS = 1_700_000_000 * NS_PER_S
COLOURS = [flat(200, 20, 20), flat(20, 200, 20), flat(20, 20, 200)]
CLIPS = 30


def agent(database: Database, film: Path, **arguments: Any) -> IngestAgent:
    options = IngestOptions(start_ns=START_NS, revise_every=0, **arguments.pop("options", {}))
    return IngestAgent(
        database, "alice", [Camera("porch", str(film))], HashEncoder(), None, options,
        **({"report_line": lambda _: None} | arguments),
    )  # fmt: skip


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty scenes of three seconds."""
    scenes = [(COLOURS[number % 3], 3.0) for number in range(CLIPS)]
    return write_film(tmp_path_factory.mktemp("film") / "film.mkv", scenes, container="matroska",
                      frame_rate=2)  # fmt: skip


class Held:
    """A writer whose server is away until it is told otherwise."""

    def __init__(self, writer: IngestWriter, is_back: threading.Event, after: int = 0) -> None:
        """after: so many clips."""
        self._writer = writer
        self._is_back = is_back
        self._left = after
        self.is_held = False

    def send(self, clip: Clip) -> None:
        self._left -= 1
        if self._left < 0:
            self.is_held = True
            assert self._is_back.wait(60), "nobody came"
        self._writer.send(clip)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._writer.__exit__(*exc_info)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)


def run_held(database: Database, film: Path, back_at: Callable[[int], bool]) -> CameraReport:
    """Ingest with a server that is away, and back as soon as so many clips are left out."""
    is_back = threading.Event()

    class Watching(pipeline.Progress):
        def __setattr__(self, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if name == "left_out" and back_at(self.left_out):
                is_back.set()

    def open_writer(stream: str, space: str, epoch: int) -> Any:
        writer = database.user("alice").stream(stream, space=space).ingest(epoch=epoch)
        return Held(writer, is_back)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "Progress", Watching)
        (report,) = agent(database, film, open_writer=open_writer).run()
    return report


def test_a_camera_that_keeps_time_is_watched_on_and_what_is_lost_is_a_gap(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileSource, "keeps_time", True)
    monkeypatch.setattr("perception.clock_slip.SLIP_NS", 3600 * NS_PER_S)  # It is shown in no time.
    with memdb.open(tmp_path / "data") as database:
        report = run_held(database, film, lambda left_out: left_out == 10)
        assert report.error is None
        progress = report.progress
        assert progress.frames == 3 * CLIPS
        # As much as there is room for, and one on its way.
        assert progress.left_out >= 10
        assert progress.clips == progress.acks == CLIPS - progress.left_out > CLIPS_MAX
        user = database.user("alice")
        clips = user.clips()
        stored = {clip.seq: clip for clip in clips}
        assert set(range(CLIPS_MAX + 1)) <= set(stored)
        missing = {
            number
            for gap in user.stream("porch").gaps()
            for number in range(gap.first_seq, gap.last_seq + 1)
        }
        # Behind the newest that came nobody knows of any.
        assert missing == set(range(max(stored))) - set(stored)
        # What came after is told at its own time.
        for number, clip in stored.items():
            assert clip.start_ns == START_NS + 3 * number * NS_PER_S


def test_a_recording_waits_for_the_server(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_full = threading.Event()
    put = Channel.put

    def counted(channel: Any, item: Any) -> None:
        if isinstance(item, Clip) and item.seq > CLIPS_MAX:
            is_full.set()
        put(channel, item)

    monkeypatch.setattr(Channel, "put", counted)
    with memdb.open(tmp_path / "data") as database:

        def open_writer(stream: str, space: str, epoch: int) -> Any:
            writer = database.user("alice").stream(stream, space=space).ingest(epoch=epoch)
            return Held(writer, is_full)

        (report,) = agent(database, film, open_writer=open_writer).run()
        assert (report.progress.left_out, report.progress.acks) == (0, CLIPS)
        assert database.user("alice").stream("porch").gaps() == []


def test_a_stop_does_not_wait_for_a_server_that_is_away(
    tmp_path: Path, film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perception.stall.STALL_AFTER_S", 0.1)
    monkeypatch.setattr("perception.agent.STOP_GRACE_S", 3600.0)  # It is known to be away.
    is_gone = threading.Event()
    with serving(tmp_path / "data") as served:
        database = memdb_client.connect(served.address)
        writers: list[Held] = []

        def open_writer(stream: str, space: str, epoch: int) -> Any:
            handle = database.user("alice").stream(stream, space=space)
            writer = handle.ingest(epoch=epoch, reconnect_timeout_s=math.inf)
            writers.append(Held(writer, is_gone, after=2))
            return writers[0]

        made = agent(database, film, open_writer=open_writer, abandon=database.close)
        reports: list[CameraReport] = []
        thread = threading.Thread(target=lambda: reports.extend(made.run()))
        thread.start()
        deadline = time.monotonic() + 30
        while not writers or not writers[0].is_held:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    try:
        is_gone.set()
        made.stop()
        thread.join(30)
        assert not thread.is_alive()
        (report,) = reports
        assert isinstance(report.error, Unavailable)
        assert report.error.reason == "NOT_ACKNOWLEDGED"
        assert report.progress.acks <= 2
    finally:
        database.close()


def test_a_server_is_waited_for_before_anything_is_asked_of_it(tmp_path: Path, film: Path) -> None:
    """And a stop ends that."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
    lines: list[str] = []
    with memdb_client.connect(address, timeout_s=0.2) as database:
        patient = {"server_wait_s": math.inf}
        made = agent(database, film, options=patient, report_line=lines.append)
        errors: list[BaseException] = []

        def run() -> None:
            try:
                made.run()
            except Unavailable as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        deadline = time.monotonic() + 30
        while not lines:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        made.stop()
        thread.join(30)
    assert len(errors) == 1
    assert lines[0].startswith("waiting for the server for ever: failed to connect")


def test_a_signal_is_what_the_exit_code_tells(tmp_path: Path) -> None:
    """Not the camera that was away just then."""
    listener = socket.create_server(("127.0.0.1", 0))
    recording = write_film(tmp_path / "live.ts", [(COLOURS[0], 11.0)], container="mpegts")
    url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"

    def play() -> None:
        with listener:
            # Whether it is there, is looked at first.
            looked_at, _ = listener.accept()
            with looked_at:
                looked_at.sendall(recording.read_bytes())
            connection, _ = listener.accept()
            connection.sendall(recording.read_bytes())
            cut_off(connection)

    player = threading.Thread(target=play, daemon=True)
    player.start()
    with serving(tmp_path / "data") as served:
        child = ForkedCommand(
            "tests.e2e.seeing_by_hashes",
            *("--server", served.address, "--user", "alice", "--camera", f"porch={url}"),
            *("--no-audio", "--reconnect-s", "inf", "--server-wait-s", "inf"),
        )
        assert child.stderr is not None
        told = []
        for line in child.stderr:
            told.append(line)
            if "gone; trying again for ever" in line:
                break
        child.send_signal(signal.SIGINT)
        shown, _ = child.communicate(timeout=60)
        assert child.returncode == EXIT_INTERRUPTED, told
        summary = json.loads(shown)
        assert summary["interrupted"] is True
        assert "broke off" in summary["cameras"][0]["error"]
        (clip,) = served.database.user("alice").clips()
        assert clip.sealed
    player.join(10)


@pytest.mark.parametrize("is_known", [True, False], ids=["later", "at_the_start"])
def test_a_server_whose_disk_is_full_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    recording = write_film(
        tmp_path / "film.mkv", [(colour, 11.0) for colour in COLOURS], container="matroska"
    )
    is_full = threading.Event()
    refused = threading.Event()

    def statvfs(folder: Path) -> os.statvfs_result:
        found = os.statvfs(folder)
        if not is_full.is_set():
            return found
        refused.set()
        return os.statvfs_result((*found[:4], 0, *found[5:]))  # nothing is free

    monkeypatch.setattr("memdb.store.disk.os", SimpleNamespace(statvfs=statvfs))
    with serving(tmp_path / "data") as served:
        command = [
            *("tests.e2e.seeing_by_hashes", "--server", served.address, "--user", "alice"),
            *("--camera", f"porch={recording}", "--no-audio", "--server-wait-s", "60"),
        ]
        if is_known:
            # What has to be there before a clip is: spaces, and the user.
            run_command(*command).check_returncode()
        is_full.set()
        child = ForkedCommand(*command, "--epoch", "1")
        assert refused.wait(30)
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(2)
        is_full.clear()
        shown, told = child.communicate(timeout=60)

        assert child.returncode == 0, told
        (camera,) = json.loads(shown)["cameras"]
        assert camera["error"] is None
        ledger = served.database.user("alice").stream("porch").ledger(epoch=1)
        assert (ledger.clips, ledger.gaps) == (camera["acks"], ())
