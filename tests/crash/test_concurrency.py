"""Many threads, many users, small maps, full disks, second processes, forks."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import memdb
from memdb import Ack, Clip, FailedPrecondition, MemdbError, NotFound, ResourceExhausted
from memdb.config import EngineConfig, IndexConfig
from memdb.engine.database import EmbeddedDatabase
from memdb.store.derived import DERIVED_FILE
from tests.crash.checks import list_clips
from tests.crash.conftest import SEED
from tests.crash.load import DIM, SPACE, STREAMS, clip_of, written_until_refused
from tests.crash.processes import Embedded, Server

pytestmark = pytest.mark.crash

STREAM = STREAMS[0]
CONFIG = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20)


@pytest.fixture
def db(directory: Path) -> Iterator[EmbeddedDatabase]:
    with EmbeddedDatabase(directory / "data", config=CONFIG, embed_texts=False) as opened:
        opened.create_space(SPACE, dim=DIM)
        yield opened


def in_threads(count: int, work: Callable[[int], object]) -> list[object]:
    """Run ``work`` in threads at once; raises the first error."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


def test_users_are_closed_and_opened_under_their_callers(directory: Path) -> None:
    config = EngineConfig(open_users_max=2, map_bytes_initial=1 << 20)
    names = [f"user-{number}" for number in range(12)]
    with EmbeddedDatabase(directory / "data", config=config, embed_texts=False) as db:
        db.create_space(SPACE, dim=DIM)
        written: dict[str, set[int]] = {name: set() for name in names}
        lock = threading.Lock()

        def work(number: int) -> None:
            chosen = random.Random(SEED + number)
            for seq in range(40):
                name = chosen.choice(names)
                user = db.user(name)
                key = number * 1000 + seq
                ack = user.stream(STREAM, space=SPACE).write(clip_of(name, STREAM, key))
                with lock:
                    written[name].add(key)
                clip = clip_of(name, STREAM, key)
                (hit,) = user.ground(clip.global_memory, limit=1, min_revision=ack.revision).hits
                assert hit.clip.id == ack.clip_id
                other = db.user(chosen.choice(names))
                try:
                    other.clips(limit=1)  # empty while its first write is under way
                except NotFound as absent:
                    if absent.reason != "USER_NOT_FOUND":
                        raise

        in_threads(8, work)
        assert len(db._users._slots) <= config.open_users_max
        for name in names:
            assert {clip.seq for clip in db.user(name).clips()} == written[name]
        assert db.verify().ok


def test_an_erasure_and_its_users_calls_do_not_trip_over_each_other(db: EmbeddedDatabase) -> None:
    """Callers get an answer or an error of ours, and what is acknowledged after the last erasure is
    there.
    """
    done = threading.Event()
    errors: list[BaseException] = []

    def call(number: int) -> None:
        user = db.user("alice")
        while not done.is_set():
            try:
                if number % 2:
                    user.stream(STREAM, space=SPACE).write(clip_of("alice", STREAM, number))
                else:
                    user.clips(limit=3)
            except (NotFound, memdb.Unavailable):
                pass
            except BaseException as error:
                errors.append(error)
                return

    threads = [threading.Thread(target=call, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for _ in range(30):
        try:
            db.user("alice").erase()
        except (NotFound, memdb.Unavailable):
            time.sleep(0.002)
    done.set()
    for thread in threads:
        thread.join(30)
    assert errors == []
    ack = db.user("alice").stream(STREAM, space=SPACE).write(clip_of("alice", STREAM, 99))
    assert db.user("alice").clip(ack.clip_id).seq == 99
    assert db.verify().ok


def test_callers_share_commits(db: EmbeddedDatabase) -> None:
    stream = db.user("alice").stream(STREAM, space=SPACE)
    stream.create()

    def work(number: int) -> list[Ack]:
        return [stream.write(clip_of("alice", STREAM, number * 100 + seq)) for seq in range(25)]

    acks = [ack for part in in_threads(16, work) for ack in part]  # type: ignore[attr-defined]
    assert len({ack.clip_id for ack in acks}) == 400
    assert not any(ack.duplicate for ack in acks)
    commits = db.user("alice").revision() - 1
    assert {ack.revision for ack in acks} == set(range(2, commits + 2))
    assert commits < len(acks) / 2
    changes = [c for c in db.user("alice").watch(follow=False) if c.clip is not None]
    assert sorted((c.revision, c.clip.id) for c in changes if c.clip is not None) == sorted(
        (ack.revision, ack.clip_id) for ack in acks
    )
    assert db.verify().ok


def test_the_map_grows_under_readers(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    stream = user.stream(STREAM, space=SPACE)
    first = stream.write(clip_of("alice", STREAM, 0))
    done = threading.Event()
    reads = [0] * 4

    def read(number: int) -> None:
        question = clip_of("alice", STREAM, 0).global_memory
        while not done.is_set():
            assert user.ground(question, limit=1).hits[0].clip.id == first.clip_id
            user.clips(limit=20)
            reads[number] += 1

    def write() -> None:
        try:
            for seq in range(1, 260):
                short = np.full((1000, DIM), seq, np.float16)
                stream.write(
                    Clip(
                        seq=seq,
                        start_ns=seq,
                        end_ns=seq + 1,
                        global_memory=clip_of("alice", STREAM, seq).global_memory,
                        short_memory=short,
                    )
                )
        finally:
            done.set()

    in_threads(5, lambda number: write() if number == 4 else read(number))
    assert min(reads) > 0
    with user.memory() as memory:
        assert memory.environment.data_bytes() > 8 * CONFIG.map_bytes_initial
    assert db.verify().ok


def test_a_full_quota_refuses_writes_and_nothing_else(directory: Path) -> None:
    config = EngineConfig(map_bytes_initial=1 << 20, map_bytes_max=4 << 20)
    with EmbeddedDatabase(directory / "data", config=config, embed_texts=False) as db:
        db.create_space(SPACE, dim=DIM)
        user = db.user("alice")
        stream = user.stream(STREAM, space=SPACE)
        acks, full = written_until_refused(stream)
        assert (type(full), full.reason) == (ResourceExhausted, "QUOTA")
        assert len(acks) > 50
        assert [clip.seq for clip in user.clips()] == list(range(len(acks)))
        assert db.verify().ok
        other = db.user("bob").stream(STREAM, space=SPACE)
        assert not other.write(clip_of("bob", STREAM, 0)).duplicate


def test_a_quota_below_what_is_mapped_at_first_is_the_quota(directory: Path) -> None:
    config = EngineConfig(map_bytes_max=4 << 20)
    with EmbeddedDatabase(directory / "data", config=config, embed_texts=False) as db:
        db.create_space(SPACE, dim=DIM)
        _, full = written_until_refused(db.user("alice").stream(STREAM, space=SPACE))
        assert (full.reason, str(full.value)) == ("QUOTA", str(4 << 20))


@pytest.mark.parametrize("reserve_bytes", [2 << 20, 0])
def test_a_full_disk_refuses_writes_and_passes(small_disk: Path, reserve_bytes: int) -> None:
    """With our reserve, and without it: then LMDB itself meets the end of the disk."""
    config = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=reserve_bytes)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(4 << 20))
    with EmbeddedDatabase(small_disk / "data", config=config, embed_texts=False) as db:
        db.create_space(SPACE, dim=DIM)
        user = db.user("alice")
        stream = user.stream(STREAM, space=SPACE)
        acks, full = written_until_refused(stream)
        assert (type(full), full.reason) in (
            (ResourceExhausted, "DISK_FULL"),
            (memdb.Unavailable, "READ_ONLY"),
        )
        assert len(acks) > 50
        assert user.ground(clip_of("alice", STREAM, 1).global_memory, limit=1).hits
        refused = None
        for number in range(100):
            try:
                new = db.user(f"new-{number}").stream(STREAM, space=SPACE)
                new.write(clip_of(f"new-{number}", STREAM, 0))
            except MemdbError as error:
                refused = error
                break
        assert refused is not None
        assert refused.reason in ("DISK_FULL", "READ_ONLY", "OPEN_FAILED")
        assert list((small_disk / "data" / "users").glob(".new-*")) == []
        ballast.unlink()
        if full.reason == "DISK_FULL":
            acks.append(stream.write(clip_of("alice", STREAM, len(acks))))
        late = db.user("late").stream(STREAM, space=SPACE)
        assert not late.write(clip_of("late", STREAM, 0)).duplicate
    with EmbeddedDatabase(small_disk / "data", config=config, embed_texts=False) as db:
        found = [clip.seq for clip in list_clips(db.user("alice"), STREAM)]
        assert found[: len(acks)] == list(range(len(acks)))
        assert db.verify().ok


def test_a_second_process_is_told_who_has_the_directory(directory: Path) -> None:
    data = directory / "data"
    with Embedded(data, "alice") as child:
        pid = child.line()["ready"]
        with pytest.raises(FailedPrecondition) as locked:
            memdb.open(data)
        assert locked.value.reason == "DIRECTORY_LOCKED"
        assert str(pid) in str(locked.value)
        child.kill()
        child.rest()
    # The lock went with the process.
    with memdb.open(data) as db:
        assert db.verify().ok
        with pytest.raises(FailedPrecondition) as mine:
            memdb.open(data)
        assert str(os.getpid()) in str(mine.value)
    with Server(data, directory / "s") as server:
        with pytest.raises(FailedPrecondition) as served:
            memdb.open(data)
        assert str(server.process.pid) in str(served.value)


def test_a_forked_child_is_refused_and_harms_nothing(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    user.stream(STREAM, space=SPACE).write(clip_of("alice", STREAM, 0))
    db.user("bob").stream(STREAM, space=SPACE).write(clip_of("bob", STREAM, 0))
    folders = sorted((db._directory.path / "users").iterdir())
    calls: tuple[Callable[[], object], ...] = (
        lambda: user.clips(),
        lambda: user.stream(STREAM, space=SPACE).write(clip_of("alice", STREAM, 1)),
        lambda: db.user("new").stream(STREAM, space=SPACE).write(clip_of("new", STREAM, 0)),
        lambda: db.create_space("other", dim=3),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        refused = 0
        for call in calls:
            try:
                call()
            except FailedPrecondition as error:
                refused += error.reason == "FORKED"
            except BaseException:
                pass
        os._exit(refused)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == len(calls)
    assert sorted((db._directory.path / "users").iterdir()) == folders
    user.stream(STREAM, space=SPACE).write(clip_of("alice", STREAM, 1))
    assert [clip.seq for clip in user.clips()] == [0, 1]
    assert db.users() == ["alice", "bob"]
    assert db.verify().ok


def test_nobody_forks(directory: Path) -> None:
    """A forked child would share locks and sockets: the whole of memdb starts no process so."""
    found = subprocess.run(
        ["grep", "-rnE", r"os\.fork|multiprocessing", "--include=*.py", "memdb"],
        cwd=Path(memdb.__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert found.stdout == ""
    assert sys.platform == "linux"


@pytest.mark.parametrize("reserve_bytes", [2 << 20, 0])
def test_a_checkpoint_for_which_there_is_no_room_harms_nothing(
    small_disk: Path, reserve_bytes: int, caplog: pytest.LogCaptureFixture
) -> None:
    """With our reserve it is not begun; without it the end of the disk is met half-way."""
    config = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=reserve_bytes)
    index = IndexConfig(checkpoint_rows=1)
    made = np.random.default_rng(1).standard_normal((800, 1536)).astype(np.float16)
    clips = [
        Clip(seq=seq, start_ns=seq, end_ns=seq + 1, global_memory=vector)
        for seq, vector in enumerate(made)
    ]

    def told(db: EmbeddedDatabase) -> list[tuple[str, float]]:
        hits = db.user("alice").ground(made[7].astype(np.float32)).hits
        return [(hit.clip.id, hit.score) for hit in hits]

    ballast = small_disk / "ballast"
    with EmbeddedDatabase(small_disk / "data", config=config, index=index) as db:
        db.create_space(SPACE, dim=1536)
        stream = db.user("alice").stream(STREAM, space=SPACE)
        stream.write_many(clips[:700])
        path = db._directory.user_path("alice")
        free = shutil.disk_usage(small_disk).free
        ballast.write_bytes(bytes(max(0, free - reserve_bytes - (2 << 20))))
        answer = told(db)
    assert "could not be written" in caplog.text
    assert {one.name for one in path.iterdir()} == {"data.mdb", "lock.mdb", "CLEAN"}
    with EmbeddedDatabase(small_disk / "data", config=config, index=index) as db:
        assert told(db) == answer
        db.user("alice").stream(STREAM, space=SPACE).write_many(clips[700:720])
        assert db.verify().ok
        ballast.unlink()
    assert (path / DERIVED_FILE).exists()


def test_a_checkpoint_leaves_free_what_has_to_stay_free_whatever_is_written_beside_it(
    small_disk: Path,
) -> None:
    config = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=2 << 20)
    made = np.random.default_rng(1).standard_normal((800, 1536)).astype(np.float16)
    clips = [
        Clip(seq=seq, start_ns=seq, end_ns=seq + 1, global_memory=vector)
        for seq, vector in enumerate(made)
    ]
    ballast = small_disk / "ballast"
    with EmbeddedDatabase(small_disk / "data", config=config) as db:
        db.create_space(SPACE, dim=1536)
        db.user("alice").stream(STREAM, space=SPACE).write_many(clips)
        least = [shutil.disk_usage(small_disk).free]

        def others_write() -> bool:
            """What the upkeep asks between two pieces: whether to stop."""
            if not ballast.exists():
                ballast.write_bytes(
                    bytes(shutil.disk_usage(small_disk).free - config.disk_free_bytes_min)
                )
            least.append(shutil.disk_usage(small_disk).free)
            return False

        with db.user("alice").memory() as memory:
            memory.kept._not_before = 0.0
            with pytest.raises(ResourceExhausted) as refused:
                memory.kept.maintain(others_write)
            folder = memory.environment.path
        assert refused.value.reason == "DISK_FULL"
        # By the pieces that were on their way, and no more.
        assert min(least) > config.disk_free_bytes_min - (1 << 20)
        assert sorted(one.name for one in folder.iterdir()) == ["data.mdb", "lock.mdb"]
