"""Plain questions to large users, answered by lists without Python: what lists find, with Python's own scores."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memdb import Clip, Retention
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.hydrate import Parts
from memdb.engine.listed import ClipFetch
from memdb.engine.prepared import Preparation
from memdb.engine.upkeep import Upkeep
from memdb.index import flat, ivf, tiers
from memdb.index.breadth import found_of, widened
from memdb.index.indexed import SAMPLE_EVERY, Ready
from memdb.index.ivf import Breadth
from memdb.index.kernel import inner_products_address
from memdb.index.partition import PartitionView
from memdb.index.recall import RECALL_MIN
from memdb.types.arrays import Array
from memdb.types.clip import StoredClip
from memdb.v1 import grounding_service_pb2 as pb
from memdb.v1 import types_pb2
from memdb.wire.clips import stored_clip_to_proto
from memdb.wire.streams import gap_to_proto
from tests.unit.engine.test_kept_lists import (
    CONFIG,
    INDEX,
    LIMIT,
    ROWS,
    clip,
    make_lists,
    opened,
    small,
    write,
)
from tests.unit.index.test_indexed import noise, structured

pytest.importorskip("memdb_edge", reason="the native edge is not installed")

import memdb_edge

from memdb.server.listed_shelf import LentLists
from memdb.server.shelf import ASKED_MIN, Shelf

LIGHT: dict[str, Any] = {"without_global_memory": True, "without_keyframes": True}
PARTS = Parts(global_memory=False, keyframes=False, raw=True)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    small(monkeypatch)


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A database whose user has lists: made once, for it takes seconds."""
    data = tmp_path_factory.mktemp("listed") / "data"
    with pytest.MonkeyPatch.context() as patch:
        small(patch)
        with opened(data) as db:
            db.create_space("s", dim=structured(1, 0).shape[1])
            write(db, structured(ROWS, 1), 0)
            make_lists(db)
        yield data


@pytest.fixture
def db(listed: Path, tmp_path: Path) -> Iterator[EmbeddedDatabase]:
    shutil.copytree(listed, tmp_path / "data")
    with EmbeddedDatabase(
        tmp_path / "data", config=CONFIG, index=INDEX, embed_texts=False
    ) as opened:
        # What is due is done by the tests, where they say so.
        opened._users._upkeep.close()
        yield opened


@pytest.fixture
def shelf(db: EmbeddedDatabase) -> Shelf:
    address = inner_products_address()
    assert address is not None
    made = Shelf(db, address)
    partition_of(db)  # only who is open is laid ready
    lay_ready(db, made)
    return made


def lay_ready(db: EmbeddedDatabase, shelf: Shelf) -> None:
    """What the background does once the user was asked often enough."""
    Preparation(db._users, "u", PARTS, shelf).maintain(lambda: False)


def lent(shelf: Shelf) -> LentLists:
    return shelf._lists["u", PARTS]


def asked(feature: Array, **fields: Any) -> pb.GroundRequest:
    return pb.GroundRequest(
        user="u",
        question_feature=types_pb2.Vector(f32=feature.astype(np.float32).tobytes()),
        **{"limit": LIMIT, **LIGHT, **fields},
    )


def native(shelf: Shelf, request: pb.GroundRequest) -> pb.GroundResponse | None:
    data = shelf.native.answer(request.SerializeToString())
    return None if data is None else pb.GroundResponse.FromString(data)


def python(db: EmbeddedDatabase, feature: Array, limit: int = LIMIT) -> Any:
    return db.user("u").ground(
        feature,
        limit=limit,
        raw_short_memory=True,
        with_global_memory=False,
        with_keyframes=False,
    )


def answer(
    db: EmbeddedDatabase, shelf: Shelf, feature: Array, **fields: Any
) -> pb.GroundResponse | None:
    """From the shelf, once Python has answered in its place where a clip was not there."""
    request = asked(feature, **fields)
    found = native(shelf, request)
    if found is None:
        told = python(db, feature, request.limit)
        shelf.was_asked("u", PARTS, told.revision)
        found = native(shelf, request)
    return found


def partition_of(db: EmbeddedDatabase) -> PartitionView:
    with db._users.use("u") as memory:
        (partition,) = memory.view.partitions.values()
        return partition


def check_scores(partition: PartitionView, feature: Array, found: pb.GroundResponse) -> None:
    rows = np.array([hit.clip.clip.seq for hit in found.hits])
    scores = np.array([hit.score for hit in found.hits])
    query = flat.padded_query(partition.unit(feature), partition.matrix.width)
    exact = flat.row_scores(partition.matrix.take_padded(rows), query)
    assert scores.tobytes() == exact.astype(np.float64).tobytes()
    order = np.lexsort((rows, -scores))
    assert order.tolist() == list(range(len(rows)))


def recall(db: EmbeddedDatabase, shelf: Shelf, limit: int = LIMIT, count: int = 60) -> float:
    """Of answers of the shelf, each of which has exact scores."""
    partition, hits, sought = partition_of(db), 0, 0
    for feature in structured(count, 91):
        found = answer(db, shelf, feature, limit=limit)
        if found is None:
            continue
        assert found.approximate
        assert len(found.hits) == limit
        check_scores(partition, feature, found)
        _, exact = partition.search(partition.unit(feature), limit, partition.head_alive)
        hits += found_of(np.array([hit.score for hit in found.hits], np.float32), exact)
        sought += limit
    assert sought >= count * limit / 2, "most is left to Python"
    return hits / sought


@pytest.mark.parametrize("limit", [1, 4, LIMIT, 32])
def test_it_finds_what_is_there_with_the_scores_of_the_whole_rows(
    db: EmbeddedDatabase, shelf: Shelf, limit: int
) -> None:
    assert recall(db, shelf, limit) >= RECALL_MIN


def test_an_answer_is_what_python_would_say(db: EmbeddedDatabase, shelf: Shelf) -> None:
    same = 0
    for feature in structured(20, 93):
        found, told = answer(db, shelf, feature), python(db, feature)
        if found is None or not told.approximate:
            continue
        assert found.revision == told.revision
        assert (found.fallback, found.abstained, len(found.gaps)) == ("none", False, 0)
        mine = {hit.clip.id: (hit.score, hit.relevance, hit.clip.clip.seq) for hit in found.hits}
        its = {hit.clip.id: (hit.score, hit.relevance, hit.clip.seq) for hit in told.hits}
        assert all(mine[key] == its[key] for key in mine.keys() & its.keys())
        same += list(mine) == list(its)
    assert same >= 15


@pytest.mark.parametrize(
    "fields",
    [
        {"exact": True},
        {"start_ns": 5},
        {"end_ns": 10**12},
        {"limit": ivf.LIMIT_MAX + 1},
        {"streams": ["door"]},
        {"min_score": 0.1},
        {"with_coverage": True},
        {"without_global_memory": False},
    ],
)
def test_what_is_left_to_python(db: EmbeddedDatabase, shelf: Shelf, fields: dict[str, Any]) -> None:
    feature = structured(1, 94)[0]
    assert answer(db, shelf, feature) is not None
    assert native(shelf, asked(feature, **fields)) is None
    assert native(shelf, asked(feature, streams=["cam"])) is not None, "the only one is no filter"


def test_what_has_no_direction_or_another_dimension_is_left_to_python(
    db: EmbeddedDatabase, shelf: Shelf
) -> None:
    feature = structured(1, 94)[0]
    for odd in (feature * 0, feature * np.float32(np.nan), feature[1:]):
        assert native(shelf, asked(odd)) is None


def test_what_is_missing_is_told(db: EmbeddedDatabase, shelf: Shelf) -> None:
    feature = structured(1, 94)[0]
    write(db, structured(3, 95), ROWS + 5)
    for streams in ([], ["cam"]):
        lay_ready(db, shelf)
        found = answer(db, shelf, feature, streams=streams)
        assert found is not None
        (gap,) = found.gaps
        assert [gap] == [gap_to_proto(one) for one in python(db, feature).gaps]
    db.user("u").stream("door", space="s").write(clip(0, structured(1, 96)[0]))
    lay_ready(db, shelf)
    assert answer(db, shelf, feature) is not None
    assert native(shelf, asked(feature, streams=["cam"])) is None, "now it is a filter"


def test_clips_that_were_asked_for_lie_ready_and_outlast_a_commit(
    db: EmbeddedDatabase, shelf: Shelf
) -> None:
    feature = structured(1, 94)[0]
    assert native(shelf, asked(feature)) is None, "no clip lies there yet"
    assert answer(db, shelf, feature) is not None
    write(db, structured(1, 95), ROWS)
    assert native(shelf, asked(feature)) is None
    assert not shelf._lists, "it holds nothing of a view that is gone"
    lay_ready(db, shelf)
    found = native(shelf, asked(feature))
    assert found is not None
    assert found.revision == python(db, feature).revision


def test_clips_that_nobody_keeps_are_read_in_the_background(
    db: EmbeddedDatabase, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    chores: list[ClipFetch] = []
    monkeypatch.setattr(db._users._upkeep, "want", chores.append)
    feature, other = structured(2, 94)
    assert native(shelf, asked(feature)) is None
    # As if Python had found others.
    shelf.was_asked("u", PARTS, python(db, other).revision)
    assert native(shelf, asked(feature)) is None
    (chore,) = (chore for chore in chores if isinstance(chore, ClipFetch))
    chore.maintain(lambda: False)
    found = native(shelf, asked(feature))
    assert found is not None
    mine = {hit.clip.id: hit.clip.SerializeToString() for hit in found.hits}
    monkeypatch.undo()
    small(monkeypatch)
    its = {
        hit.clip.id: stored_clip_to_proto(hit.clip).SerializeToString()
        for hit in python(db, feature).hits
    }
    assert all(mine[key] == its[key] for key in mine.keys() & its.keys())
    # Not once something was taken away.
    keep_newest(db, ROWS - 1)
    given: list[int] = []
    ClipFetch(db._users, chore.listed, chore.rows, lambda row, _: given.append(row)).maintain(
        lambda: False
    )
    assert not given


def test_what_is_taken_away_is_in_no_answer_and_its_clips_lie_no_longer(
    db: EmbeddedDatabase, shelf: Shelf
) -> None:
    rows = structured(ROWS, 1)
    for gone in (100, 200, 300):
        for feature in rows[gone - 4 : gone]:
            before = answer(db, shelf, feature)
            assert before is not None
            assert before.hits[0].clip.clip.seq < gone
        keep_newest(db, ROWS - gone)
        assert native(shelf, asked(rows[0])) is None
        assert not shelf._lists
        lay_ready(db, shelf)
        assert shelf._clip_room.bytes == 0, "all its clips were forgotten"
        for feature in rows[gone - 4 : gone + 4]:
            found = answer(db, shelf, feature)
            if found is None:  # Python found another clip
                continue
            assert all(hit.clip.clip.seq >= gone for hit in found.hits)
    assert recall(db, shelf) >= RECALL_MIN


def keep_newest(db: EmbeddedDatabase, count: int) -> None:
    db.user("u").stream("cam", space="s").set_retention(Retention(max_clips=count))
    db.sweep()


def test_an_erased_clip_is_in_no_answer(db: EmbeddedDatabase, shelf: Shelf) -> None:
    feature = structured(1, 94)[0]
    found = answer(db, shelf, feature)
    assert found is not None
    db.user("u").erase_clips([found.hits[0].clip.id])
    assert native(shelf, asked(feature)) is None
    assert (shelf.native.users, shelf._clip_room.bytes) == (0, 0)


def test_rows_that_came_since_are_found_with_and_without_codes(
    db: EmbeddedDatabase, shelf: Shelf
) -> None:
    came = structured(40, 96)
    write(db, came[:20], ROWS)
    partition = partition_of(db)
    sketch = partition.tiers._sketch
    assert sketch is not None
    assert sketch.extend(partition.matrix, 20)
    write(db, came[20:], ROWS + 20)
    lay_ready(db, shelf)
    assert lent(shelf).listed.coded == ROWS + 20
    for number, feature in enumerate(came):
        found = answer(db, shelf, feature)
        assert found is not None
        assert found.hits[0].clip.clip.seq == ROWS + number
    assert recall(db, shelf) >= RECALL_MIN


def test_one_answer_in_so_many_is_compared_and_all_are_counted(
    db: EmbeddedDatabase, shelf: Shelf
) -> None:
    approximation = db._users._upkeep._approximation
    assert approximation is not None
    feature = structured(1, 94)[0]
    assert answer(db, shelf, feature) is not None
    shelf.note_use()
    before = approximation.recall.counts.approximate
    partition = partition_of(db)
    assert not partition.tiers.is_due
    for _ in range(SAMPLE_EVERY):
        assert native(shelf, asked(feature)) is not None
    shelf.note_use()
    assert approximation.recall.counts.approximate == before + SAMPLE_EVERY
    assert partition.tiers.is_due, "a sample waits to be compared"
    partition.tiers.maintain(lambda: False, None, approximation)
    counts = approximation.recall.counts
    assert (counts.compared, counts.sought, counts.recall) == (1, LIMIT, 1.0)


def test_what_finds_too_little_is_noticed_and_looks_at_more(
    db: EmbeddedDatabase, shelf: Shelf
) -> None:
    approximation = db._users._upkeep._approximation
    assert approximation is not None
    tiers_of_it = partition_of(db).tiers
    ready = tiers_of_it.indexed.ready
    assert ready is not None
    # As if what is asked had moved away from what was measured.
    narrow = Breadth(1, 12, ready.breadth.by_distance)
    tiers_of_it.indexed._ready = Ready(ready.lists, narrow)
    lay_ready(db, shelf)
    feature = next(one for one in noise(200, 5) if found_share(db, shelf, one) <= 0.5)
    shelf.note_use()
    for _ in range(SAMPLE_EVERY):
        assert native(shelf, asked(feature)) is not None
    shelf.note_use()
    tiers_of_it.maintain(lambda: False, None, approximation)
    counts = approximation.recall.counts
    assert counts.recall is not None
    assert counts.recall < RECALL_MIN
    assert counts.widened == 1
    assert not lent(shelf).is_current
    shelf.note_use()
    assert native(shelf, asked(feature)) is None
    lay_ready(db, shelf)
    assert lent(shelf).listed.ready.breadth.lists > narrow.lists


def found_share(db: EmbeddedDatabase, shelf: Shelf, feature: Array) -> float:
    """Of the exact hits."""
    native(shelf, asked(feature))
    for row in lent(shelf).native.take_missing():
        lent(shelf).put_clip(row, clip_of(db, row))
    found = native(shelf, asked(feature))
    if found is None:
        return 1.0
    partition = partition_of(db)
    _, exact = partition.search(partition.unit(feature), LIMIT, None)
    return found_of(np.array([hit.score for hit in found.hits], np.float32), exact) / LIMIT


def clip_of(db: EmbeddedDatabase, row: int) -> StoredClip:
    (found,) = db.user("u").clips(limit=1, start_ns=row * 10**9, end_ns=row * 10**9 + 1)
    return found


@pytest.mark.parametrize("change", ["wider", "given up", "other lists"])
def test_lists_that_change_are_withdrawn(
    db: EmbeddedDatabase, shelf: Shelf, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    feature = structured(1, 94)[0]
    assert answer(db, shelf, feature) is not None
    index = partition_of(db).tiers.indexed
    ready = index.ready
    assert ready is not None
    wanted: list[tuple[str, Parts]] = []
    monkeypatch.setattr(db, "prepare", lambda user, parts, _: wanted.append((user, parts)))
    shelf.note_use()
    assert native(shelf, asked(feature)) is not None
    if change == "wider":
        index._ready = Ready(ready.lists, widened(ready.breadth, 2.0))
    elif change == "given up":
        index._ready = None
    else:
        index._ready = Ready(ready.lists, ready.breadth)
    shelf.note_use()
    assert native(shelf, asked(feature)) is None
    assert wanted == [("u", PARTS)]
    lay_ready(db, shelf)
    assert (native(shelf, asked(feature)) is None) == (change == "given up")


def test_codes_that_came_since_have_it_laid_ready_anew(db: EmbeddedDatabase, shelf: Shelf) -> None:
    write(db, structured(tiers.LATE_ROWS, 95), ROWS)
    lay_ready(db, shelf)
    assert lent(shelf).is_current
    partition = partition_of(db)
    sketch = partition.tiers._sketch
    assert sketch is not None
    assert sketch.extend(partition.matrix, tiers.LATE_ROWS)
    assert not lent(shelf).is_current


def test_a_user_is_laid_ready_once_it_is_asked_and_again_when_it_was_crowded_out(
    db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = inner_products_address()
    assert address is not None
    shelf = Shelf(db, address)
    monkeypatch.setattr(
        db,
        "prepare",
        lambda user, parts, its: Preparation(db._users, user, parts, its).maintain(lambda: False),
    )
    feature = structured(1, 94)[0]
    for count in range(ASKED_MIN):
        assert (shelf.native.users == 0) == (count < ASKED_MIN)
        shelf.was_asked("u", PARTS, python(db, feature).revision)
    assert shelf.native.users == 1
    shelf.native.withdraw("u")
    shelf.was_asked("u", PARTS, python(db, feature).revision)
    assert shelf.native.users == 1


def test_one_that_was_crowded_out_comes_back_once_it_is_asked(
    db: EmbeddedDatabase, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by itself: it would crowd out others, which come back then, over and over."""
    wanted: list[str] = []
    monkeypatch.setattr(db, "prepare", lambda user, *_: wanted.append(user))
    shelf.note_use()
    assert shelf._lists
    shelf.native.withdraw("u")  # as others that need the room do
    shelf.note_use()
    assert not shelf._lists, "it holds the user's arrays"
    assert not wanted
    for _ in range(ASKED_MIN):
        shelf.was_asked("u", PARTS, 1)
    assert wanted == ["u"]


def test_clips_are_fetched_by_one_chore_however_often_they_are_asked_for(
    db: EmbeddedDatabase, shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What learns from the rows may take minutes, and each question brought another."""
    begun, go_on = threading.Event(), threading.Event()

    class Learning:
        def maintain(self, stop: Any, gpu: Any = None, approximation: Any = None) -> None:
            begun.set()
            assert go_on.wait(20)

        def put_off(self) -> None:
            raise AssertionError

    upkeep = Upkeep()
    monkeypatch.setattr(db._users, "_upkeep", upkeep)
    upkeep.want(Learning())
    assert begun.wait(20)
    revision = python(db, structured(1, 90)[0]).revision
    for feature in structured(6, 94):
        assert native(shelf, asked(feature)) is None
        shelf.was_asked("u", PARTS, revision)
    waiting = [chore for chore in upkeep._waiting if isinstance(chore, ClipFetch)]
    go_on.set()
    assert len(waiting) == 1
    upkeep.close()


def test_the_oldest_clips_make_room() -> None:
    room = memdb_edge.ClipRoom(64 * 1024)
    first, other = room.clips(), room.clips()
    for row in range(40):
        first.put(row, b"x" * 500)
    assert 0 < room.bytes <= 64 * 1024
    for row in range(200):
        other.put(row, b"y" * 500)
    assert room.bytes <= 64 * 1024
    before = room.bytes
    other.put(7, b"z" * 60_000)
    assert room.bytes == before, "one that is too large is not kept"
    del first, other
    assert room.bytes == 0


def test_users_that_come_and_go_leave_nothing_in_the_room() -> None:
    room = memdb_edge.ClipRoom(1 << 20)
    for _ in range(200):
        clips = room.clips()
        for row in range(50):
            clips.put(row, b"x" * 100)
        del clips
    assert room.bytes == 0


def race(db: EmbeddedDatabase, shelf: Shelf, write_one: Callable[[int], None], count: int) -> int:
    """Write while questions are answered and the user is laid ready; how many were answered by the shelf."""
    acknowledged, ended, answered = [-1], threading.Event(), [0]
    wrong: list[str] = []
    came = structured(count, 97)

    def ask() -> None:
        while not ended.is_set():
            last = acknowledged[0]
            if last < 0:
                continue
            found = native(shelf, asked(came[last]))
            if found is None:
                shelf.was_asked("u", PARTS, python(db, came[last]).revision)
                lay_ready(db, shelf)
                continue
            answered[0] += 1
            if all(hit.clip.clip.seq != ROWS + last for hit in found.hits):
                wrong.append(f"clip {last} was acknowledged and is not found")

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(count):
        write_one(number)
        acknowledged[0] = number
        until = answered[0] + 2
        for _ in range(400):
            if answered[0] >= until or wrong:
                break
            ended.wait(0.005)
    ended.set()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[0]
    return answered[0]


def test_nothing_that_is_acknowledged_is_missed(db: EmbeddedDatabase, shelf: Shelf) -> None:
    came = structured(25, 97)
    stream = db.user("u").stream("cam", space="s")

    def write_one(number: int) -> None:
        stream.write(clip(ROWS + number, came[number]))

    assert race(db, shelf, write_one, len(came)) >= len(came)


def test_a_growing_clip_is_answered_as_its_last_version(db: EmbeddedDatabase, shelf: Shelf) -> None:
    feature = structured(1, 98)[0]
    stream = db.user("u").stream("cam", space="s")
    second_ns = 10**9
    for length in range(1, 4):
        stream.write(
            Clip(
                seq=ROWS,
                start_ns=ROWS * second_ns,
                end_ns=ROWS * second_ns + length,
                global_memory=feature,
                sealed=length == 3,
            )
        )
        lay_ready(db, shelf)
        found = answer(db, shelf, feature)
        assert found is not None
        assert [hit.clip.clip.seq for hit in found.hits].count(ROWS) == 1
        assert found.hits[0].clip.clip.end_ns == ROWS * second_ns + length


def test_a_closed_database_answers_nothing(db: EmbeddedDatabase, shelf: Shelf) -> None:
    feature = structured(1, 94)[0]
    assert answer(db, shelf, feature) is not None
    db.close()
    assert native(shelf, asked(feature)) is None
    assert not shelf._lists
