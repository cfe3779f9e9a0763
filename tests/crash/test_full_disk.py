"""A full disk: what gives up room is let into the room that is kept free for it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import lmdb
import pytest

import memdb_client
from memdb import ResourceExhausted, Retention, SweepReport
from memdb.cli.main import main
from memdb.config import EngineConfig, IndexConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.store.compact import compact
from memdb.store.derived import DERIVED_FILE
from memdb.store.lock_file import LOCK_FILE
from memdb.types.database import Database
from tests.crash.load import DIM, SPACE, STREAMS, clip_of, written_until_refused
from tests.crash.processes import ROOT, Server

pytestmark = pytest.mark.crash

STREAM = STREAMS[0]
NO_CHECKPOINT = IndexConfig(checkpoint_rows=0)
"""One is written half a minute after a user was opened, so at any time here, and takes room and gives it back."""


def config(reserve_bytes: int) -> EngineConfig:
    return EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=reserve_bytes)


@contextmanager
def opened(disk: Path, reserve_bytes: int) -> Iterator[EmbeddedDatabase]:
    path = disk / "data"
    with EmbeddedDatabase(
        path, config=config(reserve_bytes), index=NO_CHECKPOINT, embed_texts=False
    ) as db:
        yield db


@contextmanager
def where(
    disk: Path, how: str, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Database]:
    if how == "embedded":
        with opened(disk, 5 << 20) as db:
            yield db
        return
    monkeypatch.setenv("MEMDB_ENGINE__DISK_FREE_BYTES_MIN", str(5 << 20))
    monkeypatch.setenv("MEMDB_ENGINE__MAP_BYTES_INITIAL", str(1 << 20))
    monkeypatch.setenv("MEMDB_INDEX__CHECKPOINT_ROWS", "0")
    with Server(disk / "data", scratch) as server, memdb_client.connect(server.address) as db:
        yield db


def seqs(db: Database) -> list[int]:
    return [clip.seq for clip in db.user("alice").clips(limit=1000)]


def full(disk: Path, db: Database) -> int:
    """Write until it is refused; how many clips there are."""
    (disk / "other").write_bytes(bytes(2 << 20))
    db.create_space(SPACE, dim=DIM)
    acks, refused = written_until_refused(db.user("alice").stream(STREAM, space=SPACE))
    assert (type(refused), refused.reason) == (ResourceExhausted, "DISK_FULL")
    assert (len(acks) > 100, shutil.disk_usage(disk).free > 4 << 20) == (True, True)
    return len(acks)


@pytest.mark.parametrize("how", ["embedded", "server"])
def test_a_full_disk_is_freed_by_retention(
    small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    with where(small_disk, how, tmp_path / "server", monkeypatch) as db:
        count = full(small_disk, db)
        user = db.user("alice")
        stream = user.stream(STREAM, space=SPACE)
        stream.set_retention(Retention(max_clips=100, hold=True))
        assert db.sweep().clips == 0
        with pytest.raises(ResourceExhausted):
            user.remember("the disk is full")
        stream.set_retention(Retention(max_clips=100))  # the hold ends
        report = db.sweep()
        assert (report.clips, report.unswept, report.unswept_reasons) == (count - 100, 0, ())
        assert seqs(db) == list(range(count - 100, count))
        # The room is there for everybody, as what the user's file does not need.
        db.user("bob").remember("there is room")
        for seq in range(count, count + 100):
            stream.write(clip_of("alice", STREAM, seq))
        assert db.verify().ok


@pytest.mark.parametrize("by_itself", ["a checkpoint goes", "somebody else"])
def test_a_sweep_gives_room_back_where_a_little_was_found_beside(
    small_disk: Path, by_itself: str
) -> None:
    """As much as that the next write would not be refused, and some more would."""
    index = IndexConfig(checkpoint_rows=600)
    data, beside = small_disk / "data", small_disk / "beside"
    with EmbeddedDatabase(data, config=config(5 << 20), index=index, embed_texts=False) as db:
        beside.write_bytes(bytes(2 << 20))
        db.create_space(SPACE, dim=DIM)
        user = db.user("alice")
        stream = user.stream(STREAM, space=SPACE)
        stream.write_many([clip_of("alice", STREAM, seq) for seq in range(600)])
        with user.memory() as memory:
            if by_itself == "a checkpoint goes":
                memory.kept._not_before = 0.0
                memory.kept.maintain(lambda: False)
                assert (memory.environment.path / DERIVED_FILE).stat().st_size > 120_000
        beside.write_bytes(bytes((2 << 20) + shutil.disk_usage(small_disk).free - (5 << 20)))
        stream.set_retention(Retention(max_clips=50))
        with pytest.raises(ResourceExhausted):
            user.remember("the disk is full")
        if by_itself == "somebody else":
            os.truncate(beside, beside.stat().st_size - (128 << 10))
        free = shutil.disk_usage(small_disk).free
        assert db.sweep().clips == 550
        with user.memory() as memory:
            freed = memory.environment.data_bytes() - memory.environment.live_bytes()
        assert (freed < 128 << 10, shutil.disk_usage(small_disk).free > free + (1 << 20)) == (
            True,
            True,
        )
        for number in range(5):
            db.user(f"new-{number}").remember("there is room")


def test_a_sweep_that_is_refused_on_its_way_goes_on_with_what_it_freed(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody takes the room that a removal needs, after so many commits of it."""
    beside = small_disk / "beside"
    commits = 0

    def hit(name: str) -> None:
        nonlocal commits
        commits += name == "erasure.batch"
        if name == "erasure.batch" and commits in (2, 6):
            free = shutil.disk_usage(small_disk).free
            beside.write_bytes(bytes(free - (5 << 19)))

    monkeypatch.setattr("memdb.failpoints.hit", hit)
    with opened(small_disk, 5 << 20) as db:
        db.create_space(SPACE, dim=DIM)
        user = db.user("alice")
        stream = user.stream(STREAM, space=SPACE)
        stream.write_many([clip_of("alice", STREAM, seq) for seq in range(600)])
        stream.set_retention(Retention(max_clips=100))
        # Of two commits the file has too little to give: it is told what they gave up.
        told = db.sweep()
        assert (told.clips, told.unswept, told.unswept_reasons) == (128, 1, ("DISK_FULL",))
        assert seqs(db) == list(range(128, 600))
        beside.unlink()
        told = db.sweep()
        assert (told.clips, told.unswept) == (372, 0)
        assert seqs(db) == list(range(500, 600))
        assert db.verify().ok


@pytest.mark.parametrize("how", ["clips", "stream", "time"])
def test_a_full_disk_is_freed_by_an_erasure(small_disk: Path, how: str) -> None:
    with opened(small_disk, 5 << 20) as db:
        count = full(small_disk, db)
        user = db.user("alice")
        stream = user.stream(STREAM, space=SPACE)
        half = [clip.id for clip in user.clips(limit=1000)][: count // 2]
        if how == "clips":
            assert user.erase_clips(half).clips == count // 2
        elif how == "stream":
            assert stream.erase().clips == count
        else:
            assert stream.erase(end_ns=(count // 2 - 1) * 10**10 + 1).clips == count // 2
        assert db.user_state("alice") == "serving"
        assert not user.stream(STREAM, space=SPACE).write(clip_of("alice", STREAM, 5000)).duplicate
        assert db.verify().ok


def test_an_erasure_is_refused_where_what_is_left_has_no_room_beside_it(small_disk: Path) -> None:
    with opened(small_disk, 2 << 20) as db:
        db.create_space(SPACE, dim=DIM)
        user = db.user("alice")
        acks, _ = written_until_refused(user.stream(STREAM, space=SPACE))
        before = user.revision()
        with pytest.raises(ResourceExhausted) as refused:
            user.erase_clips([acks[0].clip_id])
        assert (refused.value.reason, refused.value.field) == ("DISK_FULL", "free_bytes")
        assert "is written anew beside the old" in str(refused.value)
        assert (user.revision(), db.user_state("alice")) == (before, "serving")
        # What was given up needs no room: a sweep, and then the same erasure.
        user.stream(STREAM).set_retention(Retention(max_clips=50))
        assert db.sweep().clips == len(acks) - 50
        assert user.erase_clips([acks[-1].clip_id]).clips == 1
        assert db.verify().ok


def test_a_sweep_whose_freed_pages_cannot_be_given_back_is_done_all_the_same(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(small_disk, 2 << 20) as db:
        db.create_space(SPACE, dim=DIM)
        user = db.user("alice")
        stream = user.stream(STREAM, space=SPACE)
        count = len(written_until_refused(stream)[0])
        with user.memory() as before:
            pass
        stream.set_retention(Retention(max_clips=count * 3 // 4))
        report = db.sweep()
        assert (report.clips, report.unswept) == (count - count * 3 // 4, 0)
        assert "freed pages stay in a user's file: user alice" in caplog.text
        with user.memory() as after:
            assert after is before  # nobody was kept waiting for nothing
        with pytest.raises(ResourceExhausted):
            stream.write(clip_of("alice", STREAM, count))
        stream.set_retention(Retention(max_clips=50))
        assert db.sweep().unswept == 0
        assert not stream.write(clip_of("alice", STREAM, count)).duplicate
        assert db.verify().ok


def test_a_compaction_that_the_disk_has_room_for_half_of_is_told_as_such(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others fill the disk once it was found to have room; LMDB calls it an I/O error."""
    ballast = small_disk / "ballast"
    with opened(small_disk, 0) as db:
        for number in range(30):
            db.user("alice").put(f"k{number}", "x" * 60_000)
        folder = db._directory.user_path("alice")
    before = sorted(one.name for one in folder.iterdir())

    def others_write(path: Path, live: int) -> None:
        ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - (400 << 10)))

    monkeypatch.setattr("memdb.store.compact.check_room", others_write)
    with pytest.raises(ResourceExhausted) as refused:
        compact(folder)
    assert refused.value.reason == "DISK_FULL"
    assert isinstance(refused.value.__cause__, lmdb.Error)
    assert os.strerror(errno.EIO) in str(refused.value.__cause__)
    assert sorted(one.name for one in folder.iterdir()) == before
    ballast.unlink()
    with opened(small_disk, 0) as db:
        assert len(db.user("alice").keys(limit=100)) == 30


def test_a_disk_without_a_byte_refuses_in_words_and_loses_nothing(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    with opened(small_disk, 5 << 20) as db:
        count = full(small_disk, db)
        user = db.user("alice")
        stream = user.stream(STREAM, space=SPACE)
        fill(ballast)
        assert shutil.disk_usage(small_disk).free == 0
        for call in (
            lambda: stream.set_retention(Retention(max_clips=100)),
            lambda: user.erase_clips([user.clips(limit=1)[0].id]),
            lambda: user.remember("no room at all"),
        ):
            with pytest.raises(ResourceExhausted) as refused:
                call()
            assert refused.value.reason == "DISK_FULL"
        assert seqs(db) == list(range(count))
        os.truncate(ballast, ballast.stat().st_size - (9 << 19))
        with pytest.raises(ResourceExhausted):
            user.remember("no room that is not kept free")
        stream.set_retention(Retention(max_clips=100))
        fill(ballast)
        report = db.sweep()
        assert (report.clips, report.unswept) == (0, 1)
        assert report.unswept_reasons == ("DISK_FULL",)
        assert seqs(db) == list(range(count))
        assert db.verify().ok
        os.truncate(ballast, ballast.stat().st_size - (9 << 19))
        assert db.sweep().clips == count - 100
        assert len(seqs(db)) == 100
    with opened(small_disk, 5 << 20) as db:
        assert len(seqs(db)) == 100
        assert db.verify().ok


@pytest.mark.parametrize("how", ["embedded", "server"])
def test_a_sweep_tells_of_users_that_it_could_not_sweep(
    small_disk: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    how: str,
) -> None:
    ballast = small_disk / "ballast"
    with where(small_disk, how, tmp_path / "server", monkeypatch) as db:
        count = full(small_disk, db)
        db.user("alice").stream(STREAM).set_retention(Retention(max_clips=100))
        fill(ballast)
        assert db.sweep() == SweepReport(unswept=1, unswept_reasons=("DISK_FULL",))
        if how == "server":
            assert main(["sweep", "--server", f"unix:{tmp_path / 'server'}"]) == 1
            told = capsys.readouterr()
            assert (json.loads(told.out)["unswept"], "DISK_FULL" in told.err) == (1, True)
        ballast.unlink()
        report = db.sweep()
        assert (report.clips, report.unswept) == (count - 100, 0)


def test_a_removal_that_meets_the_end_of_the_disk_loses_nothing(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As LMDB meets it, after what is free was found to be enough."""
    monkeypatch.setattr("memdb.store.disk.GIVING_UP_BYTES", 0)
    ballast = small_disk / "ballast"
    with opened(small_disk, 5 << 20) as db:
        count = full(small_disk, db)
        db.user("alice").stream(STREAM).set_retention(Retention(max_clips=1))
        fill(ballast)
        os.truncate(ballast, ballast.stat().st_size - (16 << 10))
        told = db.sweep()
        assert set(told.unswept_reasons) <= {"DISK_FULL", "READ_ONLY"}
        left = seqs(db)
        assert left == list(range(count))[-len(left) :]
        assert db.verify().ok
    ballast.unlink()
    with opened(small_disk, 5 << 20) as db:
        assert seqs(db) == left
        assert db.sweep().unswept == 0
        assert seqs(db) == [count - 1]
        assert db.user_state("alice") == "serving"


_READS_WHERE_NOTHING_IS_FREE = """
import sys
from contextlib import ExitStack
from pathlib import Path
from memdb import ResourceExhausted
from tests.crash.test_full_disk import opened

disk = Path(sys.argv[1])
with opened(disk, 5 << 20) as db:
    with db.user("alice").memory() as memory, ExitStack() as reads:
        count = 0
        try:
            for count in range(250):
                reads.enter_context(memory.environment.read())
        except ResourceExhausted as error:
            print(error.reason, count >= 50)
    print(db.user("alice").get("k"))
    try:
        db.user("bob").get("k")
    except ResourceExhausted as error:
        print(error.reason)
    (disk / "ballast").unlink()
    print(db.user("bob").get("k"))
    with db.user("alice").memory() as memory, ExitStack() as reads:
        for count in range(250):
            reads.enter_context(memory.environment.read())
"""


def test_many_reads_of_a_disk_without_a_byte_do_not_end_the_process(small_disk: Path) -> None:
    """LMDB writes who reads through a mapping: a page that the disk has no room for is SIGBUS."""
    with opened(small_disk, 5 << 20) as db:
        for name in ("alice", "bob"):
            db.user(name).put("k", name)
        # As a restored user has none.
        without = db._directory.user_path("bob")
    (without / LOCK_FILE).unlink()
    fill(small_disk / "ballast")
    child = subprocess.run(
        [sys.executable, "-c", _READS_WHERE_NOTHING_IS_FREE, str(small_disk)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (child.returncode, child.stdout.split("\n")) == (
        0,
        ["READERS True", "alice", "DISK_FULL", "bob", ""],
    ), child.stderr


def fill(ballast: Path) -> None:
    """Take what is free."""
    with suppress(OSError), ballast.open("ab", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
