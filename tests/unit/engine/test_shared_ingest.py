"""Ingest writers of one user share commits; what befalls one is not another's, and nothing of them stays."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np
import pytest

from memdb import (
    AlreadyExists,
    FailedPrecondition,
    Keyframe,
    MemdbError,
    ResourceExhausted,
    Unavailable,
    failpoints,
)
from memdb.engine import shared_commit, shared_ingest
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.ingest import EmbeddedIngestWriter
from memdb.engine.ingest_feed import Feed, Part
from memdb.engine.shared_commit import Place
from memdb.engine.shared_ingest import GROUP_CLIPS, SharedIngest
from memdb.engine.stream import EmbeddedStream
from memdb.engine.user import EmbeddedUser
from memdb.failpoints import FailpointError
from memdb.types.clip import Ack
from tests.unit.engine.conftest import CONFIG, DIM, SECOND_NS, clip, vector
from tests.unit.engine.test_interrupted import Interrupt, InterruptAsItReturns, goes_on, is_ours
from tests.unit.engine.test_writer import in_threads

PATIENCE_S = 60.0


def threads() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one.name.startswith("memdb-ingest")]


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    for thread in threads():
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


def camera(user: EmbeddedUser, name: str) -> EmbeddedIngestWriter:
    return user.stream(name, space="cam").ingest()


@contextmanager
def held_back(db: EmbeddedDatabase) -> Iterator[None]:
    """No commit of alice's for the length of the block."""
    with db._users.use("alice", create=True) as memory, memory.held_back():
        yield


def wait_until_durable(db: EmbeddedDatabase, clips: int) -> None:
    """Until so many clips are there, without a word to their writers."""
    with db._users.use("alice") as memory:
        while True:
            revision = memory.view.revision
            found = len(db.user("alice").clips(limit=1000))
            if found >= clips:
                break
            assert memory.wait_for_revision(revision, PATIENCE_S)
        assert found == clips


def test_clips_of_several_writers_are_in_one_commit(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    user.put("made", 1)
    before = user.revision()
    with ExitStack() as stack:
        writers = [stack.enter_context(camera(user, f"camera-{n}")) for n in range(5)]
        with held_back(db):
            for seq in range(4):
                for writer in writers:
                    writer.send(clip(seq))
        revisions = [[ack.revision for ack in writer.flush()] for writer in writers]
    assert all(len(each) == 4 and each == sorted(each) for each in revisions)
    # The first took eight or more of the twenty; two may have begun before all were there.
    assert user.revision() - before <= 3
    assert set(revisions[0]) & set(revisions[4])
    assert db.verify().ok


def test_many_writers_in_threads_each_in_its_order(db: EmbeddedDatabase) -> None:
    user = db.user("alice")

    def feed(number: int) -> None:
        with camera(user, f"camera-{number}") as writer:
            for seq in range(100):
                writer.send(clip(seq, end_ns=seq * 10 * SECOND_NS + 1, sealed=False))
                writer.send(clip(seq))
                if seq % 17 == number:
                    writer.flush()
            revisions = [ack.revision for ack in writer.flush()]
            assert revisions == sorted(revisions)
            assert writer.acks == 200

    in_threads(8, feed)
    for number in range(8):
        listed = user.clips(stream=f"camera-{number}", limit=1000)
        assert [(found.seq, found.sealed) for found in listed] == [(n, True) for n in range(100)]
    assert threads() == []
    assert db.verify().ok


def test_what_is_refused_stops_its_writer_alone(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    user.stream("bad", space="cam").write(clip(2, global_memory=vector(99)))
    good, bad, late = (camera(user, name) for name in ("good", "bad", "late"))
    with held_back(db):
        for seq in range(6):
            good.send(clip(seq))
            bad.send(clip(seq))
            late.send(clip(seq) if seq != 4 else replace(clip(seq), seq=1 << 40))
    assert len(good.flush()) == 6
    for _ in range(2):
        with pytest.raises(AlreadyExists):
            bad.flush()
    with pytest.raises(AlreadyExists):
        bad.send(clip(6))
    assert (bad.acks, late.acks) == (2, 4)
    for writer, error in ((bad, AlreadyExists), (late, Exception)):
        with pytest.raises(error):
            writer.close()
    good.send(clip(6))
    good.close()
    assert [c.seq for c in user.clips(stream="good")] == list(range(7))
    assert threads() == []


def test_behind_a_refused_clip_nothing_more_is_taken(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    user.stream("bad", space="cam").write(clip(0, global_memory=vector(99)))
    bad = camera(user, "bad")
    other = camera(user, "other")
    bad.send(clip(0))
    with pytest.raises(AlreadyExists):
        bad.flush()
    with held_back(db):
        for seq in range(1, 4):
            with pytest.raises(AlreadyExists):
                bad.send(clip(seq))
            other.send(clip(seq))
    other.close()
    assert bad._feed.on_their_way == 0
    with pytest.raises(AlreadyExists):
        bad.close()
    assert [c.seq for c in user.clips(stream="bad")] == [0]


def test_what_is_no_refusal_is_raised_again_as_well(db: EmbeddedDatabase) -> None:
    """As where memory is short: what was sent after it was told once was dropped, and nobody said so."""
    user = db.user("alice")
    door = user.stream("door", space="cam")
    door.create()
    writer = door.ingest()
    failpoints.arm("commit.before=error@1")
    writer.send(clip(0))
    calls = (writer.flush, writer.flush, lambda: writer.send(clip(1)), writer.flush, writer.close)
    for call in calls:
        with pytest.raises(FailpointError):
            call()
    with door.ingest() as again:
        again.send(clip(again.next_seq))
    assert [c.seq for c in user.clips()] == [0]


def test_sealed_clips_wait_for_others_but_not_for_ever(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = db.user("alice")
    with camera(user, "door") as writer:
        writer.send(clip(0))
        writer.flush()
        # Nobody asks for it.
        writer.send(clip(1))
        wait_until_durable(db, 2)
        monkeypatch.setattr(shared_ingest, "LINGER_S", PATIENCE_S)
        for seq in range(2, 2 + GROUP_CLIPS):
            writer.send(clip(seq))
        wait_until_durable(db, 2 + GROUP_CLIPS)
        # What is open takes along what waits before it.
        writer.send(clip(10))
        writer.send(clip(11, sealed=False))
        wait_until_durable(db, 12)
        writer.send(clip(11))
        assert len(writer.flush()) == 12
        with camera(user, "other") as other:
            other.send(clip(0))
            writer.send(clip(12))
            writer.flush()
            assert other.acks == 1, "it was taken along"


def test_a_writer_has_no_more_on_its_way_than_its_window(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    sent: list[int] = []
    is_full = threading.Event()

    def feed() -> None:
        with user.stream("door", space="cam").ingest(window=12) as writer:
            for seq in range(40):
                if seq == 12:
                    is_full.set()
                writer.send(clip(seq))
                sent.append(seq)
                assert writer._feed.on_their_way <= 12

    feeder = threading.Thread(target=feed)
    with camera(user, "other") as other:
        with held_back(db):
            feeder.start()
            assert is_full.wait(PATIENCE_S)
            for seq in range(12):  # the window of one is not another's
                other.send(clip(seq))
            feeder.join(0.05)
            assert len(sent) == 12
        feeder.join(PATIENCE_S)
        assert not feeder.is_alive()
    assert [c.seq for c in user.clips(stream="door", limit=99)] == list(range(40))


@pytest.mark.parametrize("limit", ["clips", "bytes"])
def test_writers_together_have_no_more_on_their_way_than_they_may(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    if limit == "clips":
        monkeypatch.setattr(shared_ingest, "IN_FLIGHT_MAX", 7)
    else:
        monkeypatch.setattr(shared_ingest, "IN_FLIGHT_BYTES_MAX", 7 * 17_000)
    user = db.user("alice")
    memory = np.ones((1000, DIM), np.float16)  # 16,000 bytes
    most: list[int] = []

    def feed(number: int) -> None:
        with camera(user, f"camera-{number}") as writer:
            for seq in range(20):
                writer.send(clip(seq, short_memory=memory))
                most.append(writer._shared._in_flight)

    feeders = [threading.Thread(target=feed, args=(number,)) for number in range(2)]
    with camera(user, "slow") as slow:
        with held_back(db):
            for feeder in feeders:
                feeder.start()
            while slow._shared._in_flight < 7:
                feeders[0].join(0.01)
            slow.send(clip(0))  # who has nothing on its way does not wait for them
        for feeder in feeders:
            feeder.join(PATIENCE_S)
            assert not feeder.is_alive()
    # Two may see room for one at once.
    assert 7 <= max(most) <= 7 + 3
    assert len(user.clips(limit=99)) == 41


def test_who_has_nothing_on_its_way_is_not_kept_waiting_by_others(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = db.user("alice")
    # As where others fill it again and again.
    monkeypatch.setattr(shared_ingest, "IN_FLIGHT_MAX", 0)
    with camera(user, "door") as writer:

        def feed() -> None:
            for seq in range(5):
                writer.send(clip(seq))

        feeder = threading.Thread(target=feed)
        feeder.start()
        feeder.join(PATIENCE_S / 4)
        was_kept = feeder.is_alive()
        monkeypatch.undo()
        writer._feed.woken.put(None)
        feeder.join(PATIENCE_S)
        assert not was_kept
        assert len(writer.flush()) == 5


def test_a_commit_takes_half_a_window_of_each(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other half is made ready meanwhile; it may join the first where that still waits for the disk."""
    taken: list[int] = []

    def write_parts(parts: Sequence[Part], place: Place) -> None:
        taken.extend(part.clips for part in parts)
        shared_commit.write_parts(parts, place)

    monkeypatch.setattr(shared_ingest, "write_parts", write_parts)
    user = db.user("alice")
    user.stream("door", space="cam").create()
    with user.stream("door").ingest(window=16) as writer:
        with held_back(db):
            writer.send(clip(0, sealed=False))
            while not writer._feed.going:
                threads()[0].join(0.001)
            writer.send(clip(0))
            for seq in range(1, 15):
                writer.send(clip(seq))
        assert len(writer.flush()) == 16
    assert sum(taken) == 16
    assert max(taken) == 8


def test_who_writes_a_little_is_not_refused_with_who_writes_much(folder: Path) -> None:
    quota = replace(CONFIG, map_bytes_max=1 << 20)
    frames = tuple(Keyframe(n, b"\xff" * 175_000) for n in range(4))
    with EmbeddedDatabase(folder / "data", config=quota) as db:
        db.create_space("cam", dim=DIM)
        user = db.user("alice")
        user.put("made", 1)
        names = ("a", "b", "c", "d")
        writers = {name: camera(user, name) for name in names}
        with held_back(db):
            # What is taken first, until all the others are ready.
            writers["a"].send(clip(0, sealed=False))
            for name in names:
                large = {"keyframes": frames} if name in ("b", "c") else {}
                writers[name].send(clip(1, **large))
        refused: dict[str, str] = {}
        for name, writer in writers.items():
            try:
                writer.flush()
            except ResourceExhausted as error:
                refused[name] = error.reason
            with suppress(ResourceExhausted):
                writer.close()
        assert set(refused.values()) == {"QUOTA"}
        assert refused.keys() <= {"b", "c"}
        assert db.verify().ok


def test_who_is_refused_with_who_writes_much_leaves_no_hole(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though later clips of it are in the next commit, whose number would be where to go on."""
    monkeypatch.setattr(shared_ingest, "GROUP_CLIPS", 3)
    monkeypatch.setattr(shared_ingest, "LINGER_S", PATIENCE_S)
    quota = replace(CONFIG, map_bytes_max=1 << 20)
    frames = tuple(Keyframe(n, b"\xff" * 200_000) for n in range(5))
    with EmbeddedDatabase(folder / "data", config=quota) as db:
        db.create_space("cam", dim=DIM)
        user = db.user("alice")
        user.put("made", 1)
        little, much = camera(user, "little"), camera(user, "much")
        with held_back(db):
            little.send(clip(0))
            much.send(clip(0, keyframes=frames))
            little.send(clip(1))
            while not little._feed.going:
                threads()[0].join(0.001)
            for seq in (2, 3, 4):
                little.send(clip(seq))
            while len(little._feed.going) < 2:
                threads()[0].join(0.001)
        assert len(little.flush()) == 5
        assert [found.seq for found in user.clips()] == list(range(5))
        little.close()
        with pytest.raises(ResourceExhausted):
            much.close()


def test_the_first_of_several_makes_the_user(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    nowhere = user.stream("nowhere").ingest()
    with camera(user, "a") as first, camera(user, "b") as second:
        for seq in range(GROUP_CLIPS):
            first.send(clip(seq))
            second.send(clip(seq))
    nowhere.send(clip(0))
    with pytest.raises(Exception, match="space"):
        nowhere.close()
    assert len(user.clips()) == 2 * GROUP_CLIPS


def test_users_are_closed_to_make_room_and_erased_beside_their_writers(folder: Path) -> None:
    config = replace(CONFIG, open_users_max=1)
    with EmbeddedDatabase(folder / "data", config=config) as db:
        db.create_space("cam", dim=DIM)
        alice, bob = db.user("alice"), db.user("bob")
        with camera(alice, "door") as hers, camera(bob, "door") as his:
            for seq in range(30):
                hers.send(clip(seq))
                his.send(clip(seq))
                if seq % 7 == 0:
                    hers.flush()
                    his.flush()
                    assert db.user("carol").put("k", seq) == seq // 7 + 1
            his.flush()
            bob.erase()
            his.send(clip(30))
        assert [c.seq for c in alice.clips()] == list(range(30))
        assert [c.seq for c in bob.clips()] == [30]
        assert threads() == []


def test_a_database_is_closed_beside_its_writers(folder: Path) -> None:
    db = EmbeddedDatabase(folder / "data", config=CONFIG)
    db.create_space("cam", dim=DIM)
    user = db.user("alice")
    writers = [camera(user, f"camera-{n}") for n in range(3)]
    for writer in writers:
        writer.send(clip(0))
        writer.flush()
    db.close()
    for writer in writers:
        with suppress(Unavailable):
            writer.send(clip(1))
        for call in (writer.flush, writer.close):
            with pytest.raises(Unavailable) as caught:
                call()
            assert caught.value.reason == "CLOSED"
        writer.close()
        assert writer.acks == 1
    assert threads() == []


def test_leaving_by_an_error_waits_for_what_is_being_written_alone(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    with suppress(LookupError), camera(user, "door") as writer:
        writer.send(clip(0))
        writer.flush()
        writer.send(clip(1))
        raise LookupError
    assert threads() == []
    assert writer.acks in (1, 2)
    assert [c.seq for c in user.clips()] in ([0], [0, 1])


def test_a_writer_that_nobody_has_any_more_keeps_no_thread(db: EmbeddedDatabase) -> None:
    writer = camera(db.user("alice"), "door")
    writer.send(clip(0))
    shared = writer._shared
    del writer
    gc.collect()
    for thread in threads():
        thread.join(PATIENCE_S)
    assert len(db.user("alice").clips()) == 1
    # Threads that ended begin again.
    with camera(db.user("alice"), "door") as again:
        assert again._shared is shared
        again.send(clip(1))
        assert len(again.flush()) == 1


def test_no_thread_to_be_had(db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with camera(db.user("alice"), "door") as writer:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            with pytest.raises(RuntimeError):
                writer.send(clip(0))
            assert writer.flush() == []
        writer.send(clip(0))
        assert len(writer.flush()) == 1


def is_of_ingest(code: CodeType) -> bool:
    return is_ours(code) and code.co_filename.endswith(("ingest.py", "ingest_feed.py"))


@pytest.mark.parametrize("kind", ["called", "returned"])
@pytest.mark.parametrize("where", ["send", "flush"])
def test_an_interrupt_wherever_it_comes(db: EmbeddedDatabase, where: str, kind: str) -> None:
    """As a function of ours is entered, or as what one calls of C returns."""
    user = db.user("alice")
    with camera(user, "other") as other:
        for times in range(1, 1000):
            writer = user.stream("door", space="cam").ingest(epoch=times, window=4)
            interrupt: Interrupt
            if kind == "called":
                interrupt = Interrupt(is_ours, times)
            else:
                interrupt = InterruptAsItReturns(is_of_ingest, times)
            with suppress(KeyboardInterrupt):
                if where == "send":
                    with interrupt.within():
                        for seq in range(8):
                            writer.send(clip(seq, epoch=times))
                else:
                    for seq in range(3):
                        writer.send(clip(seq, epoch=times))
                    with interrupt.within():
                        writer.flush()
            other.send(clip(times - 1))
            if times % 10 == 0:
                other.flush()
            writer.close()
            assert writer._feed.on_their_way == 0
            if not interrupt.came:
                break
        goes_on(db)
    assert times > 10
    by_epoch: dict[int, list[int]] = {}
    for found in user.clips(stream="door", limit=1000):
        by_epoch.setdefault(found.epoch, []).append(found.seq)
    assert all(seqs == list(range(len(seqs))) for seqs in by_epoch.values())
    assert len(user.clips(stream="other", limit=1000)) == times
    shared = other._shared
    assert (shared._ready, shared._ready_bytes, shared._in_flight_bytes) == (0, 0, 0)
    assert threads() == []


FORGETFUL = """
import sys
import memdb
from tests.unit.engine.conftest import clip
db = memdb.open(sys.argv[1])
db.create_space("cam", dim=8)
writer = db.user("alice").stream("door", space="cam").ingest()
for seq in range(21):
    writer.send(clip(seq))
"""


FORKED = """
import os, sys
import memdb
from memdb import FailedPrecondition
from tests.unit.engine.conftest import clip
db = memdb.open(sys.argv[1])
db.create_space("cam", dim=8)
writer = db.user("alice").stream("door", space="cam").ingest()
writer.send(clip(0))
writer.flush()
writer.send(clip(1))
pid = os.fork()
if not pid:
    told = []
    for call in (lambda: writer.send(clip(2)), writer.flush, writer.close):
        try:
            call()
        except FailedPrecondition as error:
            told.append(error.reason)
    writer.close()
    os._exit(0 if told == ["FORKED"] * len(told) and told else 1)
assert os.waitpid(pid, 0)[1] == 0
writer.close()
assert writer.acks == 2
"""


@pytest.mark.parametrize(("program", "clips"), [(FORGETFUL, 21), (FORKED, 2)])
def test_a_process(folder: Path, program: str, clips: int) -> None:
    """One that forgets to close its writer ends, with all of it written; of one that forks the child has none."""
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder / "data")],
        timeout=PATIENCE_S,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with EmbeddedDatabase(folder / "data") as db:
        assert [c.seq for c in db.user("alice").clips()] == list(range(clips))


def test_numbers_that_are_on_their_way_are_not_skipped(folder: Path) -> None:
    """A commit is made ready while nobody sees the one before it yet."""
    with EmbeddedDatabase(folder / "data", config=replace(CONFIG, seq_ahead_max=0)) as db:
        db.create_space("cam", dim=DIM)
        with camera(db.user("alice"), "door") as writer:
            for seq in range(1000):
                writer.send(clip(seq))
            assert len(writer.flush()) == 1000
        assert db.user("alice").stream("door").ledger().gaps == ()


def test_what_shares_a_commit_does_not_pass_either_though_its_writer_knows_of_the_refusal(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the time it is tried alone."""
    monkeypatch.setattr(shared_ingest, "GROUP_CLIPS", 2)
    monkeypatch.setattr(shared_ingest, "LINGER_S", PATIENCE_S)
    frames = tuple(Keyframe(n, b"\xff" * 200_000) for n in range(5))
    with EmbeddedDatabase(folder / "data", config=replace(CONFIG, map_bytes_max=1 << 20)) as db:
        db.create_space("cam", dim=DIM)
        user = db.user("alice")
        user.put("made", 1)
        door, other = camera(user, "door"), camera(user, "other")
        turn = door._shared._turn
        with ExitStack() as stack:
            with held_back(db):
                for taken, (writer, seq) in enumerate(
                    [(door, 0), (door, 1), (other, 0), (door, 2)], 1
                ):
                    writer.send(clip(seq, keyframes=frames if seq == 1 else ()))
                    while len(door._feed.going) < taken // 2:
                        threads()[0].join(0.001)
                # Both commits have their place: who is to be tried alone waits for it.
                stack.enter_context(turn)
            while door._error is None:
                assert door.acks == 0
                threads()[0].join(0.001)
        assert len(other.flush()) == 1
        other.close()
        with pytest.raises(ResourceExhausted):
            door.close()
        assert [(found.stream, found.seq) for found in user.clips()] == [("other", 0)]
        assert user.stream("door", space="cam").ledger().next_seq == 0


def test_a_number_that_skips_too_many_lets_none_behind_it_in(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor in the next commit: all numbers that were meant would be too late."""
    monkeypatch.setattr(shared_ingest, "GROUP_CLIPS", 2)
    monkeypatch.setattr(shared_ingest, "LINGER_S", PATIENCE_S)
    user = db.user("alice")
    user.put("made", 1)
    writer = camera(user, "door")
    with held_back(db):
        for taken, seq in enumerate((0, 1 << 40, (1 << 40) + 1, (1 << 40) + 2), 1):
            writer.send(replace(clip(0), seq=seq))
            while len(writer._feed.going) < taken // 2:
                threads()[0].join(0.001)
    with pytest.raises(FailedPrecondition) as caught:
        writer.close()
    assert (caught.value.reason, caught.value.value) == ("TOO_FAR_AHEAD", str(1 << 40))
    assert user.stream("door").ledger().next_seq == 1


def test_what_is_smaller_does_not_pass_where_what_was_sent_before_has_no_room(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One camera, and two commits of it on their way: the number behind a hole would be where to go on."""
    monkeypatch.setattr(shared_ingest, "GROUP_CLIPS", 2)
    monkeypatch.setattr(shared_ingest, "LINGER_S", PATIENCE_S)
    frames = tuple(Keyframe(n, b"\xff" * 200_000) for n in range(5))
    with EmbeddedDatabase(folder / "data", config=replace(CONFIG, map_bytes_max=1 << 20)) as db:
        db.create_space("cam", dim=DIM)
        user = db.user("alice")
        user.put("made", 1)
        writer = camera(user, "door")
        with held_back(db):
            for seq in range(4):
                writer.send(clip(seq, keyframes=frames if seq == 1 else ()))
                while len(writer._feed.going) < (seq + 1) // 2:
                    threads()[0].join(0.001)
        with pytest.raises(ResourceExhausted):
            writer.close()
        assert writer.acks == 0
        assert user.clips() == []
        assert user.stream("door").ledger().next_seq == 0
        with camera(user, "door") as again:
            again.send(clip(again.next_seq))
        assert user.stream("door").ledger().next_seq == 1


def ended(call: Callable[[], object]) -> None:
    """Make a call; fails where it does not end."""
    caller = threading.Thread(target=call, daemon=True)
    caller.start()
    caller.join(PATIENCE_S / 4)
    assert not caller.is_alive(), "it waits for ever"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("where", ["end", "is_done", "drop", "write"])
def test_nobody_waits_for_ever_where_there_is_no_memory_to_say_what_became_of_it(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Of one of those that share a commit; it may have been made, and no clip behind it is written."""
    user = db.user("alice")
    user.stream("bad", space="cam").write(clip(0, global_memory=vector(99)))
    names = ("bad", "good", "late")
    writers = {name: camera(user, name) for name in names}
    its = writers["good" if where == "end" else "bad"]._feed
    failed: list[str] = []
    end, drop = Part.end, SharedIngest._drop

    def ends(part: Part) -> bool:
        is_its = part.feed is its and not failed
        if is_its and where == "is_done":
            end(part)
        if is_its and where in ("end", "is_done"):
            failed.append(where)
            raise MemoryError
        return end(part)

    def drops(shared: SharedIngest, feed: Feed) -> int:
        if feed is its and where == "drop" and not failed:
            failed.append(where)
            raise MemoryError
        return drop(shared, feed)

    def writes(parts: Sequence[Part], place: Place) -> None:
        if where == "write" and not failed:
            failed.append(where)
            raise MemoryError
        shared_commit.write_parts(parts, place)

    monkeypatch.setattr(Part, "end", ends)
    monkeypatch.setattr(SharedIngest, "_drop", drops)
    monkeypatch.setattr(shared_ingest, "write_parts", writes)
    monkeypatch.setattr(shared_ingest, "GROUP_CLIPS", 3)
    monkeypatch.setattr(shared_ingest, "LINGER_S", PATIENCE_S)
    told: dict[str, list[object]] = {name: [] for name in names}

    def flush(name: str) -> None:
        try:
            writers[name].send(clip(1))
            told[name] = [ack.duplicate for ack in writers[name].flush()]
        except MemdbError as error:
            told[name] = [error.reason]

    with held_back(db):
        for name in names:
            writers[name].send(clip(0))
    until_s = time.monotonic() + PATIENCE_S / 4
    while any(writer._feed.on_their_way for writer in writers.values()):
        assert time.monotonic() < until_s, "it is never settled"
        time.sleep(0.001)
    with writers["bad"]._shared._lock:
        pass  # what settles it is done
    for name in names:
        ended(partial(flush, name))
    assert failed == [where]
    broken = ["INDEX_BROKEN"]
    if where == "write":
        assert told == dict.fromkeys(names, broken)
    else:
        assert told["bad"] == ["SEQ_REUSED"]
        assert told["good"] == (broken if where == "end" else [False, False])
        assert told["late"] == [False, False]
    for name, writer in writers.items():
        with suppress(MemdbError):
            ended(writer.close)
        assert (writer._feed.ready, writer._feed.on_their_way) == ([], 0)
        kept = [found.seq for found in user.clips(stream=name)] if user_has(user, name) else []
        if name == "bad":
            assert kept == [0]
        elif where == "write":
            assert kept == []
        else:
            assert kept == ([0] if told[name] == broken else [0, 1])
    assert threads() == []


def user_has(user: EmbeddedUser, stream: str) -> bool:
    return stream in {info.name for info in user.streams()}


def test_what_befell_an_earlier_commit_of_one_writer_is_not_told_to_others(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who shares the next one with it."""
    monkeypatch.setattr(shared_ingest, "GROUP_CLIPS", 2)
    monkeypatch.setattr(shared_ingest, "LINGER_S", PATIENCE_S)
    user = db.user("alice")
    user.put("made", 1)
    much, little = camera(user, "much"), camera(user, "little")
    with held_back(db):
        for taken, (writer, seq) in enumerate([(much, 0), (much, 1), (much, 2), (little, 0)], 1):
            writer.send(clip(seq))
            while len(much._feed.going) < taken // 2:
                threads()[0].join(0.001)
        failpoints.arm("commit.before=error@1")
    assert len(little.flush()) == 1
    little.close()
    with pytest.raises(FailpointError):
        much.close()
    assert [(found.stream, found.seq) for found in user.clips()] == [("little", 0)]


def test_what_was_refused_with_another_is_written_once_what_is_before_it_is(
    db: EmbeddedDatabase,
) -> None:
    """Whatever befell the two together."""

    class Later(Part):
        """Written alone while who is behind it waits."""

        def wait(self) -> bool:
            with place:
                shared_commit.write_parts([self], place)
            self.end()
            return super().wait()

    door = db.user("alice").stream("door", space="cam")
    door.create()
    place = Place(threading.Lock())
    feed = Feed(door, 8)
    before = Later(feed, [door.prepare(clip(0))])
    before.passage.error = MemoryError()
    behind = Part(feed, [door.prepare(clip(1))])
    feed.going += (before, behind)
    with place:
        shared_commit.write_parts([behind], place)
    assert behind.end()
    assert [found.seq for found in db.user("alice").clips()] == [0, 1]


def test_each_of_those_that_are_tried_alone_has_its_place(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that gave it away, to wait for what is before it, and was refused with that: the next was written without,
    and what another commit had behind it could come before it."""
    user = db.user("alice")
    user.put("made", 1)
    turn = threading.Lock()
    streams = [user.stream(name, space="cam") for name in ("refused", "next", "last")]
    feeds = [Feed(stream, 8) for stream in streams]
    before = Part(feeds[0], [streams[0].prepare(clip(0))])
    before.passage.error = ResourceExhausted("no room", reason="QUOTA")
    before.refuse(before.passage.error)
    before.end()
    feeds[0].going.append(before)
    parts = [
        Part(feed, [stream.prepare(clip(1))]) for feed, stream in zip(feeds, streams, strict=True)
    ]
    for part in parts:
        part.feed.going.append(part)
    had_place: list[bool] = []
    write_prepared = EmbeddedStream.write_prepared

    def looks(stream: EmbeddedStream, *args: Any) -> list[Ack | MemdbError]:
        had_place.append(turn.locked())
        return write_prepared(stream, *args)

    monkeypatch.setattr(EmbeddedStream, "write_prepared", looks)
    with Place(turn) as place:
        shared_commit.write_parts(parts, place)
    assert had_place == [True] * 3
    assert [part.end() for part in parts] == [False, True, True]
    assert not turn.locked()
