"""A camera that breaks off: what it showed until then is kept.

Real media over real sockets that are cut; what sees answers with hashes (`fakes.HashEncoder`).
"""

from __future__ import annotations

import fcntl
import io
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av
import pytest

from memdb.types.database import Database
from perception.agent import IngestAgent
from perception.camera import Camera, CameraReport
from perception.comeback import Comeback
from perception.errors import SourceNotFound, SourceUnreadable
from perception.ingest_options import IngestOptions
from perception.sources.base import NS_PER_S
from perception.sources.file import FileSource
from tests.unit.perception.fakes import HashEncoder
from tests.unit.perception.films import flat, write_film

pytestmark = pytest.mark.e2e

START_NS = 1_700_000_000 * NS_PER_S
SCENES = [(flat(200, 20, 20), 4.0), (flat(20, 200, 20), 4.0), (flat(20, 20, 200), 3.0)]
SIOCOUTQ = 0x5411


def ingest(
    database: Database,
    address: str,
    report_line: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> CameraReport:
    settings = IngestOptions(**({"start_ns": START_NS} | options))
    cameras = [Camera("porch", address)]
    agent = IngestAgent(
        database, "alice", cameras, HashEncoder(), None, settings, report_line=report_line
    )
    (report,) = agent.run()
    return report


def held(
    database: Database, *, epoch: int | None = None, start_ns: int = START_NS
) -> list[tuple[int, int, int, bool]]:
    """Number, start and end (in seconds of the film) and state of every clip, or of those of an epoch."""
    return [
        (
            clip.seq,
            (clip.start_ns - start_ns) // NS_PER_S,
            (clip.end_ns - start_ns) // NS_PER_S,
            clip.sealed,
        )
        for clip in database.user("alice").clips(stream="porch")
        if epoch in (None, clip.epoch)
    ]


def cut_off(connection: socket.socket) -> None:
    """Reset the connection, once the other side has everything that was sent."""
    while struct.unpack("i", fcntl.ioctl(connection, SIOCOUTQ, bytes(4)))[0]:
        time.sleep(0.01)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.fixture
def live_url(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """Sends a transport stream to whoever connects, and is gone in the middle of it; so often, once unless the
    test says."""
    film = write_film(tmp_path / "live.ts", SCENES, container="mpegts").read_bytes()
    listener = socket.create_server(("127.0.0.1", 0))

    def play() -> None:
        with listener:
            for _ in range(getattr(request, "param", 1)):
                connection, _ = listener.accept()
                connection.sendall(film)
                cut_off(connection)

    url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    yield url
    thread.join(10)


def test_a_live_camera_that_breaks_off_keeps_what_it_showed(
    database: Database, live_url: str
) -> None:
    report = ingest(database, live_url, epoch=7)
    assert isinstance(report.error, SourceUnreadable)
    # It is not shown again: the clip that was growing is sealed, up to the last frame.
    assert held(database) == [(0, 0, 4, True), (1, 4, 8, True), (2, 8, 11, True)]
    assert (report.progress.clips, report.progress.acks) == (3, 3)


@pytest.mark.parametrize("live_url", [3], indirect=True)
def test_an_agent_beside_another_of_the_same_camera_is_told(
    database: Database, live_url: str
) -> None:
    told: dict[int, list[str]] = {}
    for epoch, start_ns in ((6, START_NS), (7, time.time_ns()), (8, time.time_ns())):
        lines: list[str] = []
        ingest(database, live_url, lines.append, epoch=epoch, start_ns=start_ns)
        told[epoch] = [line for line in lines if "stored twice" in line]
    # The first of all; one whose clips are of years ago; one of a moment ago.
    assert [len(lines) for lines in told.values()] == [0, 0, 1]
    assert told[8][0].startswith("porch: epoch 7 had a clip a moment ago")


def test_a_recording_that_breaks_off_keeps_what_was_sent(
    database: Database, tmp_path: Path
) -> None:
    film = write_film(tmp_path / "film.mkv", SCENES, container="matroska").read_bytes()
    sent = [len(film) * 9 // 10, len(film)]

    class Server(BaseHTTPRequestHandler):
        """Promises the whole film and sends a part of it, the first time."""

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(film)))
            self.end_headers()
            self.wfile.write(film[: sent[0]])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/film.mkv"
        report = ingest(database, url)
        assert isinstance(report.error, SourceUnreadable)
        before = held(database)
        # Acknowledged, and the growing clip left open for the ingest that goes on.
        assert before[:2] == [(0, 0, 4, True), (1, 4, 8, True)]
        assert report.progress.acks == report.progress.clips == 2
        del sent[0]
        assert ingest(database, url).error is None
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert held(database) == [(0, 0, 4, True), (1, 4, 8, True), (2, 8, 11, True)]


@pytest.mark.parametrize("live_url", [2], indirect=True)
def test_a_live_camera_that_comes_back_is_a_new_epoch(
    database: Database, live_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perception.comeback.PAUSE_S", 0.05)
    began_ns = time.time_ns()
    report = ingest(database, live_url, epoch=7, reconnect_s=1.0)
    (before,) = report.earlier
    assert (before.epoch, before.progress.acks, before.start_ns) == (7, 3, START_NS)
    # Nobody listens any more after the second time: it is waited for, and that is the end.
    assert (report.progress.acks, report.earlier[0].earlier) == (3, [])
    assert isinstance(report.error, SourceUnreadable)
    assert report.epoch > 7
    assert began_ns < report.start_ns < time.time_ns()
    shown = [(0, 0, 4, True), (1, 4, 8, True), (2, 8, 11, True)]
    assert held(database, epoch=7) == shown
    assert held(database, epoch=report.epoch, start_ns=report.start_ns) == shown


def test_a_camera_whose_time_parts_from_the_clock_is_begun_anew(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its film is shown in no time, which is as if the clock stood still."""
    film = write_film(tmp_path / "film.mkv", SCENES, container="matroska")
    monkeypatch.setattr(FileSource, "keeps_time", True)
    monkeypatch.setattr("perception.clock_slip.SLIP_NS", 5 * NS_PER_S)

    def opened_again(_: Comeback) -> FileSource:
        monkeypatch.setattr("perception.clock_slip.SLIP_NS", 3600 * NS_PER_S)
        return FileSource(str(film))

    monkeypatch.setattr(Comeback, "wait", opened_again)
    lines: list[str] = []
    began_ns = time.time_ns()
    report = ingest(database, str(film), report_line=lines.append, epoch=7)
    assert [line for line in lines if "apart" in line] == [
        "porch: its time and the clock's have come to be -6 s apart; begun anew"
    ]
    assert held(database, epoch=7) == [(0, 0, 4, True), (1, 4, 6, True)]
    assert report.error is None
    assert report.start_ns > began_ns
    shown = [(0, 0, 4, True), (1, 4, 8, True), (2, 8, 11, True)]
    assert held(database, epoch=report.epoch, start_ns=report.start_ns) == shown


def test_a_camera_that_is_absent_at_the_start_is_waited_for(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And keeps no other from its work."""
    monkeypatch.setattr("perception.comeback.PAUSE_S", 0.05)
    film = write_film(tmp_path / "live.ts", SCENES, container="mpegts")
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    players: list[threading.Thread] = []

    def play() -> None:
        with socket.create_server(("127.0.0.1", port)) as listener:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(film.read_bytes())

    def told(line: str) -> None:
        if line.startswith("yard: ") and "trying again" in line and not players:
            players.append(threading.Thread(target=play))
            players[0].start()

    cameras = [Camera("yard", f"tcp://127.0.0.1:{port}"), Camera("porch", str(film))]
    settings = IngestOptions(start_ns=START_NS, reconnect_s=1.0)
    yard, porch = IngestAgent(
        database, "alice", cameras, HashEncoder(), None, settings, report_line=told
    ).run()
    players[0].join()
    assert (yard.error, porch.error) == (None, None)
    assert (yard.progress.acks, porch.progress.acks) == (3, 3)
    with pytest.raises(SourceNotFound):  # where nobody is to be waited for
        IngestAgent(database, "alice", cameras, HashEncoder(), None, report_line=told)


class Pipe(io.BytesIO):
    """What a recorder that cannot go back writes to."""

    def seekable(self) -> bool:
        return False


def test_a_recording_without_a_length_does_not_come_back(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be shown again and again, each time as a new epoch."""
    pipe = Pipe()
    film = write_film(tmp_path / "film.mkv", SCENES, container="matroska")
    with av.open(str(film)) as whole, av.open(pipe, "w", format="matroska") as output:
        stream = output.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    recording = tmp_path / "recording.mkv"
    recording.write_bytes(pipe.getvalue())
    waited: list[Comeback] = []
    monkeypatch.setattr(Comeback, "wait", lambda self: waited.append(self))
    clips = [(0, 0, 4, True), (1, 4, 8, True), (2, 8, 11, True)]
    for _ in range(2):
        # The second time there is nothing new.
        report = ingest(database, str(recording), epoch=None, reconnect_s=60.0)
        assert (report.error, report.earlier, report.epoch, waited) == (None, [], 0, [])
        assert held(database) == clips


def test_a_stop_ends_the_waiting() -> None:
    stopping = threading.Event()
    stopping.set()

    def never() -> FileSource:
        raise AssertionError

    assert Comeback(never, 3600.0, stopping).wait() is None


def test_a_stop_while_it_is_opened_again_is_no_comeback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("perception.comeback.PAUSE_S", 0.01)
    film = write_film(tmp_path / "film.mkv", SCENES[:1], container="matroska")
    stopping = threading.Event()
    opened: list[FileSource] = []

    def slowly() -> FileSource:
        opened.append(FileSource(str(film)))
        stopping.set()
        return opened[0]

    assert Comeback(slowly, 3600.0, stopping).wait() is None
    assert list(opened[0].items()) == []  # it is closed
