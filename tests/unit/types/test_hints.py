"""What callers may pass is what the hints say: the type checker reads these programs, and they run."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

import memdb
import memdb_client
from memdb.engine.database import EmbeddedDatabase
from memdb.types.arrays import VectorLike

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def opened(
    path: str,
) -> tuple[Callable[[str], EmbeddedDatabase], Callable[[str], memdb_client.Database]]:
    """Never called: mypy refuses it when one of both is no `memdb.Database`."""
    either: list[memdb.Database] = [memdb.open(path), memdb_client.connect(path)]
    user: memdb.User = either[0].user("alice")
    stream: memdb.Stream = user.stream("door")
    writer: memdb.IngestWriter = stream.ingest()
    standing: memdb.Standing = user.standing
    del writer, standing
    return memdb.open, memdb_client.connect


def use(db: memdb.Database) -> memdb.Grounding:
    """Datetimes, lists, single pictures and numbers where the values themselves have other types."""
    db.create_space("small", dim=2)
    user = db.user("alice")
    user.configure(text_space="small")
    clip = memdb.Clip(
        seq=0,
        start_ns=NOON,
        end_ns=NOON + SECOND,
        global_memory=[1.0, 0.0],
        short_memory=[[1, 0], [0, 1]],
        transcript=[memdb.Utterance(NOON, NOON + SECOND, "hello")],
        transcript_features=[np.array([1, 0], np.float32)],
        events=[memdb.SoundEvent(NOON, NOON + SECOND, "bell", 0.5)],
        keyframes=[b"jpeg", memdb.Keyframe(NOON, b"jpeg")],
        labels={"zone": "porch"},
    )
    start: int = clip.start_ns
    assert start == clip.transcript[0].start_ns == clip.keyframes[0].time_ns
    user.stream("door", space="small").write(clip)
    user.remember("It rang", feature=[1.0, 0.0], valid_from=NOON)
    user.remember_many([memdb.Statement("It rang twice", feature=(1.0, 0.0))])
    user.recall("who rang?", feature=[1.0, 0.0])
    user.standing.create(
        [1.0, 0.0], min_score=0.5, then_feature=[0.0, 1.0], kind="sequence", window_s=5
    )
    tokens = [[1.0, 0.0]]
    vector = np.array([1, 0], np.float32)
    assert len(user.ground_many([vector, vector], question_tokens=[tokens, tokens], rerank=1)) == 2
    assert len(list(user.ground_stream([vector, [1.0, 0.0]]))) == 2
    several: list[VectorLike] = [vector, (1.0, 0.0)]
    assert len(user.ground_many(several)) == 2
    return user.ground(
        [1.0, 0.0], question_tokens=tokens, rerank=1, text="hello", text_feature=(1, 0)
    )


def test_what_the_hints_allow_is_taken(tmp_path: Path) -> None:
    with memdb.open(tmp_path / "data") as db:
        answer = use(db)
        recalled = db.user("alice").recall("hello")
    assert [hit.clip.stream for hit in answer] == ["door"]
    assert (len(answer), answer[0]) == (1, answer.hits[0])
    assert [hit.text for hit in recalled] == [hit.text for hit in recalled.hits]
