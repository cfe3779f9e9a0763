"""What lies ready is taken back before there is another view, whatever brings that about, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import Clip, Keyframe, Retention
from memdb.clock import ManualClock
from memdb.config import EngineConfig, ServerConfig
from memdb.engine.clip_cache import ClipCache, KeptClips
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.indexes import Indexes
from memdb.engine.user import EmbeddedUser
from memdb.index.kernel import inner_products_address
from memdb.server import shelf as shelves
from memdb.server.edges import make_shelf
from memdb.server.shelf import ASKED_MIN, MESSAGE_BYTES_MIN, Shelf
from memdb.v1 import grounding_service_pb2 as pb
from memdb.v1 import types_pb2

pytest.importorskip("memdb_edge", reason="the native edge is not installed")

from tests.unit.server.ready import Python, lay_ready, made_shelf, parts_of

DIM = 8
SECOND_NS = 10**9
CLIPS = 10
CONFIG = EngineConfig(map_bytes_initial=1 << 20, disk_free_bytes_min=1 << 20, open_users_max=2)


def vector(seed: int) -> Any:
    return np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)


def clip(seq: int, **changes: Any) -> Clip:
    start_ns = seq * SECOND_NS
    fields: dict[str, Any] = {
        "seq": seq,
        "start_ns": start_ns,
        "end_ns": start_ns + SECOND_NS,
        "global_memory": vector(seq),
        "keyframes": (Keyframe(start_ns, b"jpeg"),),
    }
    return Clip(**fields | changes)


def question(user: str = "alice", seed: int = 3, **fields: Any) -> bytes:
    feature = types_pb2.Vector(f32=vector(seed).tobytes())
    return pb.GroundRequest(user=user, question_feature=feature, **fields).SerializeToString()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1000 * SECOND_NS)


@pytest.fixture
def db(folder: Path, clock: ManualClock) -> Iterator[EmbeddedDatabase]:
    with EmbeddedDatabase(folder / "data", config=CONFIG, clock=clock) as opened:
        opened.create_space("cam", dim=DIM)
        yield opened


def fill(db: EmbeddedDatabase, name: str) -> EmbeddedUser:
    user = db.user(name)
    user.stream("door", space="cam").write_many(
        [*map(clip, range(CLIPS)), clip(CLIPS, sealed=False)]
    )
    return user


@pytest.fixture
def alice(db: EmbeddedDatabase) -> EmbeddedUser:
    return fill(db, "alice")


@pytest.fixture
def shelf(db: EmbeddedDatabase, alice: EmbeddedUser) -> Shelf:
    made = made_shelf(db)
    lay_ready(db, made, alice.id, parts_of())
    assert made.native.answer(question()) is not None
    return made


def damage(table: str) -> Callable[[EmbeddedDatabase, EmbeddedUser], object]:
    """What a scrub found."""

    def found(db: EmbeddedDatabase, user: EmbeddedUser) -> None:
        with db._users.use(user.id) as memory:
            (partition,) = memory.view.partitions.values()
            no, birth = (int(partition.columns[name][0]) for name in ("clip_no", "birth"))
        db._users.damage_found(user.id, [f"{table}/{no:016x}{birth:016x}{0:08x}"])

    return found


def keep_clips(db: EmbeddedDatabase, user: EmbeddedUser) -> None:
    with db._users.use(user.id) as memory:
        memory.keep_clips(KeptClips(ClipCache(0)))


def give_up(db: EmbeddedDatabase, user: EmbeddedUser) -> None:
    user.stream("door").set_retention(Retention(max_clips=2))
    db.sweep()


def crowd_out(db: EmbeddedDatabase, _: EmbeddedUser) -> None:
    for name in ("bob", "carol", "dave"):
        fill(db, name)


CHANGES: dict[str, Callable[[EmbeddedDatabase, EmbeddedUser], object]] = {
    "a clip": lambda _, user: user.stream("door").write(clip(CLIPS + 1)),
    "an open clip": lambda _, user: user.stream("door").write(
        clip(CLIPS, end_ns=(CLIPS + 2) * SECOND_NS, sealed=False)
    ),
    "sealed": lambda _, user: user.stream("door").write(clip(CLIPS)),
    "a fact": lambda _, user: user.remember("it rains"),
    "erased clips": lambda _, user: user.erase_clips([user.clips(limit=1)[0].id]),
    "erased time": lambda _, user: user.stream("door").erase(end_ns=3 * SECOND_NS),
    "an erased stream": lambda _, user: user.stream("door").erase(),
    "an erased user": lambda _, user: user.erase(),
    "retention": give_up,
    "compaction": lambda _, user: user.compact(),
    "a damaged picture": damage("keyframes"),
    "a damaged row": damage("clips"),
    "others that need the room": crowd_out,
    "the end": lambda db, _: db.close(),
    "another cache": keep_clips,
}


@pytest.mark.parametrize("change", CHANGES)
def test_nothing_is_answered_by_what_was(
    db: EmbeddedDatabase, alice: EmbeddedUser, shelf: Shelf, change: str
) -> None:
    CHANGES[change](db, alice)
    assert shelf.native.answer(question()) is None
    assert (shelf.native.users, shelf.native.bytes) == (0, 0)


def test_it_is_gone_before_it_is_acknowledged(
    db: EmbeddedDatabase, alice: EmbeddedUser, shelf: Shelf
) -> None:
    """Who is told of a commit asks at once."""
    stale: list[int] = []

    def told(_: int) -> None:
        if shelf.native.answer(question()) is not None:
            stale.append(1)

    with db._users.use(alice.id) as memory:
        end = memory.subscribe(told)
    for seq in range(CLIPS, CLIPS + 5):
        alice.stream("door").write(clip(seq))
        lay_ready(db, shelf, alice.id, parts_of())
        assert shelf.native.users == 1
    end()
    assert not stale


@pytest.mark.parametrize("change", ["a clip", "erased clips", "an erased user", "the end"])
def test_what_was_seen_before_a_change_is_not_lent_after_it(
    db: EmbeddedDatabase, alice: EmbeddedUser, change: str
) -> None:
    given: list[int] = []

    def give() -> Callable[[], None]:
        given.append(1)
        return lambda: None

    with db._users.use(alice.id, lasting=True) as memory:
        view = memory.view
    CHANGES[change](db, alice)
    assert not memory.lend(view, db, give)
    assert not given


def test_of_what_is_lent_over_and_over_one_is_remembered(
    db: EmbeddedDatabase, alice: EmbeddedUser, shelf: Shelf
) -> None:
    """Between two commits there may be months, in which others crowd it out and it comes back."""
    for _ in range(10):
        lay_ready(db, shelf, alice.id, parts_of())
        lay_ready(db, shelf, alice.id, parts_of(keyframes=False))
    with db._users.use(alice.id) as memory:
        assert len(memory._lent) == 1
    assert shelf.native.users == 2
    alice.remember("it rains")
    assert shelf.native.users == 0


def test_nothing_is_lent_while_the_indexes_move(
    db: EmbeddedDatabase, alice: EmbeddedUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody would take it back before the next view."""
    lent: list[bool] = []
    advance = Indexes.advance

    with db._users.use(alice.id) as memory:

        def lends(indexes: Indexes, *arguments: Any) -> None:
            lent.append(memory.lend(memory.view, db, lambda: lambda: None))
            advance(indexes, *arguments)

        monkeypatch.setattr(Indexes, "advance", lends)
        alice.remember("it rains")
    assert lent == [False]


def test_a_user_that_is_to_be_opened_anew_lends_nothing(
    db: EmbeddedDatabase, alice: EmbeddedUser, shelf: Shelf
) -> None:
    with db._users.use(alice.id) as memory:
        damage("clips")(db, alice)
        assert not memory.lend(memory.view, db, lambda: lambda: None)


def test_what_is_lost_without_a_word_is_taken_back_with_the_next_note(
    db: EmbeddedDatabase, alice: EmbeddedUser, shelf: Shelf
) -> None:
    with db._users.use(alice.id) as memory:
        memory._commits.broken = "a commit was not published"
    shelf.native.answer(question())
    shelf.note_use()
    assert shelf.native.answer(question()) is None


def test_every_shelf_gives_back(db: EmbeddedDatabase, alice: EmbeddedUser, shelf: Shelf) -> None:
    other = made_shelf(db)
    lay_ready(db, other, alice.id, parts_of())
    alice.remember("it rains")
    assert (shelf.native.users, other.native.users) == (0, 0)


def test_clips_that_are_removed_while_they_are_compared(
    db: EmbeddedDatabase, alice: EmbeddedUser
) -> None:
    """The answer is of before, as whole as if it had gone out in time; the next one is not."""
    floats, size = ctypes.POINTER(ctypes.c_float), ctypes.c_size_t
    kernel = ctypes.CFUNCTYPE(None, floats, floats, floats, size, size)
    address = inner_products_address()
    assert address is not None
    real = kernel(address)
    removing: list[str] = []

    def compare(out: Any, query: Any, rows: Any, width: int, count: int) -> None:
        if removing:
            alice.erase_clips(removing)
        real(out, query, rows, width, count)

    called = kernel(compare)
    kernel_address = ctypes.cast(called, ctypes.c_void_p).value
    assert kernel_address is not None
    shelf, python = Shelf(db, kernel_address), Python(db)
    lay_ready(db, shelf, alice.id, parts_of())
    before = shelf.native.answer(question(limit=CLIPS))
    assert before == python.answer(question(limit=CLIPS))
    assert before is not None
    hits = pb.GroundResponse.FromString(before).hits
    removing.extend([hits[0].clip.id, hits[1].clip.id])
    assert shelf.native.answer(question(limit=CLIPS)) == before
    assert shelf.native.answer(question(limit=CLIPS)) is None
    python.close()


def test_vectors_are_let_go_of(db: EmbeddedDatabase, alice: EmbeddedUser) -> None:
    shelf = made_shelf(db)
    whole = np.zeros((1, 32), np.float32)
    free = sys.getrefcount(whole)
    for _ in range(3):
        put(shelf, "alice", whole)
        assert sys.getrefcount(whole) == free + 1
    shelf.native.withdraw("bob")
    assert sys.getrefcount(whole) == free + 1
    shelf.native.withdraw("alice")
    assert sys.getrefcount(whole) == free


def put(shelf: Shelf, user: str, whole: Any, size: int = 100) -> bool:
    """One clip of so many bytes."""
    return shelf.native.put(
        user,
        global_memory=True,
        keyframes=True,
        dim=DIM,
        whole=whole,
        start_ns=np.zeros(1, np.int64),
        end_ns=np.ones(1, np.int64),
        alive=np.ones(1, bool),
        stream=np.zeros(1, np.uint32),
        streams=[("door", np.zeros(DIM), 1.0, 4.0)],
        clips=[bytes(size)],
        tail=b"",
    )


def test_the_oldest_make_room(db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelves, "BYTES_MAX", 50_000)
    shelf = made_shelf(db)
    whole = np.ones((1, 32), np.float32)
    free = sys.getrefcount(whole)
    names = [f"user-{number}" for number in range(20)]
    for name in names:
        assert put(shelf, name, whole, 9000)
        assert shelf.native.bytes <= 50_000
    there = [name for name in names if shelf.native.answer(question(name)) is not None]
    assert there == names[-5:]
    # One that comes anew is the newest.
    assert put(shelf, names[-5], whole, 9000)
    assert put(shelf, "one-more", whole, 9000)
    there = [name for name in names if shelf.native.answer(question(name)) is not None]
    assert there == [names[-5], *names[-3:]]
    assert not put(shelf, "large", whole, 50_000)
    assert shelf.native.answer(question("large")) is None
    assert shelf.native.users == 5
    for name in (*names, "one-more", "large"):
        shelf.native.withdraw(name)
    assert (shelf.native.users, shelf.native.bytes) == (0, 0)
    assert sys.getrefcount(whole) == free


def test_a_server_of_small_messages_has_none(db: EmbeddedDatabase) -> None:
    """Or it sent answers that Python refuses."""
    assert make_shelf(ServerConfig(message_bytes_max=MESSAGE_BYTES_MIN - 1), db) is None
    assert make_shelf(ServerConfig(message_bytes_max=MESSAGE_BYTES_MIN), db) is not None


def test_answers_to_many_questions_are_never_larger_than_messages(db: EmbeddedDatabase) -> None:
    shelf, rows = made_shelf(db), 64
    whole = np.random.default_rng(1).standard_normal((rows, 32)).astype(np.float32)
    shelf.native.put(
        "alice",
        global_memory=True,
        keyframes=True,
        dim=DIM,
        whole=whole,
        start_ns=np.arange(rows),
        end_ns=np.arange(rows) + 1,
        alive=np.ones(rows, bool),
        stream=np.zeros(rows, np.uint32),
        streams=[("door", np.zeros(DIM), 1.0, 4.0)],
        clips=[bytes(55_000)] * rows,
        tail=b"",
    )
    request = pb.GroundManyRequest(
        user="alice",
        question_features=types_pb2.Matrix(
            rows=100, dim=DIM, f32=np.concatenate([vector(n) for n in range(100)]).tobytes()
        ),
        options=pb.GroundRequest(limit=rows),
    )
    answer = shelf.native.answer_many(request.SerializeToString())
    assert answer is not None
    assert 2 * len(answer) <= MESSAGE_BYTES_MIN


def test_who_is_asked_often_at_one_revision_is_laid_ready(
    db: EmbeddedDatabase, alice: EmbeddedUser
) -> None:
    shelf = made_shelf(db)
    for _ in range(3):
        for _ in range(ASKED_MIN - 1):
            shelf.was_asked(alice.id, parts_of(), alice.revision())
        alice.remember("it rains")
    assert not db._users._upkeep._waiting
    assert shelf.native.users == 0
    for _ in range(ASKED_MIN):
        shelf.was_asked(alice.id, parts_of(), alice.revision())
    db.close()  # which waits for what is being done


def test_what_was_taken_back_is_laid_ready_anew_as_soon_as_the_first_time(
    db: EmbeddedDatabase, alice: EmbeddedUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf, wanted = made_shelf(db), []
    monkeypatch.setattr(db, "prepare", lambda user, *_: wanted.append(user))
    for _ in range(2 * ASKED_MIN + 1):
        shelf.was_asked(alice.id, parts_of(), 1)
    assert len(wanted) == 2
    shelf._withdraw(alice.id)
    for _ in range(ASKED_MIN):
        shelf.was_asked(alice.id, parts_of(), 1)
    assert len(wanted) == 3


def test_who_was_answered_is_noted_on_after_an_error(
    db: EmbeddedDatabase, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or users that are asked all the time were the first to be closed, and nobody knew why."""
    touched: list[str] = []

    def touch(user: str) -> None:
        touched.append(user)
        if len(touched) == 1:
            raise MemoryError

    monkeypatch.setattr(db, "touch", touch)
    monkeypatch.setattr(shelves, "NOTE_S", 0.001)

    async def noted() -> None:
        noting = asyncio.create_task(shelf.keep_noting())
        while len(touched) < 2 and not noting.done():
            assert shelf.native.answer(question()) is not None
            await asyncio.sleep(0.001)
        noting.cancel()

    asyncio.run(asyncio.wait_for(noted(), 20))
    assert touched[:2] == ["alice", "alice"]


def test_nobody_is_opened_to_be_laid_ready(
    db: EmbeddedDatabase, alice: EmbeddedUser, shelf: Shelf
) -> None:
    crowd_out(db, alice)
    open_now = [name for name, _ in db._users.open_memories()]
    assert alice.id not in open_now
    lay_ready(db, shelf, alice.id, parts_of())
    lay_ready(db, shelf, "nobody", parts_of())
    assert [name for name, _ in db._users.open_memories()] == open_now
    assert shelf.native.users == 0


def test_what_it_tells_of_itself(shelf: Shelf) -> None:
    told = dict(line.rsplit(" ", 1) for line in shelf.lines() if not line.startswith("#"))
    assert told == {
        "memdb_ready_answers_total": "1",
        "memdb_ready_users": "1",
        "memdb_ready_bytes": str(shelf.native.bytes),
    }
    assert shelf.native.take_asked() == ["alice"]
    assert shelf.native.take_asked() == []


def test_once_closed_it_answers_nothing(shelf: Shelf) -> None:
    shelf.close()
    assert shelf.native.answer(question()) is None
