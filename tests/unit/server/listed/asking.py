"""What is asked of a large user that lies ready, and of Python in its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from memdb import Retention
from memdb.engine.database import EmbeddedDatabase
from memdb.engine.hydrate import Parts
from memdb.engine.prepared import Preparation
from memdb.index import flat
from memdb.index.breadth import found_of
from memdb.index.partition import PartitionView
from memdb.types.arrays import Array
from memdb.types.clip import StoredClip
from memdb.v1 import grounding_service_pb2 as pb
from memdb.v1 import types_pb2
from tests.unit.engine.test_kept_lists import LIMIT
from tests.unit.index.test_indexed import structured

pytest.importorskip("memdb_edge", reason="the native edge is not installed")


from memdb.server.listed_shelf import LentLists
from memdb.server.shelf import Shelf

LIGHT: dict[str, Any] = {"without_global_memory": True, "without_keyframes": True}
PARTS = Parts(global_memory=False, keyframes=False, raw=True)


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


def keep_newest(db: EmbeddedDatabase, count: int) -> None:
    db.user("u").stream("cam", space="s").set_retention(Retention(max_clips=count))
    db.sweep()


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
