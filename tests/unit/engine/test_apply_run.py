"""A run of plain clips leaves what each of its clips leaves by itself, to the byte."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

pytest.importorskip("memdb_edge", reason="the native edge is not installed")

from memdb import AlreadyExists, Clip, InvalidArgument, MemdbError, NotFound
from memdb.engine import apply as deciding
from memdb.engine.applied import Applied
from memdb.engine.apply import apply
from memdb.engine.apply_run import one_by_one
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.effects import NewClip
from memdb.engine.memory import UserMemory
from memdb.engine.reached import Reached
from memdb.engine.run_acks import RunAcks
from memdb.engine.state import Draft
from memdb.engine.stream_batches import Batch, write_batches
from memdb.server.plain_clips import runs_of
from memdb.store.staging import Entries, Staged
from memdb.types.clip import Ack
from memdb.types.operation import Operation, PutValue, WriteClip, WriteRun
from memdb.types.plain_run import PlainRun
from tests.unit.engine.conftest import CONFIG, DIM, clip, vector
from tests.unit.engine.plain_runs import message, runs
from tests.unit.engine.test_apply_plain import said

ROWS = 16
TIMES = st.integers(-(2**62), 2**62)
SEQS = st.sampled_from([0, 1, 100, 127, 128, 255, 256, 65_535, 65_536, 2**32 - 2, 2**32, 2**62])
NOS = st.sampled_from([1, 2, 127, 128, 255, 256, 65_535, 65_536, 2**31])


def tokens(seed: int) -> Any:
    return np.random.default_rng(seed).standard_normal((ROWS, DIM)).astype(np.float16)


def staged(
    db: EmbeddedDatabase, draft: Draft, operations: list[Operation]
) -> tuple[Entries, Applied]:
    applied = Applied(draft, reached=Reached(None))
    for stream_no in range(9):
        applied.reached._seqs |= {(stream_no, epoch): -1 for epoch in (0, 7, 2**32 - 1)}
    entries: Entries = {}
    with db.user("alice").memory() as memory, memory.environment.read() as txn:
        apply(Staged(txn, (), entries), applied, operations)
    return entries, applied


def new_clips(applied: Applied) -> list[NewClip]:
    """All of them, each for itself."""
    effects = applied.effects
    found = [*effects.clips, *(new for rows in effects.rows for new in rows.clips())]
    return sorted(found, key=lambda new: new.clip_no)


def same(ours: tuple[Entries, Applied], theirs: tuple[Entries, Applied]) -> None:
    (entries, applied), (wanted, by_itself) = ours, theirs
    assert {
        table: {key: bytes(value) for key, value in kept.items()} for table, kept in entries.items()
    } == {
        table: {key: bytes(value) for key, value in kept.items()} for table, kept in wanted.items()
    }
    flat: list[object] = []
    for outcome in applied.outcomes:
        flat.extend(outcome if isinstance(outcome, list | RunAcks) else [outcome])
    assert [said(one) for one in flat] == [said(one) for one in by_itself.outcomes]
    assert applied.entries == by_itself.entries
    assert applied.draft.counters() == by_itself.draft.counters()
    for mine, its in zip(new_clips(applied), new_clips(by_itself), strict=True):
        assert mine.vector.tobytes() == its.vector.tobytes()
        assert mine.vector.dtype == its.vector.dtype
        assert mine._replace(vector=its.vector) == its


@settings(max_examples=150, deadline=None)
@given(
    first_seq=SEQS,
    epoch=st.sampled_from([0, 7, 2**32 - 1]),
    times=st.lists(st.tuples(TIMES, TIMES), min_size=1, max_size=5),
    frames=st.none() | st.floats(1e-300, 1e6),
    is_half=st.booleans(),
    has_tokens=st.booleans(),
    clip_no=NOS,
    revision=NOS,
)
@example(
    2**62,
    7,
    [(-33, -32), (-129, -128), (-32_769, -32_768), (-(2**31) - 1, -(2**31))],
    0.5,
    False,
    True,
    1,
    1,
)
def test_a_run_stores_what_its_clips_store(
    first_seq: int,
    epoch: int,
    times: list[tuple[int, int]],
    frames: float | None,
    is_half: bool,
    has_tokens: bool,
    clip_no: int,
    revision: int,
) -> None:
    db = _database()
    clips = [
        clip(
            first_seq + place,
            epoch=epoch,
            start_ns=min(pair),
            end_ns=max(pair),
            frames_per_token_row=frames,
            global_memory=vector(place).astype(np.float16 if is_half else np.float32),
            short_memory=tokens(place) if has_tokens else None,
        )
        for place, pair in enumerate(times)
    ]
    (run,) = runs(clips)
    assert len(run) == len(clips)
    operation = WriteRun("door", None, run)
    with db.user("alice").memory() as memory:
        state = memory.view.state

    def draft() -> Draft:
        made = Draft(state, 10**18)
        made.next_clip_no, made.revision = clip_no, revision
        return made

    ours = staged(db, draft(), [operation])
    assert len(ours[1].effects.rows) == 1
    same(ours, staged(db, draft(), list(one_by_one([operation]))))


def _database() -> EmbeddedDatabase:
    """One for all examples, which write nothing into it."""
    if not _OPENED:
        folder = _FOLDERS[0]
        db = EmbeddedDatabase(folder / "data", config=CONFIG)
        db.create_space("cam", dim=DIM)
        db.user("alice").stream("door", space="cam").create()
        _OPENED.append(db)
    return _OPENED[0]


_OPENED: list[EmbeddedDatabase] = []
_FOLDERS: list[Any] = []


@pytest.fixture(autouse=True, scope="module")
def _folder(tmp_path_factory: pytest.TempPathFactory) -> Any:
    _FOLDERS.append(tmp_path_factory.mktemp("runs"))
    yield
    while _OPENED:
        _OPENED.pop().close()


@pytest.mark.parametrize("seed", range(30))
def test_runs_among_other_operations(db: EmbeddedDatabase, seed: int) -> None:
    """Some are there already, late, of another space or of zeros: then each is looked at."""
    rng = random.Random(seed)
    db.create_space("wide", dim=2 * DIM)
    alice = db.user("alice")
    for name in ("door", "gate"):
        alice.stream(name, space="cam").write_many([clip(seq) for seq in range(6)])
    operations: list[Operation] = []
    next_seq = {"door": 6, "gate": 6, "yard": 0}
    for turn in range(8):
        if rng.random() < 0.2:
            operations.append(PutValue(f"key-{turn}", "1"))
            continue
        name = rng.choice(list(next_seq))
        # The same numbers come again, or some are skipped.
        first = rng.choice([next_seq[name], next_seq[name], next_seq[name] + 2]) if turn else 3
        count = rng.randrange(1, 6)
        next_seq[name] = first + count
        clips = [
            clip(seq, short_memory=tokens(seq) if rng.random() < 0.5 else None)
            for seq in range(first, first + count)
        ]
        if rng.random() < 0.2:
            place = rng.randrange(count)
            clips[place] = clip(first + place, global_memory=np.zeros(DIM, np.float32))
        if rng.random() < 0.1:
            clips = [clip(c.seq, global_memory=vector(c.seq, 2 * DIM)) for c in clips]
        (run,) = runs(clips)
        operations.append(WriteRun(name, None, run))
    with alice.memory() as memory:
        state, coverage = memory.view.state, memory.view.coverage
        entries: list[tuple[Entries, Applied]] = []
        each: list[Operation] = []
        for operation in operations:
            each += one_by_one([operation]) if isinstance(operation, WriteRun) else [operation]
        for which in (operations, each):
            applied = Applied(Draft(state, 10**18), reached=Reached(coverage))
            made: Entries = {}
            with memory.environment.read() as txn:
                for operation in which:  # several of them change the same
                    apply(Staged(txn, (), made), applied, [operation])
            entries.append((made, applied))
    same(*entries)


def test_a_run_that_is_decided_once_more_stays_whole(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where another commit came to be before it than it was decided behind; and so does one that is late."""
    alice = db.user("alice")
    alice.stream("door", space="cam").write_many([clip(0), clip(9)])
    with alice.memory() as memory:
        state, reached = memory.view.state, Reached(memory.view.coverage)
        stream_no = state.streams["door"].no

        def decided(operations: list[Operation]) -> tuple[Entries, Applied]:
            entries: Entries = {}
            applied = Applied(Draft(state, 10**18), reached=reached)
            with memory.environment.read() as txn:
                apply(Staged(txn, (), entries), applied, operations)
            return entries, applied

        taken_apart: list[list[int]] = []

        def noting(operations: list[WriteRun]) -> list[WriteClip]:
            each = one_by_one(operations)
            taken_apart.append([operation.clip.seq for operation in each])
            return each

        monkeypatch.setattr(deciding, "one_by_one", noting)
        for seqs in ([10, 11], [10, 11], [11, 12], [3, 4]):  # none of which is written
            (run,) = runs([clip(seq) for seq in seqs])
            ours = decided([WriteRun("door", None, run)])
            assert [rows.count for rows in ours[1].effects.rows] == [2]
            same(ours, decided(list(one_by_one([WriteRun("door", None, run)]))))
        assert (taken_apart, reached.advance(stream_no, 0, 12)) == ([], False)
        (run,) = runs([clip(seq) for seq in (8, 9, 10)])
        ours = decided([WriteRun("door", None, run)])
        assert sum(rows.count for rows in ours[1].effects.rows) == 2  # the one between is there
        assert taken_apart == [[8, 9, 10]]
        same(ours, decided(list(one_by_one([WriteRun("door", None, run)]))))


def test_a_late_clip_that_is_refused_leaves_runs_beside_it_whole(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = db.user("alice")
    door, yard = (alice.stream(name, space="cam") for name in ("door", "yard"))
    far = door.user.seq_ahead_max + 9
    door.write(clip(0))
    written: list[Operation] = []
    write = UserMemory.write

    def noting(memory: UserMemory, operations: list[Operation], *others: Any) -> Any:
        written.extend(operations)
        return write(memory, operations, *others)

    monkeypatch.setattr(UserMemory, "write", noting)
    refused = clip(far, start_ns=0, end_ns=1)
    batches: list[Batch] = [
        (door, [*runs([clip(1), clip(2)]), *runs([refused])]),
        (yard, runs([clip(0), clip(1), clip(2)])),
    ]
    first, second = write_batches(batches)
    assert [getattr(one, "reason", None) for one in first] == [None, None, "TOO_FAR_AHEAD"]  # type: ignore[union-attr]
    assert [isinstance(one, Ack) for one in second] == [True] * 3  # type: ignore[union-attr]
    assert [type(one) for one in written] == [WriteRun, WriteRun]
    assert [c.seq for c in alice.clips()] == [0, 0, 1, 1, 2, 2]


def test_where_a_message_is_no_run() -> None:
    plain = [clip(seq) for seq in range(3)]
    assert runs_of(message(plain), 1) is None  # of another epoch
    assert runs_of(message([*plain, clip(3, sealed=False)]), 0) is None
    assert runs_of(message([*plain, clip(3, labels={"a": "b"})]), 0) is None


def test_runs_end_where_numbers_or_vectors_change() -> None:
    half = vector(1).astype(np.float16)
    clips = [
        clip(0),
        clip(1),
        clip(3),
        clip(4, global_memory=half),
        clip(5, global_memory=vector(1, 4)),
    ]
    found = runs(clips)
    assert [(run.first_seq, len(run), run.dim, run.is_half) for run in found] == [
        (0, 2, DIM, False),
        (3, 1, DIM, False),
        (4, 1, DIM, True),
        (5, 1, 4, False),
    ]
    assert [c.seq for run in found for c in run.clips()] == [0, 1, 3, 4, 5]


@pytest.mark.parametrize("zero", [0.0, -0.0])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_vector_of_zeros_is_refused_and_the_others_are_stored(
    db: EmbeddedDatabase, zero: float, dtype: type
) -> None:
    door = db.user("alice").stream("door", space="cam")
    door.create()
    clips = [clip(0), clip(1), clip(2)]
    clips[1] = clip(1, global_memory=np.full(DIM, zero, dtype))
    found = runs(
        [
            c if c.seq == 1 else clip(c.seq, global_memory=c.global_memory.astype(dtype))
            for c in clips
        ]
    )
    first, refused, last = door.write_batch(found)
    assert isinstance(refused, InvalidArgument)
    assert isinstance(first, Ack)
    assert isinstance(last, Ack)


def test_a_run_is_written_once_and_found(db: EmbeddedDatabase, folder: Any) -> None:
    alice = db.user("alice")
    door = alice.stream("door", space="cam")
    clips = [clip(seq, short_memory=tokens(seq)) for seq in range(5)]
    first = door.write_batch(runs(clips))  # makes the user and the stream
    assert all(isinstance(ack, Ack) and not ack.duplicate for ack in first)
    more = [clip(seq, short_memory=tokens(seq)) for seq in range(3, 9)]
    again = door.write_batch(runs(more))
    acks = [ack for ack in again if isinstance(ack, Ack)]
    assert [ack.duplicate for ack in acks] == [True, True, False, False, False, False]
    assert [ack.clip_id for ack in acks[:2]] == [ack.clip_id for ack in first[3:]]  # type: ignore[union-attr]  # as above
    third = door.write_batch(runs([clip(9), clip(10)]))
    assert all(isinstance(ack, Ack) for ack in third)
    other = door.write_batch(runs([clip(8), clip(9, end_ns=10**12), clip(10)]))
    assert isinstance(other[0], AlreadyExists)  # with short-term memory before
    assert isinstance(other[1], AlreadyExists)
    assert isinstance(other[2], Ack)
    for seq in range(11):
        (hit,) = alice.ground(vector(seq), limit=1).hits
        assert hit.clip.seq == seq
        assert hit.clip.global_memory.tobytes() == vector(seq).tobytes()
    (short,) = alice.short_memory([first[2].clip_id])  # type: ignore[union-attr]  # as above
    assert short.tobytes() == tokens(2).tobytes()
    assert door.ledger().next_seq == 11
    assert db.verify().ok


def test_runs_of_which_numbers_are_missing_are_gaps_before_and_after_an_opening(
    db: EmbeddedDatabase, folder: Any
) -> None:
    alice = db.user("alice")
    door = alice.stream("door", space="cam")
    for batch in ([0, 1], [5, 6, 7], [3], [9, 10]):
        door.write_batch(runs([clip(seq) for seq in batch]))
    before = door.gaps(), door.ledger(), alice.ground(vector(6), limit=20)
    assert [(gap.first_seq, gap.last_seq) for gap in before[0]] == [(2, 2), (4, 4), (8, 8)]
    late = door.write_batch(runs([clip(2), clip(3), clip(4)]))
    assert [isinstance(ack, Ack) and ack.duplicate for ack in late] == [False, True, False]
    shown = door.gaps(), door.ledger(), _hits(alice)
    db.close()
    with EmbeddedDatabase(folder / "data", config=CONFIG) as again:
        alice = again.user("alice")
        door = alice.stream("door")
        assert (door.gaps(), door.ledger(), _hits(alice)) == shown


def _hits(user: Any) -> list[tuple[int, float, float]]:
    answer = user.ground(vector(6), limit=20)
    return [(hit.clip.seq, hit.score, hit.relevance) for hit in answer.hits]


def test_a_run_too_far_ahead_is_refused_clip_by_clip(db: EmbeddedDatabase) -> None:
    door = db.user("alice").stream("door", space="cam")
    far = door.user.seq_ahead_max + 1
    door.write(clip(0))
    found = door.write_batch(runs([clip(seq, start_ns=0, end_ns=1) for seq in (far + 1, far + 2)]))
    assert [getattr(one, "reason", None) for one in found] == ["TOO_FAR_AHEAD", "TOO_FAR_AHEAD"]
    assert all(isinstance(one, Ack) for one in door.write_batch(runs([clip(1), clip(2)])))


def test_a_first_run_that_is_refused_leaves_no_user(db: EmbeddedDatabase) -> None:
    with pytest.raises(NotFound, match="USER_NOT_FOUND"):
        db.user("bob").stream("door").write_batch(runs([clip(0), clip(1)]))
    with pytest.raises(MemdbError):
        db.user("bob").stream("door", space="cam").write_batch(
            runs([clip(0, global_memory=vector(0, 4)), clip(1, global_memory=vector(1, 4))])
        )
    assert db.users() == []


def test_clips_and_runs_of_one_batch_keep_their_order(db: EmbeddedDatabase) -> None:
    door = db.user("alice").stream("door", space="cam")
    door.create()
    batch: list[Clip | PlainRun] = [
        clip(0),
        *runs([clip(1), clip(2)]),
        clip(3, labels={"a": "b"}),
        *runs([clip(4)]),
    ]
    acks = [one for one in door.write_batch(batch) if isinstance(one, Ack)]
    assert len(acks) == 5
    assert len({ack.revision for ack in acks}) == 1
    assert [c.seq for c in db.user("alice").clips()] == [0, 1, 2, 3, 4]


def test_a_run_and_a_clip_of_one_number_have_commits_of_their_own(db: EmbeddedDatabase) -> None:
    door = db.user("alice").stream("door", space="cam")
    door.create()
    batches: list[tuple[list[Clip | PlainRun], int]] = [
        ([*runs([clip(0), clip(1)]), clip(1)], 0),
        ([clip(3), *runs([clip(2), clip(3)])], 2),
    ]
    for batch, first in batches:
        acks = [one for one in door.write_batch(batch) if isinstance(one, Ack)]
        assert [ack.duplicate for ack in acks].count(True) == 1
        assert {c.seq for c in db.user("alice").clips()} >= {first, first + 1}


def test_operations_that_write_clips_stay_as_they_are(db: EmbeddedDatabase) -> None:
    door = db.user("alice").stream("door", space="cam")
    single = door.prepare(clip(0))
    (run,) = runs([clip(1), clip(2)])
    each = one_by_one([single, WriteRun("door", None, run)])
    assert each[0] is single
    assert [operation.clip.seq for operation in each] == [0, 1, 2]
    assert all(isinstance(operation, WriteClip) for operation in each)
