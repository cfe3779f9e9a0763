"""A camera that breaks off: what it showed until then is kept.

Real media over real sockets that are cut; what sees answers with hashes (`fakes.HashEncoder`).
"""

from __future__ import annotations

import fcntl
import socket
import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import memdb
from memdb.types.database import Database
from perception.agent import Camera, CameraReport, IngestAgent, IngestOptions
from perception.errors import SourceUnreadable
from perception.sources.base import NS_PER_S
from tests.unit.perception.fakes import HashEncoder
from tests.unit.perception.films import flat, write_film

pytestmark = pytest.mark.e2e

START_NS = 1_700_000_000 * NS_PER_S
SCENES = [(flat(200, 20, 20), 4.0), (flat(20, 200, 20), 4.0), (flat(20, 20, 200), 3.0)]
SIOCOUTQ = 0x5411


class PlainAgent(IngestAgent):
    """The agent without its text encoder, which these tests have no use for."""

    def _prepare_text_space(self, space: Any) -> None:
        return None


def ingest(database: Database, address: str, **options: Any) -> CameraReport:
    settings = IngestOptions(**({"start_ns": START_NS} | options))
    cameras = [Camera("porch", address)]
    agent = PlainAgent(
        database, "alice", cameras, HashEncoder(), None, settings, report_line=lambda _: None
    )
    (report,) = agent.run()
    return report


def held(database: Database) -> list[tuple[int, int, int, bool]]:
    """Number, start and end (in seconds of the film) and state of every clip."""
    return [
        (
            clip.seq,
            (clip.start_ns - START_NS) // NS_PER_S,
            (clip.end_ns - START_NS) // NS_PER_S,
            clip.sealed,
        )
        for clip in database.user("alice").clips(stream="porch")
    ]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with memdb.open(tmp_path / "data") as opened:
        yield opened


def cut_off(connection: socket.socket) -> None:
    """Reset the connection, once the other side has everything that was sent."""
    while struct.unpack("i", fcntl.ioctl(connection, SIOCOUTQ, bytes(4)))[0]:
        time.sleep(0.01)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.fixture
def live_url(tmp_path: Path) -> Iterator[str]:
    """Sends a transport stream to whoever connects, and is gone in the middle of it."""
    film = write_film(tmp_path / "live.ts", SCENES, container="mpegts").read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def play() -> None:
            connection, _ = listener.accept()
            connection.sendall(film)
            cut_off(connection)

        thread = threading.Thread(target=play, daemon=True)
        thread.start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(10)


def test_a_live_camera_that_breaks_off_keeps_what_it_showed(
    database: Database, live_url: str
) -> None:
    report = ingest(database, live_url, epoch=7)
    assert isinstance(report.error, SourceUnreadable)
    # It is not shown again: the clip that was growing is sealed, up to the last frame.
    assert held(database) == [(0, 0, 4, True), (1, 4, 8, True), (2, 8, 11, True)]
    assert (report.progress.clips, report.progress.acks) == (3, 3)


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
