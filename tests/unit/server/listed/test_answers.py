"""Plain questions to large users, answered by lists without Python: what lists find, with Python's own scores."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from memdb import Clip
from memdb.engine.database import EmbeddedDatabase
from memdb.index import ivf
from memdb.index.indexed import SAMPLE_EVERY, Ready
from memdb.index.ivf import Breadth
from memdb.index.recall import RECALL_MIN
from memdb.wire.streams import gap_to_proto
from tests.unit.engine.test_kept_lists import LIMIT, ROWS, clip, write
from tests.unit.index.test_indexed import noise, structured

pytest.importorskip("memdb_edge", reason="the native edge is not installed")


from memdb.server.shelf import Shelf
from tests.unit.server.listed.asking import (
    PARTS,
    answer,
    asked,
    found_share,
    keep_newest,
    lay_ready,
    lent,
    native,
    partition_of,
    python,
    recall,
)


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
