"""URLs: a recording behind HTTP, and a stream that plays once."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path

import av
import pytest

from perception.assembler import ClipAssembler
from perception.compressors.pooled import PooledCompressor
from perception.draft import ClipContext
from perception.errors import SourceNotFound, SourceUnreadable
from perception.sources.base import NS_PER_S, VideoFrame
from perception.sources.file import FileSource
from tests.unit.perception.fakes import HashEncoder
from tests.unit.perception.films import flat, write_film

LIVE_S = 4


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def folder_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A web server with a film of 7 s."""
    folder = tmp_path_factory.mktemp("web")
    write_film(folder / "film.mp4", [(flat(9, 99, 200), 4.0), (flat(200, 9, 9), 3.0)])
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def frame_times_s(source: FileSource) -> list[int]:
    return [item.time_ns // NS_PER_S for item in source.items() if isinstance(item, VideoFrame)]


def test_a_recording_behind_http(folder_url: str) -> None:
    source = FileSource(f"{folder_url}/film.mp4")
    assert not source.is_live
    assert frame_times_s(source) == list(range(7))
    later = FileSource(f"{folder_url}/film.mp4").items(frames_from_ns=5 * NS_PER_S)
    assert [item.time_ns // NS_PER_S for item in later if isinstance(item, VideoFrame)] == [5, 6]


MASTER = """#EXTM3U
#EXT-X-STREAM-INF:BANDWIDTH=100000
small.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=900000
large.m3u8
"""


def test_of_a_playlist_of_several_sizes_one_is_fetched(tmp_path: Path) -> None:
    asked: list[str] = []

    class Noting(QuietHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

    film = write_film(tmp_path / "film.ts", [(flat(9, 99, 200), 12.0)], container="mpegts")
    for name in ("small", "large"):
        with (
            av.open(str(film)) as whole,
            av.open(
                str(tmp_path / f"{name}.m3u8"), "w", format="hls",
                options={"hls_time": "2", "hls_list_size": "0"},
            ) as parts,
        ):  # fmt: skip
            stream = parts.add_stream_from_template(whole.streams.video[0])
            for packet in whole.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    parts.mux(packet)
    (tmp_path / "film.m3u8").write_text(MASTER)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Noting, directory=str(tmp_path)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        source = FileSource(f"http://127.0.0.1:{server.server_port}/film.m3u8")
        assert not source.is_live
        assert frame_times_s(source) == list(range(12))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    small, large = (
        [path for path in asked if path.startswith(f"/{name}") and path.endswith(".ts")]
        for name in ("small", "large")
    )
    assert len(small) == 6
    # Some are read to see what there is.
    assert len(large) <= 3


def test_a_recording_that_is_not_there(folder_url: str) -> None:
    with pytest.raises(SourceNotFound):
        FileSource(f"{folder_url}/none.mp4")


@pytest.fixture
def live_url(tmp_path: Path) -> Iterator[str]:
    """Sends a transport stream, once, to whoever connects."""
    film = write_film(tmp_path / "live.ts", [(flat(50, 90, 30), LIVE_S)], container="mpegts")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def play() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(film.read_bytes())

        thread = threading.Thread(target=play, daemon=True)
        thread.start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(10)


def test_a_stream_that_plays_once_is_live(live_url: str) -> None:
    source = FileSource(live_url)
    assert source.is_live
    context = ClipContext(0, source.period_ns, 0, PooledCompressor(), None)
    assembler = ClipAssembler(context, HashEncoder(), None, revise_every=0)
    clips = [clip for item in source.items() for clip in assembler.take(item)]
    clips += assembler.finish()
    assert [(clip.start_ns, clip.end_ns) for clip in clips] == [(0, LIVE_S * NS_PER_S)]


class MotionJpegHandler(QuietHandler):
    """A camera that shows its pictures one by one, five a second."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
        self.end_headers()
        for picture in range(15):
            jpeg = BytesIO()
            flat(9, 10 * picture, 200).save(jpeg, "JPEG")
            self.wfile.write(
                b"--picture\r\nContent-Type: image/jpeg\r\n"
                b"Content-Length: %d\r\n\r\n%s\r\n" % (jpeg.tell(), jpeg.getvalue())
            )
            time.sleep(0.2)  # a camera of five pictures a second


@pytest.fixture
def motion_url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), MotionJpegHandler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/video"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_pictures_without_time_stamps_are_at_the_time_that_they_come_at(motion_url: str) -> None:
    source = FileSource(motion_url)
    assert source.is_live
    assert source.keeps_time
    began_s = time.monotonic()
    times: list[float] = []

    def watch() -> None:
        for item in source.items():
            assert isinstance(item, VideoFrame)
            times.append(item.time_ns / NS_PER_S)

    with pytest.raises(SourceUnreadable, match="broke off"):
        watch()
    took_s = time.monotonic() - began_s
    # FFmpeg's 25 pictures a second would make 0.6 s of them.
    assert times[0] == 0
    assert times == sorted(set(times))
    assert took_s - 1.5 <= times[-1] <= took_s


def test_a_url_where_nothing_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("perception.sources.file._OPEN_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(SourceNotFound, match=r"nothing came for 0\.3 s"):
            FileSource(address)
