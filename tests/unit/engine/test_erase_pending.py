"""An erasure that cannot be ended keeps nobody out; it is tried again, and erases once."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from memdb import (
    DataLoss,
    FailedPrecondition,
    MemdbError,
    NotFound,
    ResourceExhausted,
    Retention,
    Unavailable,
    failpoints,
)
from memdb.clock import ManualClock
from memdb.engine import erasure, removal, slots
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.memory import UserMemory
from memdb.store import compact
from memdb.store import removal as store_removal
from memdb.store.records import ErasureRecord, pack
from memdb.store.schema import META_ERASURE, Table
from memdb.store.transaction import Transaction
from memdb.types.operation import BeginErasure, PutValue
from tests.unit.engine.conftest import CONFIG, clip, vector
from tests.unit.engine.planted import CLIPS, all_of, found, made, planted

pytestmark = pytest.mark.timeout(60)

YARD = all_of("yard", list(range(CLIPS)))


def opened(folder: Path, clock: ManualClock) -> EmbeddedDatabase:
    return EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock)


def begin(db: EmbeddedDatabase, streams: tuple[str, ...], clip_nos: tuple[int, ...] = ()) -> None:
    """Begin an erasure that a crash cuts short."""
    with db._users.use("alice") as memory:
        (outcome,) = memory.write([BeginErasure(streams, clip_nos)])
        assert isinstance(outcome, int)


def test_what_is_being_erased_cannot_be_held(folder: Path, clock: ManualClock) -> None:
    made(folder, clock)
    with opened(folder, clock) as db:
        user = db.user("alice")
        begin(db, ("door",), (CLIPS,))  # the first of the yard's
        for stream in ("door", "yard"):
            with pytest.raises(FailedPrecondition) as refused:
                user.stream(stream).set_retention(Retention(hold=True))
            assert (refused.value.reason, refused.value.field) == (
                "ERASURE_PENDING",
                "retention.hold",
            )
            user.stream(stream).set_retention(Retention(max_clips=100))
        db.sweep()
        user.stream("yard").set_retention(Retention(hold=True))
        assert [c.seq for c in user.clips(stream="yard")] == [1, 2, 3, 4, 5]
    assert found(folder) == all_of("yard", [1, 2, 3, 4, 5])


def test_a_hold_that_came_first_keeps_nobody_out(folder: Path, clock: ManualClock) -> None:
    made(folder, clock)
    with opened(folder, clock) as db:
        user = db.user("alice")
        user.stream("door").set_retention(Retention(hold=True))
        with db._users.use("alice") as memory:
            # As an earlier release left it: the hold came while the erasure went on.
            record = pack(META_ERASURE, ErasureRecord(("door",), ()))

            def change(txn: Transaction) -> tuple[bool, None]:
                txn.put(Table.META, META_ERASURE, record)
                return True, None

            memory.environment.write(change)
    with opened(folder, clock) as db:
        user = db.user("alice")
        assert len(user.clips()) == 2 * CLIPS
        assert db.user_state("alice") == "erasure-pending"
        assert user.stream("yard").write(planted("yard", CLIPS)).duplicate is False
        db.sweep()
        assert db.user_state("alice") == "erasure-pending"
        user.stream("door").set_retention(None)
        db.sweep()
        assert db.user_state("alice") == "serving"
        assert [info.name for info in user.streams()] == ["yard"]
        assert db.verify().ok
    assert found(folder) == YARD


def test_a_full_disk_refuses_an_erasure_before_it_begins(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(folder, clock)
    with opened(folder, clock) as db:
        user = db.user("alice")
        before = user.revision()
        with monkeypatch.context() as full:
            full.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
            with pytest.raises(ResourceExhausted) as refused:
                user.stream("door").erase()
        assert refused.value.reason == "DISK_FULL"
        assert user.revision() == before
        assert len(user.clips()) == 2 * CLIPS
        assert db.user_state("alice") == "serving"


def test_a_disk_that_fills_up_meanwhile_delays_an_erasure(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(folder, clock)
    with monkeypatch.context() as full:
        full.setattr(erasure, "check_room", lambda *_: None)
        full.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
        with opened(folder, clock) as db:
            user = db.user("alice")
            with pytest.raises(ResourceExhausted) as refused:
                user.stream("door").erase()
            assert refused.value.reason == "DISK_FULL"
            assert db.user_state("alice") == "erasure-pending"
            assert len(user.clips()) == CLIPS
        with opened(folder, clock) as db:
            user = db.user("alice")
            assert user.ground(vector(1), limit=1).hits
            assert user.put("diet", 1)
            assert db.user_state("alice") == "erasure-pending"
            db.sweep()
            assert db.user_state("alice") == "erasure-pending"
            full.undo()
            db.sweep()
            assert db.user_state("alice") == "serving"
            assert user.get("diet") == 1
            assert db.verify().ok
            assert found(folder) == YARD


@pytest.mark.parametrize(
    "step", ["memdb.engine.removal.remove_begun", "memdb.engine.opener.compact"]
)
def test_a_user_is_served_though_there_is_no_memory_to_end_an_erasure(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError

    made(folder, clock)
    with opened(folder, clock) as db:
        begin(db, ("door",))
    with opened(folder, clock) as db:
        user = db.user("alice")
        with monkeypatch.context() as patched:
            patched.setattr(step, no_memory)
            assert CLIPS <= len(user.clips()) <= 2 * CLIPS
            assert db.user_state("alice") == "erasure-pending"
        db.sweep()
        assert db.user_state("alice") == "serving"
        assert [info.name for info in user.streams()] == ["yard"]
    assert found(folder) == YARD


def test_a_pass_that_removes_nothing_is_an_error_and_no_loop(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(folder, clock)
    with opened(folder, clock) as db:
        user = db.user("alice")
        with monkeypatch.context() as blind:
            blind.setattr(removal, "_clips_of_stream", lambda *_: [])
            with pytest.raises(DataLoss) as stuck:
                user.stream("door").erase()
            assert (stuck.value.reason, stuck.value.field) == ("NOT_REMOVABLE", "stream")
            assert db.user_state("alice") == "erasure-pending"
            assert len(user.clips()) == 2 * CLIPS
        # The next erasure takes it along.
        assert user.erase_clips([user.clips(stream="yard")[0].id]).streams == ("door",)
        assert db.user_state("alice") == "serving"
    assert found(folder) == all_of("yard", [1, 2, 3, 4, 5])


def test_a_whole_user_is_erased_whatever_is_pending(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, _ = made(folder, clock)
    with opened(folder, clock) as db:
        begin(db, ("door",))
    with opened(folder, clock) as db:
        # No room beside the user's file.
        real = shutil.disk_usage

        def usage(at: Path) -> object:
            return SimpleNamespace(free=100) if at.parent.name == "users" else real(at)

        monkeypatch.setattr(shutil, "disk_usage", usage)
        assert db.user("alice").erase().clips == CLIPS  # of the yard
        assert not path.exists()
    assert found(folder) == set()


@pytest.mark.parametrize("is_closed", [False, True])
def test_a_hold_that_comes_at_the_last_moment_counts(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch, is_closed: bool
) -> None:
    """Also where the user was closed by then, as by one who could not open it anew: no files, say."""
    user = db.user("alice")
    door = user.stream("door", space="cam")
    door.write(clip(0))
    real = erasure._counted

    def counted(*who: Any) -> tuple[int, int, int]:
        found = real(*who)
        door.set_retention(Retention(hold=True))
        slot = db._users._slots.find("alice")
        assert slot is not None
        if is_closed:
            with slot.lock:
                slot.close()
        return found

    monkeypatch.setattr(erasure, "_counted", counted)
    with pytest.raises(FailedPrecondition) as refused:
        user.erase()
    assert refused.value.reason == "LEGAL_HOLD"
    assert user.clips()[0].seq == 0


def test_an_erasure_compacts_once(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(folder, clock)
    compacted: list[Path] = []
    real = compact._copy

    def counted(path: Path, new: Path, size: int) -> None:
        compacted.append(path)
        real(path, new, size)

    monkeypatch.setattr(compact, "_copy", counted)
    with opened(folder, clock) as db:
        db.user("alice").stream("door").erase()
        assert len(compacted) == 1
        begin(db, ("yard",))
    with opened(folder, clock) as db:
        assert db.user("alice").streams() == []
        assert db.sweep().clips == 0
        assert len(compacted) == 2


def in_threads(*works: Callable[[], object]) -> list[BaseException]:
    """Run each on a thread; what they raised."""
    raised: list[BaseException] = []

    def carried_out(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=carried_out, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


def test_calls_on_the_user_wait_while_it_is_compacted(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    door, yard = (user.stream(name, space="cam") for name in ("door", "yard"))
    kept = [door.write(clip(seq)).clip_id for seq in range(20)]
    ended = threading.Event()
    heard: list[int] = []

    def erases() -> None:
        try:
            for seq in range(12):
                ack = yard.write(clip(seq))
                user.erase_clips([ack.clip_id])
        finally:
            ended.set()

    def reads() -> None:
        while not ended.is_set():
            assert {hit.clip.seq for hit in user.ground(vector(3), limit=3, streams=["door"]).hits}
            assert user.clip(kept[5]).seq == 5
            assert len(user.clips(stream="door", limit=10)) == 10

    def writes() -> None:
        seq = 20
        while not ended.is_set():
            assert door.write(clip(seq)).duplicate is False
            seq += 1

    unsubscribe = user.subscribe(heard.append)
    assert in_threads(erases, reads, reads, writes) == []
    # Who listens hears of commits after an erasure too.
    assert door.write(clip(10**5)).revision == heard[-1]
    unsubscribe()
    assert db.verify().ok


def test_a_call_that_a_compaction_does_not_wait_for_is_told_to_come_again(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a database that is closed for good it would hear `CLOSED`, and an agent of cameras would end."""
    monkeypatch.setattr(slots, "CALLS_END_S", 0.01)
    user = db.user("alice")
    user.put("k", 1)

    def goes_on(work: Callable[[UserMemory], None], meanwhile: Callable[[], object]) -> None:
        with user.memory() as memory:
            meanwhile()
            work(memory)

    def reads(memory: UserMemory) -> None:
        with memory.environment.read():
            pass

    def writes(memory: UserMemory) -> None:
        memory.write([PutValue("k", "2")])

    for work in (reads, writes):
        with pytest.raises(Unavailable) as refused:
            goes_on(work, user.compact)
        assert (refused.value.reason, refused.value.value) == ("REOPENED", "alice")
    assert user.get("k") == 1
    with pytest.raises(Unavailable) as refused:
        goes_on(writes, db.close)
    assert refused.value.reason == "CLOSED"


def test_erasures_of_one_user_go_one_after_the_other(db: EmbeddedDatabase) -> None:
    user = db.user("alice")
    for name in ("door", "yard", "hall", "roof"):
        user.stream(name, space="cam").write_many([clip(seq) for seq in range(10)])
    ids = {c.id for c in user.clips(stream="roof")}

    def erases(name: str) -> Callable[[], None]:
        return lambda: checked(user.stream(name).erase().clips, 10)

    def checked(clips: int, expected: int) -> None:
        assert clips == expected

    raised = in_threads(
        erases("door"), erases("yard"), erases("hall"),
        lambda: checked(user.erase_clips(sorted(ids)).clips, 10),
    )  # fmt: skip
    assert raised == []
    assert [info.name for info in user.streams()] == ["roof"]
    assert user.clips() == []
    assert db.verify().ok
    raised = in_threads(lambda: user.erase(), lambda: user.erase())
    assert [type(error) for error in raised] == [NotFound]


def test_a_bug_on_the_way_is_no_pending_erasure(folder: Path, clock: ManualClock) -> None:
    made(folder, clock)
    with opened(folder, clock) as db:
        begin(db, ("door",))
    failpoints.arm("erasure.before_compaction=error")
    with opened(folder, clock) as db:
        with pytest.raises(failpoints.FailpointError):
            db.user("alice").clips()
        assert len(db.user("alice").clips()) == CLIPS
    assert found(folder) == YARD


def test_errors_of_an_erasure_are_ours(folder: Path, clock: ManualClock) -> None:
    made(folder, clock)
    with opened(folder, clock) as db, pytest.raises(MemdbError):
        db.user("alice").stream("attic").erase()


@pytest.mark.parametrize(("facts", "commits"), [(0, 5), (40 * 150, 2), (10**6, 1)])
def test_the_more_facts_the_more_clips_are_erased_in_one_commit(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch, facts: int, commits: int
) -> None:
    reads: list[int] = []
    real = store_removal.without_evidence

    def reading(txn: Transaction, clip_nos: frozenset[int]) -> Any:
        reads.append(len(clip_nos))
        return real(txn, clip_nos)

    user = db.user("alice")
    user.stream("door", space="cam").write_many([clip(seq) for seq in range(300)])
    with user.memory() as memory:
        state = memory.view.state
        counters = msgspec.structs.replace(state.counters, next_fact_no=facts)
        pretended = replace(memory.view, state=replace(state, counters=counters))
        monkeypatch.setattr(store_removal, "without_evidence", reading)
        with monkeypatch.context() as pretending:
            pretending.setattr(memory, "view", pretended)
            removal._remove(memory, ErasureRecord((), tuple(range(300))))
    assert (sum(reads), len(reads)) == (300, commits)


def test_a_clip_that_comes_while_its_stream_is_erased_goes_with_it(
    folder: Path, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(folder, clock)
    remove = removal._remove
    with opened(folder, clock) as db:
        user = db.user("alice")
        late: list[str] = []

        def interrupted(*arguments: Any) -> Any:
            removed = remove(*arguments)
            late.append(user.stream("door", space="cam").write(clip(1000)).clip_id)
            user.remember("seen late", evidence=late)
            return removed

        monkeypatch.setattr(removal, "_remove", interrupted)
        report = user.stream("door").erase()

        assert report.streams == ("door",)
        assert (report.clips, set(late) - set(report.clip_ids)) == (CLIPS + 1, set())
        (seen_late,) = [fact for fact in user.facts() if fact.text == "seen late"]
        assert seen_late.id in report.fact_ids
        assert [info.name for info in user.streams()] == ["yard"]
        assert {found.stream for found in user.clips(limit=1000)} == {"yard"}
        assert db.verify().ok
