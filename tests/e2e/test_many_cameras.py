"""Eight cameras of one agent: a slow one, and one that is not there, disturb nobody, and a signal ends all of them."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from memdb import NotFound
from tests.e2e.serving import Served, serving
from tests.e2e.test_server_away import COLOURS
from tests.forked.command import ForkedCommand
from tests.unit.perception.films import write_film

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]

RECORDINGS = 6
LENGTH_S = 12
STOP_S = 10.0
"""Far more than it takes; a camera that shows nothing would be waited for half a minute."""


@pytest.fixture
def slow_url(tmp_path: Path) -> Iterator[str]:
    """Shows four seconds to whoever connects, and then nothing, without an end."""
    film = write_film(tmp_path / "slow.ts", [(COLOURS[0], 4.0)], container="mpegts").read_bytes()
    listener = socket.create_server(("127.0.0.1", 0))
    taken: list[socket.socket] = []

    def play() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # it is over
                return
            taken.append(connection)
            connection.sendall(film)

    thread = threading.Thread(target=play, daemon=True)
    thread.start()
    yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()
    for connection in taken:
        connection.close()


def held(served: Served, camera: str) -> int:
    """Sealed clips so far."""
    try:
        clips = served.database.user("alice").clips(stream=camera)
        return sum(clip.sealed for clip in clips)
    except NotFound:
        return 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_slow_and_one_absent_disturb_nobody(
    tmp_path: Path, slow_url: str, number: signal.Signals
) -> None:
    film = write_film(tmp_path / "film.mp4", [(colour, LENGTH_S / 2) for colour in COLOURS[:2]])
    names = [f"camera-{index}" for index in range(RECORDINGS)]
    cameras = [*(f"{name}={film}" for name in names), f"slow={slow_url}"]
    cameras.append("absent=rtsp://127.0.0.1:1/live")
    with serving(tmp_path / "data") as served:
        agent = ForkedCommand(
            "tests.e2e.seeing_by_hashes",
            *("--server", served.address, "--user", "alice", "--reconnect-s", "inf"),
            *(part for name in cameras for part in ("--camera", name)),
        )
        try:
            until_s = time.monotonic() + 60
            while not all(held(served, name) == 2 for name in names):
                assert time.monotonic() < until_s, "the others did not end"
                assert agent.poll() is None
                time.sleep(0.05)
            agent.send_signal(number)
            told_s = time.monotonic()
            out, error = agent.communicate(timeout=STOP_S)
            assert time.monotonic() - told_s < STOP_S
        finally:
            agent.kill()
            agent.wait()
        assert agent.returncode == 128 + number
        assert "Traceback" not in error
        summary = json.loads(out)
        assert summary["interrupted"] is True
        told = {camera["camera"]: camera for camera in summary["cameras"]}
        assert list(told) == [*names, "slow", "absent"]
        for name in (*names, "slow"):
            assert told[name]["acks"] == told[name]["clips"] == held(served, name)
        assert [told[name]["error"] for name in names] == [None] * RECORDINGS
        assert told["slow"]["frames"] == 4
        assert "SOURCE_NOT_FOUND" in told["absent"]["error"]
        assert (told["absent"]["clips"], told["absent"]["frames"]) == (0, 0)
