"""A server that stands by: it waits for the directory of another, and serves as soon as that is gone, however."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import memdb_client
from memdb.config import ServerConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.early_file import EARLY_BYTES_MIN
from memdb.engine.warmed import Warmed
from memdb.errors import FailedPrecondition, InvalidArgument
from memdb.server import standby
from memdb.store.derived import DERIVED_FILE
from memdb.store.directory_lock import DirectoryLock
from tests.e2e.serving import DIM, clip, vector
from tests.e2e.test_server_process import MEMDB, WAIT_S, refused
from tests.forked.command import ForkedCommand
from tests.unit.client.test_retry import free_port

pytestmark = pytest.mark.e2e

CLIPS = 400
CLIPS_LARGE = 8_000
"""Of which the checkpoint is large enough to be read ahead."""


class Started:
    """A running `memdb serve`, and the lines that it says."""

    def __init__(self, *arguments: str | Path) -> None:
        self.process = ForkedCommand(MEMDB, "serve", *arguments)

    def says(self, event: str) -> dict[str, Any]:
        """Its next line, which tells that."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate(timeout=WAIT_S)[1]
        told: dict[str, Any] = json.loads(line)
        assert told["event"] == event
        return told

    def logs(self, event: str) -> dict[str, Any]:
        """The next line of its log that tells that."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            told: dict[str, Any] = json.loads(line)
            if told["event"] == event:
                return told
        raise AssertionError(f"it ended without {event}")

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.status()

    def status(self) -> int:
        self.process.communicate(timeout=WAIT_S)
        return self.process.wait()


@contextmanager
def started(*arguments: str | Path) -> Iterator[Started]:
    server = Started(*arguments)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.end(signal.SIGKILL)


@contextmanager
def two(data: Path, address: str) -> Iterator[tuple[Started, Started]]:
    """One that serves, and one that stands by."""
    given = ("--data", data, "--listen", address)
    with started(*given) as first:
        pid = first.says("listening")["pid"]
        with started(*given, "--standby") as second:
            told = second.says("standing_by")
            assert (told["held_by"], told["data"]) == (pid, str(data))
            yield first, second


@pytest.fixture
def address() -> str:
    return f"127.0.0.1:{free_port()}"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_serves_when_the_other_is_gone_and_callers_notice_a_pause(
    tmp_path: Path, address: str, number: int
) -> None:
    """A camera that goes on writing and somebody who goes on asking: nothing is refused, lost or doubled."""
    with two(tmp_path / "db", address) as (first, second), memdb_client.connect(address) as db:
        db.create_space("s", dim=DIM)
        user = db.user("alice")
        camera = user.stream("cam", space="s")
        is_over = threading.Event()
        found: list[int] = []

        def asks() -> None:
            while not is_over.is_set():
                found.append(len(user.ground(vector(1), limit=10).hits))

        with camera.ingest() as writer:
            writer.send(clip(0))
            writer.flush()
            asking = threading.Thread(target=asks)
            asking.start()
            try:
                for seq in range(1, CLIPS):
                    writer.send(clip(seq))
                    if seq == CLIPS // 2:
                        assert first.end(number) == (0 if number == signal.SIGTERM else -number)
                        second.says("listening")
                writer.flush()
            finally:
                is_over.set()
                asking.join(WAIT_S)
            assert writer.acks == CLIPS
        assert found[-1] == 10
        assert [one.seq for one in user.clips(streams=["cam"], limit=CLIPS)] == list(range(CLIPS))
        assert db.verify().ok
        assert not list(camera.gaps())


def test_it_reads_a_large_user_ahead_and_has_it_open(tmp_path: Path, address: str) -> None:
    data, dim = tmp_path / "db", 1536
    features = np.random.default_rng(1).standard_normal((CLIPS_LARGE, dim)).astype(np.float16)
    with EmbeddedDatabase(data, embed_texts=False) as db:
        db.create_space("s", dim=dim)
        camera = db.user("large").stream("cam", space="s")
        camera.write_many(
            [
                clip(seq, global_memory=feature, short_memory=None)
                for seq, feature in enumerate(features)
            ]
        )
        small = db.user("small").stream("cam", space="s")
        small.write(clip(0, global_memory=features[0], short_memory=None))
        file = db._directory.user_path("large") / DERIVED_FILE
    with two(data, address) as (first, second):
        size = file.stat().st_size
        assert size >= EARLY_BYTES_MIN
        assert second.logs("read ahead")["bytes"] == size
        first.end(signal.SIGKILL)
        second.says("listening")
        with memdb_client.connect(address) as db_:
            hit = db_.user("large").ground(features[7].astype(np.float32), limit=1).hits[0]
            assert hit.clip.seq == 7


@pytest.mark.parametrize("wrong", ["missing", "short"])
def test_a_master_key_that_is_none_is_told_before_it_waits(tmp_path: Path, wrong: str) -> None:
    data, key = tmp_path / "db", tmp_path / "key"
    if wrong == "short":
        key.write_text("ab")
        key.chmod(0o600)
    reason, status = ("BAD_MASTER_KEY", 2) if wrong == "short" else ("FILE_NOT_FOUND", 1)
    with started("--data", data, "--listen", "127.0.0.1:0") as first:
        first.says("listening")
        given = ("--data", data, "--listen", "127.0.0.1:0", "--standby")
        assert reason in refused(*given, "--master-key-file", key, status=status)


def test_one_of_several_comes_first_and_the_others_wait_for_that(
    tmp_path: Path, address: str
) -> None:
    data = tmp_path / "db"
    given = ("--data", data, "--listen", address, "--standby")
    with two(data, address) as (first, second), started(*given) as third:
        third.says("standing_by")
        first.end(signal.SIGKILL)
        serving = _who_has(data, [second, third])
        waiting = third if serving is second else second
        serving.says("listening")
        with memdb_client.connect(address) as db:
            db.create_space("s", dim=DIM)
        serving.end(signal.SIGKILL)
        waiting.says("listening")  # and nothing before: it has waited on
        with memdb_client.connect(address) as db:
            assert [space.name for space in db.spaces()] == ["s"]


def _who_has(data: Path, some: list[Started]) -> Started:
    until_s = time.monotonic() + WAIT_S
    while time.monotonic() < until_s:
        owner = (data / "LOCK").read_text().strip()
        for one in some:
            if owner == str(one.process.pid):
                return one
        time.sleep(0.01)
    raise AssertionError(f"{owner} has it")


def test_a_directory_that_nobody_has_is_served_at_once(tmp_path: Path, address: str) -> None:
    with started("--data", tmp_path / "db", "--listen", address, "--standby") as server:
        server.says("listening")
        assert server.end(signal.SIGTERM) == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_one_that_waits_ends_quietly(
    tmp_path: Path, address: str, number: int, status: int
) -> None:
    with two(tmp_path / "db", address) as (first, second):
        second.process.send_signal(number)
        output, errors = second.process.communicate(timeout=WAIT_S)
        assert (second.process.wait(), output) == (status, "")
        events = [json.loads(line)["event"] for line in errors.splitlines()]
        assert "standing by" in events
        assert set(events) <= {"standing by", "read ahead", "stopped"}
        assert first.process.poll() is None


def test_what_is_wrong_anyhow_is_told_before_it_waits(tmp_path: Path) -> None:
    data = tmp_path / "db"
    with started("--data", data, "--listen", "127.0.0.1:0") as first:
        first.says("listening")
        here = ("--data", data, "--standby")
        assert "BAD_ADDRESS" in refused(*here, "--listen", "nowhere", status=2)
        file = tmp_path / "file"
        file.write_text("no socket")
        assert "ADDRESS_IN_USE" in refused(*here, "--listen", f"unix:{file}")


def test_who_cannot_open_it_gives_it_back(tmp_path: Path, address: str) -> None:
    EmbeddedDatabase(tmp_path, embed_texts=False).close()
    config = ServerConfig(data=str(tmp_path), listen=address, standby=True)
    given: list[DirectoryLock | None] = []

    def opened(_: Warmed, lock: DirectoryLock | None) -> EmbeddedDatabase:
        given.append(lock)
        with pytest.raises(FailedPrecondition) as error:
            EmbeddedDatabase(tmp_path, embed_texts=False)
        assert error.value.reason == "DIRECTORY_LOCKED"
        raise InvalidArgument("no such key", reason="BAD_CONFIG")

    with pytest.raises(InvalidArgument, match="no such key"):
        standby.opened_in_turn(config, opened)
    assert len(given) == 1
    EmbeddedDatabase(tmp_path, embed_texts=False).close()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_unix_socket_is_taken_over(tmp_path: Path, number: int) -> None:
    address = f"unix:{tmp_path / 'socket'}"
    with two(tmp_path / "db", address) as (first, second):
        first.end(number)
        second.says("listening")
        with memdb_client.connect(address) as db:
            assert db.spaces() == []


def test_an_address_that_stays_taken_is_refused_and_the_directory_given_back(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standby, "FREE_S", 0.05)
    host, _, port = address.rpartition(":")
    config = ServerConfig(data=str(tmp_path), listen=address, standby=True)

    EmbeddedDatabase(tmp_path, embed_texts=False).close()

    def opened(_: Warmed, lock: DirectoryLock | None) -> EmbeddedDatabase:
        assert lock is not None
        return EmbeddedDatabase(tmp_path, embed_texts=False, lock=lock)

    with socket.create_server((host, int(port))), pytest.raises(FailedPrecondition) as error:
        standby.opened_in_turn(config, opened)
    assert error.value.reason == "ADDRESS_IN_USE"
    EmbeddedDatabase(tmp_path, embed_texts=False).close()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_who_opens_it_first_is_waited_for_once_more(tmp_path: Path, address: str) -> None:
    config = ServerConfig(data=str(tmp_path), listen=address, standby=True)
    tries: list[Warmed] = []

    def opened(warmed: Warmed, _: DirectoryLock | None) -> EmbeddedDatabase:
        tries.append(warmed)
        if len(tries) < 3:
            raise FailedPrecondition("open in process 1", reason="DIRECTORY_LOCKED")
        return EmbeddedDatabase(tmp_path, embed_texts=False)

    found = standby.opened_in_turn(config, opened)
    assert found is not None
    found.close()
    assert len(tries) == 3


def test_a_lock_that_is_no_file_is_told(tmp_path: Path, address: str) -> None:
    (tmp_path / "LOCK").mkdir()
    config = ServerConfig(data=str(tmp_path), listen=address, standby=True)
    with pytest.raises(FailedPrecondition) as error:
        standby.opened_in_turn(config, lambda *_: EmbeddedDatabase(tmp_path))
    assert error.value.value == str(tmp_path)


def test_who_came_second_does_not_mind_that_the_first_one_has_the_address(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was refused for the address, where it has to wait for the directory once more."""
    monkeypatch.setattr(standby, "FREE_S", 0.0)
    host, _, port = address.rpartition(":")
    config = ServerConfig(data=str(tmp_path), listen=address, standby=True)
    first = socket.create_server((host, int(port)))

    def opened(_: Warmed, lock: DirectoryLock | None) -> EmbeddedDatabase:
        if first.fileno() >= 0:
            first.close()
            raise FailedPrecondition("open in process 1", reason="DIRECTORY_LOCKED")
        return EmbeddedDatabase(tmp_path, embed_texts=False)

    found = standby.opened_in_turn(config, opened)
    assert found is not None
    found.close()


def test_a_path_that_no_directory_can_have_is_told(address: str) -> None:
    config = ServerConfig(data="a\0b", listen=address, standby=True)
    with pytest.raises(InvalidArgument) as error:
        standby.opened_in_turn(config, lambda *_: EmbeddedDatabase("a"))
    assert error.value.reason == "BAD_PATH"


def test_sigterm_is_no_error_that_a_handler_takes_for_its_own(tmp_path: Path, address: str) -> None:
    config = ServerConfig(data=str(tmp_path), listen=address, standby=True)

    def opened(_: Warmed, lock: DirectoryLock | None) -> EmbeddedDatabase:
        try:
            signal.raise_signal(signal.SIGTERM)
        except Exception as error:  # as a log's handler does
            raise AssertionError("it was taken for an error") from error
        raise AssertionError("it went on")

    assert standby.opened_in_turn(config, opened) is None
